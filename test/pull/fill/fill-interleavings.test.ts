import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { IntegrityError } from '../../../src/oci/errors.ts';
import { Fill } from '../../../src/pull/fill/fill.ts';
import { Ingest } from '../../../src/store/disk/ingest.ts';
import { openFile } from '../../../src/store/disk/open-file.ts';
import { within } from '../../helpers/gate.ts';
import { digestOf, seededBytes } from '../../helpers/image.ts';
import { openFilesUnder } from '../../helpers/leaks.ts';
import { howOften } from '../../helpers/runs.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { type Reading, readRange } from './reading.ts';

/** One blob that is streamed but for its last piece, and one that is held back entirely. */
const content = { large: seededBytes('large', 4_700_000), small: seededBytes('small', 200_000) };
/** Other copies, of which every byte is wrong. */
const inverted = { large: invert(content.large), small: invert(content.small) };
const held = 512 * 1024;

/** How many connections bring the blob at one time, at most. */
const lanes = 3;

type Action =
  | { readonly kind: 'join'; readonly from: number; readonly to: number; readonly step: number }
  | { readonly kind: 'open'; readonly lane: number; readonly at: number }
  | { readonly kind: 'arrive'; readonly lane: number; readonly share: number }
  | { readonly kind: 'cut'; readonly lane: number }
  | { readonly kind: 'leave'; readonly which: number }
  | { readonly kind: 'crash' | 'wrong' }
  | { readonly kind: 'pause'; readonly turns: number };

/** A part of a whole; whole thousandths, since most doubles between 0 and 1 are next to nothing. */
const share = fc.nat(1_000).map((thousandths) => thousandths / 1_000);
const edge = fc.oneof(share, fc.constantFrom(0, 1));
const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('join' as const),
      from: edge,
      to: edge,
      step: fc.constantFrom(60_000, 400_000, 5_000_000),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('open' as const),
      lane: fc.nat(lanes - 1),
      at: fc.oneof(share, fc.constant(0)),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('arrive' as const), lane: fc.nat(lanes - 1), share }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const), lane: fc.nat(lanes - 1) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom('crash' as const, 'wrong' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pause' as const), turns: fc.integer({ min: 1, max: 6 }) }),
  },
);

/**
 * A download whose every step the test takes: a real file, really hashed, into which several connections write where
 * the test says, as a worker does. After a wrong copy was found out the right one is brought.
 */
class ScriptedDownload {
  readonly fill: Fill;
  readonly #ending = Promise.withResolvers<void>();
  readonly #path: string;
  readonly #digest: Digest;
  readonly #right: Buffer;
  readonly #open = new Set<number>();
  #sent: Buffer;
  #ingest: Ingest;
  over = false;

