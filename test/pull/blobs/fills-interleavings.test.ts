import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Fault } from '../../helpers/fake-faults.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { within } from '../../helpers/gate.ts';
import { digestOf, makeBlob } from '../../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../../helpers/leaks.ts';
import { howOften } from '../../helpers/runs.ts';
import { type FillScene, fillScene } from '../fill/fill-scene.ts';
import { type Reading, readRange } from '../fill/reading.ts';

const held = 512 * 1024;
/** A part of a whole; whole thousandths, since most doubles between 0 and 1 are next to nothing. */
const share = fc.nat(1_000).map((thousandths) => thousandths / 1_000);
const edge = fc.oneof(share, fc.constantFrom(0, 1));

type Client = {
  readonly from: number;
  readonly to: number;
  readonly step: number;
  /** Turns of the event loop until it comes. */
  readonly comes: number;
  /** Turns until it leaves, if it does. */
  readonly leaves: number | undefined;
};

const client: fc.Arbitrary<Client> = fc.record({
  from: edge,
  to: edge,
  step: fc.constantFrom(60_000, 500_000),
  comes: fc.constantFrom(0, 0, 5, 50),
  leaves: fc.option(fc.nat(40), { nil: undefined, freq: 4 }),
});

/** What the upstream does wrong once, as a part of the blob's size; after these it works. */
type Passing = { readonly kind: 'cutAfter' | 'reset' | 'busy' | 'noRange' | 'chunked'; readonly at: number };
const cut = share.map((at): Passing => ({ kind: 'cutAfter', at }));
const passing = fc.oneof(
  cut,
  fc
    .constantFrom('reset' as const, 'busy' as const, 'noRange' as const, 'chunked' as const)
    .map((kind): Passing => ({ kind, at: 0 })),
);
/** In the order in which they happen; what matters most to a download that is resumed comes up often enough. */
const mishaps = fc.oneof(
  fc.array(passing, { maxLength: 3 }),
  cut.map((first): Passing[] => [first, { kind: 'noRange', at: 0 }]),
);
const lasting = fc.constantFrom(
  'none',
  'none',
  'none',
  'corrupt',
  'truncated',
  'missing',
  'corrupt once' as const,
);

function faultOf(kind: string, at: number, size: number): Fault {
  switch (kind) {
    case 'cutAfter':
      return { cutAfter: Math.floor(at * size), times: 1 };
    case 'reset':
      return { reset: true, times: 1 };
    case 'busy':
      return { status: 503, times: 1 };
    case 'noRange':
      return { noRange: true, times: 1 };
    case 'chunked':
      return { chunked: true, times: 1 };
    case 'corrupt':
      return { corruptAt: Math.floor(at * (size - 1)) };
    case 'corrupt once':
      return { corruptAt: Math.floor(at * (size - 1)), times: 1 };
    case 'truncated':
      return { truncateTo: Math.floor(at * (size - 1)) };
    default:
      return { status: 404 };
  }
}

async function turns(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise(setImmediate);
}

type Outcome = Reading & { readonly range: { start: number; end: number }; readonly left: boolean };

/** One client: opens the blob, reads its range, perhaps leaves. Never rejects. */
async function visit(
  { blobs, target }: FillScene,
  digest: ReturnType<typeof digestOf>,
  size: number,
  { from, to, step, comes, leaves }: Client,
): Promise<Outcome> {
  const range = { start: Math.floor(Math.min(from, to) * size), end: Math.floor(Math.max(from, to) * size) };
  const leave = new AbortController();
  await turns(comes);
  if (leaves !== undefined) void turns(leaves).then(() => leave.abort(new Error('left')));
  try {
    const opened = await blobs.open(target, digest, leave.signal);
    try {
      const reading = await readRange(opened.read, range, step, leave.signal);
      return { ...reading, range, left: leave.signal.aborted };
    } finally {
      await opened.close();
    }
  } catch (error) {
    return { bytes: Buffer.alloc(0), failure: error as Error, range, left: leave.signal.aborted };
  }
}

/** What one upstream does wrong: some things once, in this order, then one for good. */
type Conduct = { readonly passing: readonly Passing[]; readonly last: string; readonly at: number };
const conduct: fc.Arbitrary<Conduct> = fc.record({ passing: mishaps, last: lasting, at: share });

type Run = {
  readonly clients: readonly Client[];
  readonly size: number;
  readonly sizeKnown: boolean;
  /** By upstream. */
  readonly conducts: readonly Conduct[];
  /** Bytes a second of each answer; `undefined`: as fast as it can. */
  readonly pace: number | undefined;
};

