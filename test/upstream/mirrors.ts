import type { Clock } from '../../src/lib/clock.ts';
import { UpstreamHealth } from '../../src/upstream/health/health.ts';
import { rankForBytes } from '../../src/upstream/health/ranking.ts';
import { type ManualClock, makeManualClock } from '../helpers/manual-clock.ts';

/** A repeatable stream of numbers from 0 to below 1 (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A candidate with a health of its own. */
export function candidate(name: string, clock: Clock, random: () => number = () => 0.999, tags = true) {
  return { name, tags, health: new UpstreamHealth({ clock, random }) };
}

/** An upstream of a simulation; the test may change it as it goes. */
export type Mirror = ReturnType<typeof candidate> & { firstByteMs: number; rate: number; down: boolean };

/** Mirrors under steady traffic of large and small requests, on a clock that only the simulation moves. */
export class Mirrors {
  readonly clock: ManualClock = makeManualClock();
  readonly mirrors: Mirror[];
  /** Who delivered, when, and whether it was first to be measured. */
  readonly choices: { at: number; name: string; exploring: boolean; bytes: number }[] = [];
  readonly #random: () => number;

  constructor(seed: number, mirrors: readonly Pick<Mirror, 'name' | 'firstByteMs' | 'rate' | 'down'>[]) {
    this.#random = seeded(seed);
    this.mirrors = mirrors.map((mirror) => ({
      ...candidate(mirror.name, this.clock, this.#random),
      ...mirror,
    }));
  }

  /** Fetches something of this size: from the first that is up, as ranked. */
  fetch(bytes: number): void {
    for (const { upstream, exploring } of rankForBytes(this.mirrors, bytes, this.#random)) {
      const pass = upstream.health.admit();
      const transfer = upstream.health.began(bytes);
      if (upstream.down) {
        upstream.health.observeFailure('unreachable');
        pass.release();
        continue;
      }
      upstream.health.observeFirstByte(upstream.firstByteMs * (0.5 + this.#random()));
      upstream.health.observeTransfer(bytes, (bytes / upstream.rate) * 1000 * (0.5 + this.#random()));
      upstream.health.observeSuccess();
      transfer.ended(0);
      pass.release();
      this.choices.push({ at: this.clock.now(), name: upstream.name, exploring, bytes });
      return;
    }
  }

  /** Steady traffic for so many seconds: a blob, or something small, every `every` ms. */
  run(seconds: number, every: number, sizes: readonly number[] = [20_000_000, 2_000, 500_000]): void {
    const end = this.clock.now() + seconds * 1000;
    for (let n = 0; this.clock.now() < end; n++) {
      this.fetch(sizes[n % sizes.length] ?? 0);
      this.clock.advance(every);
    }
  }
}
