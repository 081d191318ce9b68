import type { UpstreamClient } from '../../upstream/client.ts';
import { askable, rankForBytes, refusalOf } from '../../upstream/health/ranking.ts';
import type { Refusal } from '../asking/outcomes.ts';

/** An upstream chosen for a lane, and why. */
export type Choice = {
  readonly upstream: UpstreamClient;
  readonly reason: string;
  /** It should not be asked now. It is chosen because that is so for every upstream. */
  readonly excluded: boolean;
  /** Bytes a second expected of one connection. */
  readonly rate: number;
};

/** Bytes a second assumed of an upstream that was never measured: many, so that nothing is taken from it before it is. */
const hopedRate = 50_000_000;

/** Chooses the upstream for each connection of one download, and remembers what those answered that did not deliver. */
export class Choices {
  readonly #upstreams: readonly UpstreamClient[];
  readonly #random: () => number;
  readonly #out = new Map<string, Refusal>();
  readonly #rangeless = new Set<string>();

  constructor(upstreams: readonly UpstreamClient[], options: { random: () => number }) {
    this.#upstreams = upstreams;
    this.#random = options.random;
  }

  /** Whether an upstream ignored a range that it was asked for. */
  isRangeless(name: string): boolean {
    return this.#rangeless.has(name);
  }

  /** An upstream did not deliver: it is left alone for the rest of this round. */
  leaveAlone(refusal: Refusal): void {
    this.#out.set(refusal.upstream, refusal);
  }

  /** An upstream sends whole blobs only. A lane in the middle cannot use it. */
  noteRangeless(name: string): void {
    this.#rangeless.add(name);
  }

  /** Begins another round: those that were unavailable may be asked again, and those that gave this answer. */
  newRound(also?: Refusal['kind']): void {
    for (const [name, { kind }] of this.#out) {
      if (kind === 'unavailable' || kind === also) this.#out.delete(name);
    }
  }

  /** Whether an upstream may be asked for a range in the middle. */
  mayHelp(name: string): boolean {
    const upstream = this.#upstreams.find((each) => each.name === name);
    if (upstream === undefined || this.#out.has(name) || this.isRangeless(name)) return false;
    return upstream.health.exclusionFor('content') === undefined;
  }

  /**
   * Whether no upstream can answer now, so that another round would be in vain. One that is quarantined can: quarantine
   * says what its bytes are worth.
   */
  get allExcluded(): boolean {
    return this.#upstreams.every(({ health }) => health.exclusionFor('tags') !== undefined);
  }

  /** What the upstreams answered that did not deliver, and why others were not asked. */
  refusals(): readonly Refusal[] {
    const ranked = rankForBytes(this.#candidates(), undefined, this.#random);
    const excluded = ranked
      .filter(({ exclusion }) => exclusion !== undefined)
      .map((each) => refusalOf(each, 'get-blob'));
    return [...this.#out.values(), ...excluded];
  }

  /**
   * Whether any upstream of this round has fewer connections of this download than it allows.
   * @param lanes connections of this download by upstream
   */
  haveRoom(lanes: ReadonlyMap<string, number>): boolean {
    return this.#candidates().some((upstream) => this.#hasRoom(upstream, lanes));
  }

  /**
   * The best upstream for one more connection that fetches `bytes`; `undefined` when none may be asked.
   * Those that this download already uses count for less, the more connections they have: what one of them brings
   * is perhaps all that its line carries, while another has a line of its own.
   * @param lanes connections of this download by upstream
   * @param only limits the choice further
   */
  choose(
    bytes: number | undefined,
    lanes: ReadonlyMap<string, number>,
    only: (upstream: UpstreamClient) => boolean = () => true,
  ): Choice | undefined {
    const candidates = this.#candidates().filter(only);
    if (candidates.length === 0) return undefined;
    const ranked = askable(rankForBytes(candidates, bytes, this.#random));
    const open = ranked.filter(({ upstream }) => this.#hasRoom(upstream, lanes));
    const share = ({ upstream, expected }: (typeof open)[number]) =>
      expected * (1 + (lanes.get(upstream.name) ?? 0));
    const best = lanes.size === 0 ? open[0] : open.toSorted((a, b) => share(a) - share(b))[0];
    if (best === undefined) return undefined;
    const { upstream, reason, exclusion } = best;
    return {
      upstream,
      reason,
      excluded: exclusion !== undefined,
      rate: upstream.health.bytesPerSecond ?? hopedRate,
    };
  }

  #hasRoom({ name, maxConnections }: UpstreamClient, lanes: ReadonlyMap<string, number>): boolean {
    const most = this.isRangeless(name) ? 1 : maxConnections;
    return (lanes.get(name) ?? 0) < most;
  }

  #candidates(): readonly UpstreamClient[] {
    return this.#upstreams.filter(({ name }) => !this.#out.has(name));
  }
}
