import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { IntegrityError } from '../../src/oci/errors.ts';
import { downloadBlob } from '../../src/pull/download.ts';
import type { FillSlot } from '../../src/pull/fill-workers.ts';
import type { BlobTransfer, HopResult, UpstreamResult } from '../../src/upstream/result.ts';
import { captureLog } from '../helpers/capture-log.ts';
import { makeBlob } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { ok, refusals, type ScriptedUpstream, scriptedUpstream, targetOf } from './scripted-upstream.ts';

const { digest } = makeBlob('download', 1);
const size = 10_000_000;
const floor = 64 * 1024;

/** What one attempt does: brings bytes and breaks off, or ends, or brings none. */
type Attempt =
  | { readonly brings: number; readonly ends?: boolean }
  | (typeof refusals)[keyof typeof refusals];

/** A download into a slot that only counts, from upstreams of which each follows its own script. */
function begin(scripts: Record<string, readonly Attempt[]>, options: { left?: number; found?: Digest } = {}) {
  const state = { written: options.left ?? 0 };
  /** The attempts made, as `upstream offset`. */
  const attempts: string[] = [];
  const slot: FillSlot = {
    open: async () => state.written,
    hop: async () => ({ result: {} as HopResult, written: state.written }),
    verify: async () => options.found,
    reset: async () => undefined,
    close: async () => undefined,
  };
  const upstreams: ScriptedUpstream[] = Object.entries(scripts).map(([name, script]) => {
    const left = [...script];
    return scriptedUpstream(
      {
        getBlob: async (_repository, _digest, offset, hop, signal): Promise<UpstreamResult<BlobTransfer>> => {
          signal.throwIfAborted();
          attempts.push(`${name} ${offset}`);
          if (attempts.length > 20) throw new Error('this download never ends');
          const attempt = left.length > 1 ? left.shift() : left[0];
          if (attempt === undefined || 'kind' in attempt) return attempt ?? refusals.unavailable;
          state.written += attempt.brings;
          await hop({} as Parameters<typeof hop>[0], { offset }, signal);
          const received = attempt.brings;
          if (attempt.ends) return ok({ ending: 'complete', total: undefined, received }, name);
          return ok({ ending: 'broken', total: size, received, reason: 'cut', message: 'it was cut' }, name);
        },
      },
      name,
    );
  });
  const run = ({
    known = () => size as number | undefined,
    rounds = 4,
    pause = 0,
    signal = neverAborted,
  } = {}) =>
    downloadBlob(
      { clock: makeManualClock(), log: captureLog().log },
      { target: targetOf(upstreams), digest, slot, size: known, report: () => undefined },
      { rounds, pause },
      signal,
    );
  return { run, attempts, state };
}

test('what breaks off is continued at the missing byte', async () => {
  const { run, attempts } = begin({
    a: [{ brings: 4_000_000 }, { brings: 1_000_000 }, { brings: 5_000_000, ends: true }],
  });
  await run();
  expect(attempts).toEqual(['a 0', 'a 4000000', 'a 5000000']);
});

test('the next upstream continues where the one before broke off', async () => {
  const { run, attempts } = begin({ a: [{ brings: 3_000_000 }], b: [{ brings: 7_000_000, ends: true }] });
  await run();
  expect(attempts).toEqual(['a 0', 'b 3000000']);
});

test('a body that ends early is as good as one that was cut', async () => {
  const { run, attempts } = begin({
    a: [
      { brings: 2_000_000, ends: true },
      { brings: 8_000_000, ends: true },
    ],
  });
  await run();
  expect(attempts).toEqual(['a 0', 'a 2000000']);
});

test('a body of unknown length is whole when it ends', async () => {
  const { run, attempts } = begin({ a: [{ brings: 123, ends: true }] });
  await run({ known: () => undefined });
  expect(attempts).toEqual(['a 0']);
});

test('a file that is whole already is verified without asking anybody', async () => {
  const { run, attempts } = begin({ a: [] }, { left: size });
  await run();
  expect(attempts).toEqual([]);
});

test('wrong bytes are an integrity error that names both digests', async () => {
  const found = makeBlob('other', 1).digest;
  const { run } = begin({ a: [{ brings: size, ends: true }] }, { found });
  const failure = await run().catch((error) => error);
  expect(failure).toBeInstanceOf(IntegrityError);
  expect(failure).toMatchObject({ expected: digest, found });
});

test.each([
  ['missing', 'BLOB_UNKNOWN'],
  ['denied', 'DENIED'],
] as const)('when every upstream says %s nobody is asked twice', async (kind, code) => {
  const { run, attempts } = begin({ a: [refusals[kind]], b: [refusals[kind]] });
  await expect(run()).rejects.toMatchObject({ code });
  expect(attempts).toEqual(['a 0', 'b 0']);
});

test('an upstream that has not got it does not end a download that another could not begin', async () => {
  const { run, attempts } = begin({
    a: [refusals.missing],
    b: [refusals.unavailable, { brings: size, ends: true }],
  });
  await run();
  expect(attempts).toEqual(['a 0', 'b 0', 'a 0', 'b 0']);
});

test.each([
  ['unavailable', 'UNAVAILABLE'],
  ['limited', 'TOOMANYREQUESTS'],
] as const)(
  'an upstream that stays %s is asked four times, then the clients are told',
  async (kind, code) => {
    const { run, attempts } = begin({ a: [refusals[kind]] });
    await expect(run()).rejects.toMatchObject({ code });
    expect(attempts).toHaveLength(4);
  },
);

test('progress is patience: only rounds without it count', async () => {
  const cut = { brings: floor };
  const { run, attempts } = begin({
    a: [
      refusals.unavailable,
      cut,
      refusals.unavailable,
      refusals.unavailable,
      cut,
      { brings: size - 2 * floor, ends: true },
    ],
  });
  await run({ rounds: 3 });
  expect(attempts).toHaveLength(6);
});

test('a trickle of cuts comes to an end', async () => {
  const { run, attempts, state } = begin({ a: [{ brings: floor - 1 }] });
  await expect(run()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(attempts).toHaveLength(4);
  expect(state.written).toBe(4 * (floor - 1));
});

test('the pause between rounds doubles', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { run, attempts } = begin({ a: [refusals.unavailable] });
  const failure = run({ pause: 100 }).catch((error) => error);
  const counts: number[] = [];
  for (const ms of [0, 99, 1, 199, 1, 399, 1]) {
    await vi.advanceTimersByTimeAsync(ms);
    counts.push(attempts.length);
  }
  expect(counts).toEqual([1, 1, 2, 2, 3, 3, 4]);
  expect(await failure).toMatchObject({ code: 'UNAVAILABLE' });
});

test('an abort ends the pause at once', async () => {
  const { run } = begin({ a: [refusals.unavailable] });
  const controller = new AbortController();
  const failure = run({ pause: 1e6, signal: controller.signal }).catch((error) => error);
  await new Promise(setImmediate);
  controller.abort(new Error('stopping'));
  expect(await failure).toMatchObject({ message: 'stopping' });
});
