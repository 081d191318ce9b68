import { readFile } from 'node:fs/promises';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Fault } from '../helpers/fake-faults.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { within } from '../helpers/gate.ts';
import { digestOf, makeBlob } from '../helpers/image.ts';
import { filesUnder, openFilesUnder } from '../helpers/leaks.ts';
import { type FillScene, fillScene } from './fill-scene.ts';
import { type Reading, readRange } from './reading.ts';

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

test('whatever one upstream does, each client gets the right bytes or an error, and only the right blob is kept', async () => {
  const upstream = await startFakeUpstream();
  const scene = await fillScene([upstream.url], { threads: 2 });
  let runs = 0;
  const seen = { stored: 0, failed: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(client, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(1, 70_000, 5_000_000),
      fc.boolean(),
      mishaps,
      lasting,
      share,
      async (clients, size, sizeKnown, faults, last, at) => {
        const blob = makeBlob(`run-${runs++}`, size);
        const { digest } = blob;
        upstream.content.addBlob('org/app', blob);
        await scene.allow(digest, sizeKnown ? size : undefined);
        const match = { kind: 'blob', method: 'GET', reference: digest } as const;
        if (last !== 'none') upstream.script({ match, ...faultOf(last, at, size) });
        // The latest script that matches wins, so the first to happen is put in place last.
        for (const fault of faults.toReversed()) {
          upstream.script({ match, ...faultOf(fault.kind, fault.at, size) });
        }
        const visits = Promise.all(clients.map((one) => visit(scene, digest, size, one)));
        const outcomes = await within(
          visits,
          () => `every client in\n${upstream.journal.toString()}`,
          25_000,
        );
        await scene.fills.find(digest)?.done.catch(() => undefined);
        const stored = (await scene.store.size(digest)) !== undefined;
        seen[stored ? 'stored' : 'failed'] += 1;

        for (const { bytes, failure, range, left } of outcomes) {
          const due = blob.bytes.subarray(range.start, range.end);
          if (failure === undefined) {
            expect(bytes.length).toBe(due.length);
            // Only of a front piece may wrong bytes have been given out: the last piece is held back.
            if (stored || range.end > size - held) expect(bytes.equals(due)).toBe(true);
          }
          if (last === 'none' && !left) expect(failure).toBeUndefined();
        }
        if (last === 'none') expect(stored).toBe(true);
        if (stored) expect(digestOf(await readFile(scene.layout.blob(digest)))).toBe(digest);
        expect(filesUnder(scene.layout.fills)).toEqual([]);
        upstream.heal();
        upstream.journal.clear();
      },
    ),
    { numRuns: 60 },
  );
  expect(seen.stored).toBeGreaterThan(0);
  expect(seen.failed).toBeGreaterThan(0);
  expect(openFilesUnder(scene.layout.fills)).toEqual([]);
});