/** Upstreams in front of one scene, which run after run are as if they had never been heard of. */
async function openScene(count: number) {
  const upstreams = await Promise.all(Array.from({ length: count }, () => startFakeUpstream()));
  const scene = await fillScene(
    upstreams.map(({ url }) => url),
    {
      threads: 2,
      hashedApartFrom: 0,
      failures: 100,
      configured: upstreams.map(() => ({ maxConnections: 3 })),
    },
  );
  const unknown = scene.upstreams.map(({ health }) => health.snapshot());
  let runs = 0;
  const seen = { stored: 0, failed: 0, parallel: 0 };
  return {
    scene,
    seen,
    /** Lets the clients come, and checks what became of them and of the blob. */
    async run({ clients, size, sizeKnown, conducts, pace }: Run): Promise<void> {
      const blob = makeBlob(`run-${runs++}`, size);
      const { digest } = blob;
      for (const [index, { health }] of scene.upstreams.entries())
        health.restore(unknown[index] ?? health.snapshot());
      await scene.allow(digest, sizeKnown ? size : undefined);
      const match = { kind: 'blob', method: 'GET', reference: digest } as const;
      const paced = pace === undefined ? {} : { bytesPerSecond: pace };
      for (const [index, upstream] of upstreams.entries()) {
        const { passing = [], last = 'none', at = 0 } = conducts[index] ?? {};
        upstream.content.addBlob('org/app', blob);
        upstream.script({ match, ...paced, ...(last !== 'none' && faultOf(last, at, size)) });
        // The latest script that matches wins, so the first to happen is put in place last.
        for (const fault of passing.toReversed()) {
          upstream.script({ match, ...paced, ...faultOf(fault.kind, fault.at, size) });
        }
      }
      const journals = () => upstreams.map(({ journal }) => journal.toString()).join('\n---\n');
      const visits = Promise.all(clients.map((one) => visit(scene, digest, size, one)));
      const outcomes = await within(visits, () => `every client in\n${journals()}`);
      await scene.fills.find(digest)?.done.catch(() => undefined);
      const stored = (await scene.store.size(digest)) !== undefined;
      seen[stored ? 'stored' : 'failed'] += 1;
      if (upstreams.some(({ journal }) => journal.mostAtOnce(match) > 1)) seen.parallel += 1;

      const lies = conducts.some(({ last }) => last.startsWith('corrupt') || last === 'truncated');
      for (const { bytes, failure, range, left } of outcomes) {
        const due = blob.bytes.subarray(range.start, range.end);
        if (failure === undefined) {
          expect(bytes.length).toBe(due.length);
          // Only of a front piece may wrong bytes have been given out, and only where an upstream lied.
          if (!lies || range.end > size - held) expect(bytes.equals(due)).toBe(true);
        }
        if (!lies && !left && conducts.some(({ last }) => last === 'none')) expect(failure).toBeUndefined();
      }
      // One that is right is enough, unless another said first how large the blob is, and that was wrong.
      const misled = !sizeKnown && conducts.some(({ last }) => last === 'truncated');
      const one = conducts.some(({ last }) => last === 'none' || (count === 1 && last === 'corrupt once'));
      if (one && !misled) expect(stored, journals()).toBe(true);
      if (stored) expect(digestOf(await readFile(scene.layout.blob(digest)))).toBe(digest);
      // Nobody who is right is ever blamed.
      const blamed = scene.upstreams.filter(
        ({ health }) => health.exclusionFor('content')?.kind === 'quarantined',
      );
      for (const { name } of blamed) {
        const { last = 'none' } = conducts[upstreams.findIndex(({ host }) => host === name)] ?? {};
        expect(['corrupt', 'corrupt once', 'truncated']).toContain(last);
      }
      expect(filesUnder(scene.layout.fills)).toEqual([]);
      for (const upstream of upstreams) {
        upstream.heal();
        upstream.journal.clear();
      }
    },
  };
}

/** One client reads a blob whole from upstreams that do one thing all the time. */
const steady = (...last: string[]): Run => ({
  clients: [{ from: 0, to: 1, step: 60_000, comes: 0, leaves: undefined }],
  size: 70_000,
  sizeKnown: true,
  conducts: last.map((each) => ({ passing: [], last: each, at: 0.5 })),
  pace: undefined,
});

const clientsOf = fc.array(client, { minLength: 1, maxLength: 5 });

test('whatever one upstream does, each client gets the right bytes or an error, and only the right blob is kept', async () => {
  const { scene, seen, run } = await openScene(1);
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        clients: clientsOf,
        size: fc.constantFrom(1, 70_000, 5_000_000),
        sizeKnown: fc.boolean(),
        conducts: fc.array(conduct, { minLength: 1, maxLength: 1 }),
        pace: fc.constant(undefined),
      }),
      run,
    ),
    // So few runs need not meet each ending by chance.
    { numRuns: howOften(60, 30), examples: [[steady('none')], [steady('missing')]] },
  );
  expect(seen.stored).toBeGreaterThan(0);
  expect(seen.failed).toBeGreaterThan(0);
  expect(openFilesUnder(scene.layout.fills)).toEqual([]);
});

test('whatever several upstreams do, one that is right is enough, and only those that lie are blamed', async () => {
  const { scene, seen, run } = await openScene(3);
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        clients: clientsOf,
        size: fc.constantFrom(70_000, 5_000_000),
        sizeKnown: fc.boolean(),
        conducts: fc.array(conduct, { minLength: 3, maxLength: 3 }),
        pace: fc.constant(undefined),
      }),
      run,
    ),
    { numRuns: howOften(50, 30), examples: [[steady('none', 'missing', 'corrupt')]] },
  );
  expect(seen.stored).toBeGreaterThan(0);
  expect(openFilesUnder(scene.layout.fills)).toEqual([]);
});

test('the same holds while several connections to several upstreams bring parts of it at once', async () => {
  const { scene, seen, run } = await openScene(2);
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        clients: clientsOf,
        size: fc.constant(6_000_000),
        sizeKnown: fc.boolean(),
        conducts: fc.tuple(
          conduct,
          conduct.map((each) => ({ ...each, last: 'none' })),
        ),
        pace: fc.constant(600_000),
      }),
      run,
    ),
    { numRuns: howOften(3, 1) },
  );
  expect(seen.parallel).toBeGreaterThan(0);
  expect(openFilesUnder(scene.layout.fills)).toEqual([]);
});
