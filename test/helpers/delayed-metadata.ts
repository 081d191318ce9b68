import { setImmediate as turn } from 'node:timers/promises';
import type { Metadata } from '../../src/store/metadata.ts';
import { wrapMetadata } from './wrapped-metadata.ts';

/** Names the seed of the delays; without it no metadata is delayed by {@link metadataUnderTest}. */
const seedVariable = 'METADATA_DELAY_SEED';

/** Chooses a number of turns of the event loop. */
export type Semaphore = () => number;

/**
 * Lets every call of `inner` take effect, and every answer arrive, only after a number of turns of the event loop: so
 * calls that are under way at once take effect in any order, and much happens between an effect and its answer.
 */
export function delayedMetadata(inner: Metadata, turns: Semaphore): Metadata {
  const pass = async () => {
    for (let left = turns(); left > 0; left -= 1) await turn();
  };
  return wrapMetadata(inner, async (_name, call) => {
    await pass();
    try {
      return await call();
    } finally {
      await pass();
    }
  });
}

/**
 * Numbers of turns as a seed has them: often none or a few, and now and then so many that an upstream answers
 * meanwhile.
 */
export function turnsOf(seed: number): Semaphore {
  const next = randomOf(seed);
  return () => {
    const kind = next();
    if (kind < 0.5) return Math.floor(next() * 3);
    return Math.floor(next() * (kind < 0.85 ? 20 : 600));
  };
}

let opened = 0;

/**
 * What a test is to use in place of `inner`: delayed where the environment names a seed, else `inner` itself. Each one
 * has delays of its own.
 */
export function metadataUnderTest(inner: Metadata): Metadata {
  const seed = process.env[seedVariable];
  if (seed === undefined) return inner;
  opened += 1;
  return delayedMetadata(inner, turnsOf(Number(seed) + opened * 7919));
}

/** Mulberry32: numbers in [0, 1). */
function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