  private constructor(path: string, right: Buffer, sent: Buffer) {
    this.#path = path;
    this.#right = right;
    this.#digest = digestOf(right);
    this.#sent = sent;
    this.#ingest = Ingest.open(path, { algorithm: 'sha256', limit: sent.length });
    const run = (_fill: Fill, signal: AbortSignal) => {
      signal.addEventListener('abort', () => this.#end(signal.reason));
      return this.#ending.promise;
    };
    this.fill = new Fill(
      { run, open: () => openFile(path) },
      { digest: this.#digest, size: sent.length, patience: 60_000 },
    );
    this.fill.start();
    this.fill.note({ kind: 'opened' });
  }

  static begin(path: string, right: Buffer, sent: Buffer): ScriptedDownload {
    return new ScriptedDownload(path, right, sent);
  }

  /** A connection begins. */
  open(lane: number, start: number): void {
    if (this.over || this.#open.has(lane)) return;
    this.#open.add(lane);
    this.fill.arrival.begin(lane, start, this.#sent.length);
  }

  /** A connection brings bytes, of its own copy where others were before. */
  arrive(lane: number, bytes: number): void {
    if (this.over || !this.#open.has(lane)) return;
    const { progress } = this.fill.arrival;
    const position = progress.position(lane);
    const piece = this.#sent.subarray(position, position + bytes);
    this.#ingest.write(position, piece);
    progress.advance(lane, position + piece.length);
  }

  /** A connection breaks. */
  cut(lane: number): void {
    if (this.over || !this.#open.delete(lane)) return;
    this.fill.arrival.settle(lane);
  }

  /** All connections break, and the file is opened anew with what its map says. */
  crash(): void {
    if (this.over) return;
    for (const lane of [...this.#open]) this.cut(lane);
    const { intervals } = this.fill.arrival.arrived();
    this.#ingest.save();
    this.#ingest.close();
    this.#ingest = Ingest.open(this.#path, { algorithm: 'sha256', limit: this.#sent.length });
    expect(this.#ingest.arrived).toEqual(intervals);
  }

  /** The bytes so far are found wrong and thrown away; the right ones come from here on. */
  throwAway(): void {
    if (this.over) return;
    for (const lane of [...this.#open]) this.cut(lane);
    this.fill.note({ kind: 'discarded' });
    this.#ingest.reset();
    this.fill.note({ kind: 'emptied' });
    this.#sent = this.#right;
  }

  /**
   * The rest arrives and is verified.
   * @param cleaning called while a copy that was found wrong is removed, before and after its file is gone
   */
  async finish(cleaning: () => void): Promise<void> {
    if (this.over) return;
    for (const lane of [...this.#open]) this.cut(lane);
    this.open(0, 0);
    this.arrive(0, this.#sent.length);
    this.cut(0);
    this.fill.note({ kind: 'whole' });
    try {
      const found = await this.#ingest.digest();
      if (found !== this.#digest) throw new IntegrityError(this.#digest, found);
      if (this.over) return;
      this.fill.note({ kind: 'right' });
      this.#end(undefined);
    } catch (error) {
      this.fill.note({ kind: 'failed', failure: error as Error });
      cleaning();
      await rm(this.#path);
      cleaning();
      await new Promise(setImmediate);
      this.#end(error);
    }
  }

  #end(failure: unknown): void {
    if (this.over) return;
    this.over = true;
    this.#ingest.close();
    if (failure === undefined) this.#ending.resolve();
    else this.#ending.reject(failure);
  }
}

type Reader = {
  readonly range: { start: number; end: number };
  readonly leave: AbortController;
  readonly reading: Promise<Reading>;
  /** Settles when it was given something. */
  readonly given: Promise<void>;
};

function joinFill(fill: Fill, size: number, { from, to, step }: Extract<Action, { kind: 'join' }>): Reader {
  const [start, end] = [Math.floor(Math.min(from, to) * size), Math.floor(Math.max(from, to) * size)];
  const leave = new AbortController();
  const reader = fill.reader();
  const { promise: given, resolve } = Promise.withResolvers<void>();
  const read: typeof reader.read = async (...args) => {
    const bytes = await reader.read(...args);
    resolve();
    return bytes;
  };
  const reading = readRange(read, { start, end }, step, leave.signal).finally(reader.close);
  return { range: { start, end }, leave, reading, given };
}

/** So few runs need not meet each ending by chance. */
const oneOfEach = (['right', 'wrong', 'replaced', 'abort'] as const).map(
  (ending): [Action[], 'large', typeof ending, number] => [
    [
      { kind: 'join', from: 0, to: 1, step: 400_000 },
      { kind: 'arrive', lane: 0, share: 1 },
      { kind: 'pause', turns: 6 },
    ],
    'large',
    ending,
    0.9,
  ],
);

test('any interleaving of readers, connections, crashes, refetches, aborts and endings gives each reader the right bytes or an error', async () => {
  const folder = await temporaryDirectory();
  let runs = 0;
  const seen = {
    right: 0,
    wrong: 0,
    replaced: 0,
    aborted: 0,
    complete: 0,
    failed: 0,
    unaware: 0,
    cut: 0,
    late: 0,
  };
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { minLength: 3, maxLength: 25 }),
      fc.constantFrom('large' as const, 'large' as const, 'small' as const),
      fc.constantFrom('right' as const, 'wrong' as const, 'replaced' as const, 'abort' as const),
      share,
      async (actions, which, ending, where) => {
        const right = content[which];
        const size = right.length;
        const sent = Buffer.from(ending === 'replaced' ? inverted[which] : right);
        if (ending === 'wrong') {
          const index = Math.min(size - 1, Math.floor(where * size));
          sent[index] = (sent[index] ?? 0) ^ 1;
        }
        const path = join(folder, `${runs++}`);
        const download = ScriptedDownload.begin(path, right, sent);
        const { fill } = download;
        download.open(0, 0);
        const readers: Reader[] = [];
        const abortAt =
          ending === 'abort' ? Math.min(actions.length - 1, Math.floor(where * actions.length)) : -1;
        for (const [turn, step] of actions.entries()) {
          if (turn === abortAt) fill.abort(new Error('given up'));
          switch (step.kind) {
            case 'join':
              readers.push(joinFill(fill, size, step));
              break;
            case 'open':
              download.open(step.lane, Math.floor(step.at * (size - 1)));
              break;
            case 'arrive':
              download.arrive(step.lane, Math.floor(step.share * size * 0.4));
              break;
            case 'cut':
              download.cut(step.lane);
              break;
            case 'leave':
              readers[step.which % Math.max(1, readers.length)]?.leave.abort(new Error('left'));
              break;
            case 'crash':
              download.crash();
              break;
            case 'wrong':
              if (ending === 'replaced') download.throwAway();
              break;
            case 'pause':
              for (let pause = 0; pause < step.turns; pause++) await new Promise(setImmediate);
              break;
            default:
              break;
          }
        }
        // Some are still waiting when it ends, and one comes after.
        if (ending === 'replaced') {
          // One at least has been given some of it when it is thrown away.
          if (which === 'large' && !download.over) {
            for (let lane = 0; lane < lanes; lane++) download.cut(lane);
            download.open(0, 0);
            download.arrive(0, 1_000_000);
            const early = joinFill(fill, size, { kind: 'join', from: 0, to: 1, step: 60_000 });
            readers.push(early);
            await within(early.given, 'the first piece');
          }
          download.throwAway();
        }
        const late: Reader[] = [];
        await download.finish(() =>
          late.push(joinFill(fill, size, { kind: 'join', from: 0, to: 1, step: 60_000 })),
        );
        readers.push(joinFill(fill, size, { kind: 'join', from: 0, to: 1, step: 1_000_000 }));
        const stored = await fill.done.then(
          () => true,
          () => false,
        );
        expect(stored).toBe(ending === 'right' || ending === 'replaced');
        if (stored) expect((await readFile(path)).equals(right)).toBe(true);
        const readings = await within(Promise.all(readers.map(({ reading }) => reading)), 'every reader');
        for (const [index, { bytes, failure }] of readings.entries()) {
          const { range, leave } = readers[index] as Reader;
          const due = right.subarray(range.start, range.start + bytes.length);
          const wrongAsSent = bytes.equals(sent.subarray(range.start, range.start + bytes.length));
          // Of one copy, never of two; and the last piece of no copy but the right one.
          expect(bytes.equals(due) || wrongAsSent).toBe(true);
          if (failure === undefined) expect(bytes.length).toBe(range.end - range.start);
          const shown = which === 'small' ? 0 : size - held;
          if (range.start + bytes.length > shown && bytes.length > 0) {
            expect(bytes.equals(due)).toBe(true);
            expect(stored).toBe(true);
          }
          if (stored && !leave.signal.aborted && ending === 'right') expect(failure).toBeUndefined();
          // Who fails although the blob is right was given bytes of the wrong copy.
          if (stored && !leave.signal.aborted && failure !== undefined)
            expect(bytes.length, String(failure)).toBeGreaterThan(0);
          if (ending === 'replaced' && failure !== undefined && !leave.signal.aborted) seen.cut += 1;
          if (ending === 'replaced' && failure === undefined && bytes.length > shown) seen.unaware += 1;
          seen[failure === undefined ? 'complete' : 'failed'] += 1;
        }
        const verdict = await fill.done.catch((error: unknown) => error);
        for (const { bytes, failure } of await within(
          Promise.all(late.map(({ reading }) => reading)),
          'the late',
        )) {
          expect([bytes.length, failure]).toEqual([0, verdict]);
          seen.late += 1;
        }
        seen[ending === 'abort' ? 'aborted' : ending] += 1;
      },
    ),
    { numRuns: howOften(60, 15), examples: oneOfEach },
  );
  expect(openFilesUnder(folder)).toEqual([]);
  // Every kind of ending was met, so that the property is about all of them.
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
});

function invert(bytes: Buffer): Buffer {
  return Buffer.from(bytes.map((byte) => byte ^ 0xff));
}
