import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import { Fill } from '../../src/pull/fill.ts';
import { type FillProgress, readable } from '../../src/pull/fill-messages.ts';
import { Ingest } from '../../src/store/ingest.ts';
import { openFile } from '../../src/store/open-file.ts';
import { within } from '../helpers/gate.ts';
import { digestOf, seededBytes } from '../helpers/image.ts';
import { openFilesUnder } from '../helpers/leaks.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';
import { type Reading, readRange } from './reading.ts';

/** One blob that is streamed but for its last piece, and one that is held back entirely. */
const content = { large: seededBytes('large', 4_700_000), small: seededBytes('small', 200_000) };
const held = 512 * 1024;

type Action =
  | { readonly kind: 'join'; readonly from: number; readonly to: number; readonly step: number }
  | { readonly kind: 'arrive'; readonly share: number }
  | { readonly kind: 'leave'; readonly which: number }
  | { readonly kind: 'cut' | 'abort' }
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
  { weight: 5, arbitrary: fc.record({ kind: fc.constant('arrive' as const), share }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('leave' as const), which: fc.nat(9) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('cut' as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ kind: fc.constant('pause' as const), turns: fc.integer({ min: 1, max: 6 }) }),
  },
);

/** A download whose every step the test takes: a real file, really hashed, its front published as a worker does. */
class ScriptedDownload {
  readonly fill: Fill;
  readonly #ending = Promise.withResolvers<void>();
  readonly #path: string;
  readonly #sent: Buffer;
  readonly #digest: Digest;
  #ingest: Ingest;
  over = false;

  private constructor(path: string, digest: Digest, sent: Buffer, ingest: Ingest) {
    this.#path = path;
    this.#digest = digest;
    this.#sent = sent;
    this.#ingest = ingest;
    const run = (_fill: Fill, signal: AbortSignal) => {
      signal.addEventListener('abort', () => this.#end(signal.reason));
      return this.#ending.promise;
    };
    this.fill = new Fill(digest, sent.length, { run, open: () => openFile(path) }, { patience: 60_000 });
  }

  static async begin(path: string, digest: Digest, sent: Buffer): Promise<ScriptedDownload> {
    return new ScriptedDownload(path, digest, sent, await Ingest.open(path, digest, sent.length));
  }

  arrive(bytes: number): void {
    if (this.over) return;
    const { written } = this.#ingest;
    this.#ingest.append(this.#sent.subarray(written, written + bytes));
    this.#publish();
  }

  /** The connection breaks, and the download continues where it was. */
  async cut(): Promise<void> {
    if (this.over) return;
    this.#ingest.close();
    this.#ingest = await Ingest.open(this.#path, this.#digest, this.#sent.length);
    this.#publish();
  }

  /** The rest arrives and is verified. */
  finish(): void {
    if (this.over) return;
    this.arrive(this.#sent.length);
    try {
      this.#ingest.verify();
      this.#progress.publish(this.#ingest.written);
      this.#end(undefined);
    } catch (error) {
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

  get #progress(): FillProgress {
    return this.fill.progress;
  }

  #publish(): void {
    const front = readable(this.#ingest.written, this.#sent.length);
    if (front > 0) this.#progress.publish(front);
  }
}

type Reader = {
  readonly range: { start: number; end: number };
  readonly leave: AbortController;
  readonly reading: Promise<Reading>;
};

function joinFill(fill: Fill, size: number, { from, to, step }: Extract<Action, { kind: 'join' }>): Reader {
  const [start, end] = [Math.floor(Math.min(from, to) * size), Math.floor(Math.max(from, to) * size)];
  const leave = new AbortController();
  const reader = fill.reader();
  const reading = readRange(reader.read, { start, end }, step, leave.signal).finally(reader.close);
  return { range: { start, end }, leave, reading };
}

test('any interleaving of readers, bytes, cuts, aborts and endings gives each reader the right bytes or an error', async () => {
  const folder = await temporaryDirectory();
  let runs = 0;
  const seen = { right: 0, wrong: 0, aborted: 0, complete: 0, failed: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(action, { minLength: 3, maxLength: 25 }),
      fc.constantFrom('large' as const, 'large' as const, 'small' as const),
      fc.constantFrom('right' as const, 'wrong' as const, 'abort' as const),
      share,
      async (actions, which, ending, where) => {
        const right = content[which];
        const size = right.length;
        const sent = Buffer.from(right);
        if (ending === 'wrong') {
          const index = Math.min(size - 1, Math.floor(where * size));
          sent[index] = (sent[index] ?? 0) ^ 1;
        }
        const download = await ScriptedDownload.begin(join(folder, `${runs++}`), digestOf(right), sent);
        const { fill } = download;
        const readers: Reader[] = [];
        const abortAt =
          ending === 'abort' ? Math.min(actions.length - 1, Math.floor(where * actions.length)) : -1;
        for (const [turn, step] of actions.entries()) {
          if (turn === abortAt) fill.abort(new Error('given up'));
          switch (step.kind) {
            case 'join':
              readers.push(joinFill(fill, size, step));
              break;
            case 'arrive':
              download.arrive(Math.floor(step.share * size * 0.4));
              break;
            case 'leave':
              readers[step.which % Math.max(1, readers.length)]?.leave.abort(new Error('left'));
              break;
            case 'cut':
              await download.cut();
              break;
            case 'pause':
              for (let pause = 0; pause < step.turns; pause++) await new Promise(setImmediate);
              break;
            default:
              break;
          }
        }
        // Some are still waiting when it ends, and one comes after.
        download.finish();
        readers.push(joinFill(fill, size, { kind: 'join', from: 0, to: 1, step: 1_000_000 }));
        const stored = await fill.done.then(
          () => true,
          () => false,
        );
        expect(stored).toBe(ending === 'right');
        const readings = await within(Promise.all(readers.map(({ reading }) => reading)), 'every reader');
        for (const [index, { bytes, failure }] of readings.entries()) {
          const { range, leave } = readers[index] as Reader;
          expect(bytes.equals(sent.subarray(range.start, range.start + bytes.length))).toBe(true);
          if (failure === undefined) expect(bytes.length).toBe(range.end - range.start);
          if (failure === undefined && !stored && bytes.length > 0) {
            // Nothing of the piece that is held back may have been given out.
            expect(range.end).toBeLessThanOrEqual(which === 'small' ? 0 : size - held);
          }
          if (stored && !leave.signal.aborted) expect(failure).toBeUndefined();
          seen[failure === undefined ? 'complete' : 'failed'] += 1;
        }
        seen[ending === 'abort' ? 'aborted' : ending] += 1;
      },
    ),
    { numRuns: 60 },
  );
  expect(openFilesUnder(folder)).toEqual([]);
  // Every kind of ending was met, so that the property is about all of them.
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
});
