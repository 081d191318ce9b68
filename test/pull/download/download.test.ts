import { expect, onTestFinished, test, vi } from 'vitest';
import { IntegrityError } from '../../../src/oci/errors.ts';
import { isVerified } from '../../../src/pull/fill/fill-state.ts';
import { digestOf, seededBytes } from '../../helpers/image.ts';
import { refusals } from '../scripted-upstream.ts';
import { type Attempt, attempts, DownloadScene, down, startDownload } from './download-scene.ts';

const size = 10_000_000;
const blob = seededBytes('download', size);
const floor = 64 * 1024;

/** A download from upstreams of which each follows its own script. */
function begin(
  scripts: Record<string, readonly Attempt[]>,
  options: { left?: number; wrong?: number; sizeKnown?: boolean; bytes?: Buffer } = {},
) {
  const bytes = options.bytes ?? blob;
  const copy = Buffer.from(bytes);
  if (options.wrong !== undefined) copy[options.wrong] = (copy[options.wrong] ?? 0) ^ 1;
  const upstreams = Object.entries(scripts).map(([name, script]) => {
    const own = script.map((each) => ('kind' in each ? { ...each, upstream: name } : each));
    return [name, { copy, script: attempts(...own) }] as const;
  });
  const scene = new DownloadScene(bytes, Object.fromEntries(upstreams), {
    sizeKnown: options.sizeKnown ?? true,
  });
  if (options.left !== undefined) scene.leave(0, bytes.subarray(0, options.left));
  const run = async (how: Parameters<typeof startDownload>[1] = {}) => {
    const failure = await startDownload(scene, how).done;
    if (failure !== undefined) throw failure;
  };
  return { run, scene, copy };
}

test('what breaks off is continued at the missing byte', async () => {
  const { run, scene } = begin({
    a: [{ brings: 4_000_000 }, { brings: 1_000_000 }, { brings: 5_000_000, ends: true }],
  });
  await run();
  expect(scene.asked).toEqual(['a 0-', 'a 4000000-', 'a 5000000-']);
  expect(isVerified(scene.fill.state)).toBe(true);
});

test.each([3_000_000, floor - 1])(
  'the next upstream continues where the one before broke off, after %i bytes',
  async (brings) => {
    const { run, scene } = begin({ a: [{ brings }], b: [{ brings: size, ends: true }] });
    await run();
    expect(scene.asked).toEqual(['a 0-', `b ${brings}-`]);
    expect(scene.file.equals(blob)).toBe(true);
  },
);

test('a body that ends early is as good as one that was cut', async () => {
  const { run, scene } = begin({
    a: [
      { brings: 2_000_000, ends: true },
      { brings: 8_000_000, ends: true },
    ],
  });
  await run();
  expect(scene.asked).toEqual(['a 0-', 'a 2000000-']);
});

test('a body of unknown length is whole when it ends', async () => {
  const { run, scene } = begin(
    { a: [{ brings: 123, ends: true }] },
    { sizeKnown: false, bytes: seededBytes('short', 123) },
  );
  await run();
  expect(scene.asked).toEqual(['a 0-']);
  expect([isVerified(scene.fill.state), scene.fill.arrival.size]).toEqual([true, 123]);
});

test('a body of unknown length that is cut is continued, and not taken for whole', async () => {
  const { run, scene } = begin(
    { a: [{ brings: 100 }, { brings: 23, ends: true }] },
    { sizeKnown: false, bytes: seededBytes('short', 123) },
  );
  await run();
  expect(scene.asked).toEqual(['a 0-', 'a 100-']);
});

test('a file that is whole already is verified without asking anybody', async () => {
  const { run, scene } = begin({ a: [] }, { left: size });
  await run();
  expect(scene.asked).toEqual([]);
  expect(isVerified(scene.fill.state)).toBe(true);
});

test('wrong bytes are an integrity error that names both digests', async () => {
  const { run, scene, copy } = begin({ a: [{ brings: size, ends: true }] }, { wrong: 5 });
  const failure = await run().catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(IntegrityError);
  expect(failure).toMatchObject({ expected: scene.digest, found: digestOf(copy) });
  expect(isVerified(scene.fill.state)).toBe(false);
});

