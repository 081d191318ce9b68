import type { Clock } from '../lib/clock.ts';

/** Milliseconds after a denial in which what the same client asks for counts as going around it. */
const attention = 10 * 60_000;

/** Denials that are remembered at once. */
const remembered = 10_000;

/**
 * Notices clients that go on after a denial: containerd resolves a denied tag at the registry itself, then asks the
 * mirror for that image's content by digest.
 */
export class BypassWatch {
  readonly #clock: Clock;
  readonly #denied = new Map<string, number>();

  constructor(deps: { clock: Clock }) {
    this.#clock = deps.clock;
  }

  /** Notes that a client (its address) was denied a tag of an image. */
  denied(client: string, image: string): void {
    const key = `${client} ${image}`;
    this.#denied.delete(key);
    this.#denied.set(key, this.#clock.now());
    const [oldest] = this.#denied.keys();
    if (this.#denied.size > remembered && oldest !== undefined) this.#denied.delete(oldest);
  }

  /** Whether content that the client now asks for, and may not have, follows such a denial. */
  follows(client: string, image: string): boolean {
    const at = this.#denied.get(`${client} ${image}`);
    return at !== undefined && this.#clock.now() - at < attention;
  }
}
