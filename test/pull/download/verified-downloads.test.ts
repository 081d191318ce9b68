import { readFile } from 'node:fs/promises';
import { afterEach, expect, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { IntegrityError } from '../../../src/oci/errors.ts';
import { HedgeBudget } from '../../../src/pull/asking/hedge-budget.ts';
import { VerifiedDownloads } from '../../../src/pull/download/verified-downloads.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { makeGate, within } from '../../helpers/gate.ts';
import { makeBlob, seededBytes } from '../../helpers/image.ts';
import { patience } from '../../helpers/patience.ts';
import { fillScene } from '../fill/fill-scene.ts';
import { targetOf } from '../scripted-upstream.ts';
import { DownloadScene, down, type TestLane, type TestUpstream } from './download-scene.ts';

const size = 6_000_000;
const half = size / 2;
const blob = seededBytes('verified', size);

afterEach(() => {
  vi.useRealTimers();
});

/** The blob with these bytes flipped. */
function damaged(...at: number[]): Buffer {
  const bytes = Buffer.from(blob);
  for (const index of at) bytes[index] = (bytes[index] ?? 0) ^ 1;
  return bytes;
}

const brings = (bytes: number) => (lane: TestLane) => {
  lane.begin(size);
  lane.bring(bytes);
  lane.cut();
};

/** Brings what it is asked for at once. */
const whole = (lane: TestLane) => {
  lane.begin(size);
  lane.bring(size);
};

/** A verified download of the blob by these upstreams. */
function begin(
  upstreams: Record<string, TestUpstream>,
  prepare?: (scene: DownloadScene) => void,
  sizeKnown = true,
) {
  const { log, lines } = captureLog();
  const distrusted: string[] = [];
  const facts = pullFacts();
  facts.on('upstream-distrusted', ({ upstream }) => distrusted.push(upstream));
  const downloads = new VerifiedDownloads(
    {
      log,
      random: () => 0.999,
      hedges: new HedgeBudget({ facts }),
      facts,
    },
    { patience: { rounds: 2, pause: 0 } },
  );
  const scene = new DownloadScene(blob, upstreams, {
    sizeKnown,
    run: (self, fill, signal) => {
      prepare?.(self);
      return downloads.run(fill, targetOf(self.upstreams), self.slot, signal);
    },
  });
  return {
    scene,
    lines,
    distrusted,
    done: scene.fill.done.then(
      () => undefined,
      (error: unknown) => error,
    ),
    /** Those that are not asked for content for a while. */
    quarantined: () =>
      scene.upstreams
        .filter(({ client }) => client.health.exclusionFor('content')?.kind === 'quarantined')
        .map(({ client }) => client.name),
  };
}

test('a download that is right blames nobody, and says who brought what', async () => {
  const { scene, done, distrusted, quarantined, lines } = begin({
    a: { script: brings(half) },
    b: { script: whole },
  });
  expect(await done).toBeUndefined();
  expect([distrusted, quarantined()]).toEqual([[], []]);
  expect(scene.calls).toEqual(['verify']);
  const told = lines.find(({ message }) => message === 'blob downloaded');
  expect(told?.fields).toMatchObject({
    image: 'ghcr.io/org/app',
    upstreams: { a: half, b: half },
    ranges: [`a 0-${half}`, `b ${half}-${size}`],
  });
});

test('who brought a wrong copy alone is quarantined at once, and another brings the right one', async () => {
  const { scene, done, distrusted, quarantined } = begin({
    a: { copy: damaged(5), script: whole },
    b: { script: whole },
  });
  expect(await done).toBeUndefined();
  expect(scene.asked).toEqual(['a 0-', 'b 0-']);
  expect([distrusted, quarantined()]).toEqual([['a'], ['a']]);
  expect(scene.file.equals(blob)).toBe(true);
  expect(scene.fill.deliveries).toMatchObject([{ upstream: 'b', start: 0, end: size }]);
});

test('a wrong copy of the only upstream is fetched again from it', async () => {
  const copy = (turn: number) => (turn === 0 ? damaged(5) : blob);
  const once = begin({ a: { copy, script: whole } });
  expect(await once.done).toBeUndefined();
  expect(once.scene.asked).toEqual(['a 0-', 'a 0-']);
  expect([once.distrusted, once.quarantined()]).toEqual([['a'], ['a']]);
  const wrong = begin({ a: { copy: damaged(5), script: whole } });
  expect(await wrong.done).toBeInstanceOf(IntegrityError);
  expect(wrong.scene.asked).toEqual(['a 0-', 'a 0-']);
  expect(new Set(wrong.distrusted)).toEqual(new Set(['a']));
});

test.each([
  ['the first listed', 5, 'a'],
  ['the second listed', half + 5, 'b'],
] as const)(
  'of two upstreams that brought parts only the one whose part was wrong is quarantined: %s',
  async (_which, at, guilty) => {
    const copy = damaged(at);
    const { scene, done, distrusted, quarantined } = begin({
      a: { copy: guilty === 'a' ? copy : blob, script: firstThen(brings(half), whole) },
      b: { copy: guilty === 'b' ? copy : blob, script: whole },
    });
    expect(await done).toBeUndefined();
    expect(scene.asked.slice(0, 2)).toEqual(['a 0-', `b ${half}-`]);
    expect(quarantined()).toEqual([guilty]);
    expect(new Set(distrusted)).toEqual(new Set([guilty]));
    expect(scene.file.equals(blob)).toBe(true);
  },
);

test('with a third upstream those that brought the wrong copy are not asked for the second', async () => {
  const { scene, done, quarantined } = begin({
    a: { copy: damaged(5), script: firstThen(brings(half), whole) },
    b: { script: whole },
    c: { script: whole },
  });
  expect(await done).toBeUndefined();
  const [, second, third] = scene.asked.map((asked) => asked[0]);
  expect(scene.asked).toHaveLength(3);
  expect(['b', 'c']).toContain(second);
  expect(['b', 'c']).toContain(third);
  expect(third).not.toBe(second);
  expect(quarantined()).toEqual(['a']);
});

test('when what an earlier run left was wrong nobody is quarantined, however few brought the rest', async () => {
  const { scene, done, distrusted, quarantined } = begin({ a: { script: whole } }, (self) => {
    self.leave(0, damaged(5).subarray(0, half));
  });
  expect(await done).toBeUndefined();
  expect(scene.asked).toEqual([`a ${half}-`, 'a 0-']);
  expect([distrusted, quarantined()]).toEqual([[], []]);
  expect(scene.file.equals(blob)).toBe(true);
});

test('when all of it was left by an earlier run, and wrong, it is fetched and nobody quarantined', async () => {
  const { scene, done, distrusted, quarantined } = begin(
    { a: { script: whole }, b: { script: whole } },
    (self) => {
      self.leave(0, damaged(5));
    },
  );
  expect(await done).toBeUndefined();
  expect(scene.asked).toEqual(['a 0-']);
  expect([distrusted, quarantined()]).toEqual([[], []]);
});

test('beside what an earlier run left, who brought a wrong rest is quarantined', async () => {
  const { done, quarantined } = begin(
    { a: { copy: damaged(half + 5), script: whole }, b: { script: whole } },
    (self) => {
      self.leave(0, blob.subarray(0, half));
    },
  );
  expect(await done).toBeUndefined();
  expect(quarantined()).toEqual(['a']);
});

test('when every upstream is wrong the failure is one of integrity, and each is quarantined', async () => {
  const { scene, done, distrusted, quarantined } = begin({
    a: { copy: damaged(5), script: whole },
    b: { copy: damaged(6), script: whole },
  });
  expect(await done).toBeInstanceOf(IntegrityError);
  expect(scene.asked).toEqual(['a 0-', 'b 0-']);
  expect([distrusted, quarantined()]).toEqual([
    ['a', 'b'],
    ['a', 'b'],
  ]);
});

test('when nobody can bring a second copy the failure says so, and only who was wrong is quarantined', async () => {
  const { done, quarantined } = begin({
    a: { copy: damaged(5), script: whole },
    b: { script: (lane) => lane.refuse(down('b')) },
  });
  expect(await done).toMatchObject({ code: 'UNAVAILABLE' });
  expect(quarantined()).toEqual(['a']);
});

test.each([
  ['that both of two connections brought', 50_000],
  ['that only one of them brought', 500_000],
])('for a wrong byte %s nobody is blamed who brought it right', async (_what, at) => {
  vi.useFakeTimers();
  const { scene, done, quarantined } = begin({
    a: { copy: damaged(at) },
    b: {},
    c: { script: whole },
  });
  await vi.advanceTimersByTimeAsync(0);
  // Late for a second request to be sent, which begins before the first is told to stop.
  await vi.advanceTimersByTimeAsync(2_100);
  const [first, second] = scene.lanes;
  if (first === undefined || second === undefined) throw new Error('no second request');
  const [liar, honest] = first.upstream === 'a' ? [first, second] : [second, first];
  scene.linger = true;
  liar.begin(size);
  liar.bring(100_000);
  honest.bring(200_000);
  scene.linger = false;
  for (const end of scene.lingering) end();
  await vi.advanceTimersByTimeAsync(100);
  liar.bring(size);
  for (let turn = 0; turn < 10; turn += 1) {
    for (const lane of scene.open) whole(lane);
    await vi.advanceTimersByTimeAsync(100);
  }
  expect(await done).toBeUndefined();
  expect(quarantined()).not.toContain('b');
  if (at > 200_000) expect(quarantined()).toEqual(['a']);
});

test('while the wrong bytes are thrown away no reader is given what is not there', async () => {
  const resetting = makeGate();
  let thrown: () => void = () => undefined;
  const isThrown = new Promise<void>((resolve) => {
    thrown = resolve;
  });
  const upstreams = { a: { copy: damaged(5), script: whole }, b: { script: whole } };
  const { scene, done } = begin(upstreams, (self) => {
    self.whileResetting = async () => {
      thrown();
      await resetting.opened;
    };
  });
  await within(isThrown, 'the reset');
  const buffer = Buffer.alloc(100);
  const reading = scene.fill
    .reader()
    .read(buffer, 100, 0, neverAborted)
    .then((count) => buffer.subarray(0, count));
  await new Promise(setImmediate);
  resetting.open();
  expect((await within(reading, 'the bytes')).equals(blob.subarray(0, 100))).toBe(true);
  expect(await done).toBeUndefined();
});

test('while it is found out who was wrong no reader is given what is known to be', async () => {
  const [asked, answered] = [makeGate(), makeGate()];
  const upstreams = {
    a: { copy: damaged(5), script: firstThen(brings(half), whole) },
    b: { script: whole },
  };
  const { scene, done } = begin(upstreams, ({ slot }) => {
    const { digests } = slot;
    slot.digests = async (stretches) => {
      const found = await digests(stretches);
      asked.open();
      await answered.opened;
      return found;
    };
  });
  await within(asked.opened, 'the comparison');
  const buffer = Buffer.alloc(100);
  const reading = scene.fill.reader().read(buffer, 100, 0, neverAborted);
  await new Promise(setImmediate);
  answered.open();
  await within(reading, 'the bytes');
  expect(buffer.equals(blob.subarray(0, 100))).toBe(true);
  expect(await done).toBeUndefined();
});

test('an abort between the two copies ends it with the abort', async () => {
  const resetting = makeGate();
  let thrown: () => void = () => undefined;
  const isThrown = new Promise<void>((resolve) => {
    thrown = resolve;
  });
  const upstreams = { a: { copy: damaged(5), script: whole }, b: {}, c: {} };
  const { scene, done } = begin(upstreams, (self) => {
    self.whileResetting = async () => {
      thrown();
      await resetting.opened;
    };
  });
  await within(isThrown, 'the reset');
  const reason = new Error('stopping');
  scene.fill.abort(reason);
  resetting.open();
  expect(await within(done, 'the end')).toBe(reason);
  // Nobody else is tried after it.
  expect(scene.calls).toEqual(['verify', 'reset']);
  expect(scene.asked).toEqual(['a 0-']);
});

test('when the only other upstream has not got it, it is not said to be gone', async () => {
  const { done, quarantined } = begin({
    a: { copy: damaged(5), script: whole },
    b: { script: (lane) => lane.refuse({ kind: 'missing', upstream: 'b' }) },
  });
  expect(await done).not.toMatchObject({ code: 'BLOB_UNKNOWN' });
  expect(quarantined()).toEqual(['a']);
});

test.each([0, 1_000])(
  'when one lied about a size that nobody knew, the others are not to blame that it cannot be right: %i bytes',
  async (short) => {
    const liar = (lane: TestLane) => {
      lane.begin(short);
      lane.bring(short);
      lane.finish();
    };
    // It declares no size, or it would be refused for another than the first.
    const honest = (lane: TestLane) => {
      lane.begin(undefined);
      lane.bring(size);
    };
    const { done, quarantined } = begin({ a: { script: liar }, b: { script: honest } }, undefined, false);
    expect(await done).toMatchObject({ code: expect.any(String) });
    expect(quarantined()).toEqual(['a']);
  },
);

test('two real upstreams in parallel, one of which corrupts its part: only that one is quarantined', async () => {
  const large = makeBlob('parallel', 8_000_000);
  const [liar, honest] = [await startFakeUpstream(), await startFakeUpstream()];
  const downloads = { kind: 'blob', method: 'GET', reference: large.digest } as const;
  for (const upstream of [liar, honest]) upstream.content.addBlob('org/app', large);
  liar.script({ match: downloads, corruptAt: 100, bytesPerSecond: 1_500_000 });
  honest.script({ match: downloads, bytesPerSecond: 1_500_000 });
  const scene = await fillScene([liar.url, honest.url], {
    configured: [{ maxConnections: 2 }, { maxConnections: 2 }],
  });
  const { fill } = scene.fills.join(scene.target, large.digest, large.bytes.length);
  await vi.waitUntil(() => fill.upstreams.size === 2, { timeout: patience });
  honest.heal();
  await within(fill.done, 'the blob');
  expect((await readFile(scene.layout.blob(large.digest))).equals(large.bytes)).toBe(true);
  const states = scene.upstreams.map(({ name, health }) => [name, health.exclusionFor('content')?.kind]);
  expect(states).toEqual([
    [liar.host, 'quarantined'],
    [honest.host, undefined],
  ]);
  expect(new Set(scene.distrusted)).toEqual(new Set([liar.host]));
});

/** Does one thing with the first connection, and another with all later ones. */
function firstThen(
  first: (lane: TestLane) => void,
  later: (lane: TestLane) => void,
): (lane: TestLane) => void {
  let turn = 0;
  return (lane) => (turn++ === 0 ? first : later)(lane);
}