test.each([
  ['missing', 'BLOB_UNKNOWN'],
  ['denied', 'DENIED'],
  ['limited', 'TOOMANYREQUESTS'],
] as const)(
  'when every upstream says %s of a blob that no manifest names nobody is asked twice',
  async (kind, code) => {
    const refusal = kind === 'limited' ? { ...refusals.limited, retryAfter: 60 } : refusals[kind];
    const { run, scene } = begin({ a: [refusal], b: [refusal] }, { sizeKnown: false });
    await expect(run()).rejects.toMatchObject({ code });
    expect(scene.asked).toEqual(['a 0-', 'b 0-']);
  },
);

test('a blob that a manifest names and all upstreams lack is asked for once more, after a pause', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { run, scene } = begin({
    a: [refusals.missing],
    b: [refusals.missing, { brings: size, ends: true }],
  });
  const running = run({ pause: 100 });
  await vi.advanceTimersByTimeAsync(99);
  expect(scene.asked).toEqual(['a 0-', 'b 0-']);
  await vi.advanceTimersByTimeAsync(1);
  await running;
  expect(scene.asked).toEqual(['a 0-', 'b 0-', 'a 0-', 'b 0-']);
  expect(scene.file.equals(blob)).toBe(true);
});

test('a blob that stays missing is asked for twice, however long its download goes on', async () => {
  const { run, scene } = begin({ a: [refusals.missing, { brings: floor }, refusals.missing] });
  await expect(run()).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  expect(scene.asked).toHaveLength(3);
});

test('a rate limit that is over in a moment is waited for once', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { run, scene } = begin({ a: [refusals.limited] });
  const failure = run().catch((error: unknown) => error);
  await vi.advanceTimersByTimeAsync(3_000);
  expect(scene.asked).toHaveLength(1);
  await vi.advanceTimersByTimeAsync(100);
  expect(scene.asked).toHaveLength(2);
  expect(await failure).toMatchObject({ code: 'TOOMANYREQUESTS' });
});

test.each(['missing', 'denied', 'limited'] as const)(
  'an upstream that says %s does not end a download that another could not begin, and is not asked again',
  async (kind) => {
    const { run, scene } = begin({
      a: [refusals[kind]],
      b: [down('b'), { brings: size, ends: true }],
    });
    await run();
    expect(scene.asked).toEqual(['a 0-', 'b 0-', 'b 0-']);
  },
);

test('an upstream that stays unavailable is asked four times, then the clients are told', async () => {
  const { run, scene } = begin({ a: [refusals.unavailable] });
  await expect(run()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(scene.asked).toHaveLength(4);
});

test('progress is patience: only rounds without it count', async () => {
  const cut = { brings: floor };
  const { run, scene } = begin({
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
  expect(scene.asked).toHaveLength(6);
});

test('a trickle of cuts comes to an end', async () => {
  const { run, scene } = begin({ a: [{ brings: floor - 1 }] });
  await expect(run()).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(scene.asked).toHaveLength(4);
  expect(scene.arrived.size).toBe(4 * (floor - 1));
});

test('the pause between rounds doubles', async () => {
  vi.useFakeTimers();
  onTestFinished(() => {
    vi.useRealTimers();
  });
  const { run, scene } = begin({ a: [refusals.unavailable] });
  const failure = run({ pause: 100 }).catch((error: unknown) => error);
  const counts: number[] = [];
  for (const ms of [0, 99, 1, 199, 1, 399, 1]) {
    await vi.advanceTimersByTimeAsync(ms);
    counts.push(scene.asked.length);
  }
  expect(counts).toEqual([1, 1, 2, 2, 3, 3, 4]);
  expect(await failure).toMatchObject({ code: 'UNAVAILABLE' });
});

test('an abort ends the pause at once', async () => {
  const { run } = begin({ a: [refusals.unavailable] });
  const controller = new AbortController();
  const failure = run({ pause: 1e6, signal: controller.signal }).catch((error: unknown) => error);
  await new Promise(setImmediate);
  controller.abort(new Error('stopping'));
  expect(await failure).toMatchObject({ message: 'stopping' });
});
