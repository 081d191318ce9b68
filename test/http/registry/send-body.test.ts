import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { BufferPool } from '../../../src/http/registry/buffer-pool.ts';
import { layOutMultipart } from '../../../src/http/registry/multipart.ts';
import { type BodyPiece, sendBody } from '../../../src/http/registry/send-body.ts';
import { neverAborted } from '../../../src/lib/abort.ts';
import type { BlobContent } from '../../../src/pull/fill/content.ts';
import { makeGate, within } from '../../helpers/gate.ts';
import { seededBytes } from '../../helpers/image.ts';
import { type Answer, type RequestOptions, request } from '../../helpers/request.ts';

const size = 3 * 1024 * 1024;
const bytes = seededBytes('send-body', size);
const whole: readonly BodyPiece[] = [{ kind: 'range', range: { start: 0, end: size } }];

/** Content in memory that gives at most `most()` bytes a read, and runs `before` first. */
function contentOf(
  most: () => number = () => size,
  before: (position: number) => Promise<void> | void = () => undefined,
): BlobContent {
  return {
    size,
    outcome: 'hit',
    upstream: undefined,
    firstByteMs: undefined,
    origin: undefined,
    read: async (buffer, length, position) => {
      await before(position);
      const end = Math.min(position + Math.min(length, most()), size);
      return bytes.copy(buffer, 0, position, end);
    },
    close: async () => undefined,
  };
}

type Sent = { readonly answer: Answer; readonly failure: unknown; readonly counted: number };

/** A pool that counts what is out. */
class CountedPool extends BufferPool {
  out = 0;

  override acquire(length: number): Buffer {
    this.out += 1;
    return super.acquire(length);
  }

  override release(buffer: Buffer): void {
    this.out -= 1;
    super.release(buffer);
  }
}

type Serving = {
  readonly content: BlobContent;
  readonly pieces?: readonly BodyPiece[];
  readonly length?: number;
  readonly stall?: number;
  readonly pool?: CountedPool;
  readonly outgoing?: (outgoing: ServerResponse) => void;
  /** Called when the sending has ended, before the client's side is awaited. */
  readonly ended?: () => void;
};

/** Sends one body to one client, and says how both ends fared. */
async function send(serving: Serving, options: RequestOptions = {}): Promise<Sent> {
  const {
    content,
    pieces = whole,
    length = size,
    stall = 60_000,
    pool = new CountedPool({ most: 4 }),
  } = serving;
  const ended = Promise.withResolvers<unknown>();
  let counted = 0;
  const handle = async (_incoming: IncomingMessage, outgoing: ServerResponse) => {
    serving.outgoing?.(outgoing);
    const begin = () => outgoing.writeHead(200, { 'Content-Length': length });
    const sent = (more: number) => {
      counted += more;
    };
    try {
      await sendBody({ outgoing, content, pool }, pieces, begin, { stall, signal: neverAborted, sent });
      ended.resolve(undefined);
    } catch (error) {
      outgoing.destroy();
      ended.resolve(error);
    }
  };
  const server = createServer(handle);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const asked = request(`http://127.0.0.1:${port}`, '/', options);
  const failure = await within(ended.promise, 'the body to be sent');
  expect(pool.out, 'buffers out after the end').toBe(0);
  serving.ended?.();
  const answer = await asked.catch(() => undefined);
  return { answer: answer ?? ({ complete: false, length: 0, status: 0 } as Answer), failure, counted };
}

test('a body arrives as it is, however few bytes a read gives', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 900_000 }), { minLength: 1, maxLength: 8 }),
      async (steps) => {
        // Reads of a handful of bytes are fine one by one, but not three million of them.
        let turn = 0;
        const most = () => Math.max(steps[turn++ % steps.length] ?? 1, turn > 50 ? 100_000 : 1);
        const { answer, failure, counted } = await send({ content: contentOf(most) });
        expect(failure).toBeUndefined();
        expect(answer).toMatchObject({ status: 200, complete: true, length: size });
        expect(answer.body.equals(bytes)).toBe(true);
        expect(counted).toBe(size);
      },
    ),
    { numRuns: 15 },
  );
});

test('a multipart body arrives as laid out, and only its ranges are counted', async () => {
  const range = fc
    .tuple(fc.nat(size - 1), fc.integer({ min: 1, max: 700_000 }))
    .map(([start, length]) => ({ start, end: Math.min(size, start + length) }));
  await fc.assert(
    fc.asyncProperty(fc.array(range, { minLength: 2, maxLength: 5 }), async (ranges) => {
      const { pieces, length } = layOutMultipart(ranges, size, 'application/octet-stream');
      const { answer, failure, counted } = await send({ content: contentOf(), pieces, length });
      expect(failure).toBeUndefined();
      const expected = Buffer.concat(
        pieces.map((piece) =>
          piece.kind === 'text'
            ? Buffer.from(piece.text)
            : bytes.subarray(piece.range.start, piece.range.end),
        ),
      );
      expect(answer.complete).toBe(true);
      expect(answer.body.equals(expected)).toBe(true);
      expect(counted).toBe(ranges.reduce((sum, { start, end }) => sum + end - start, 0));
    }),
    { numRuns: 15 },
  );
});

test('nothing is sent until the first bytes are there', async () => {
  const asked = makeGate();
  const failing = contentOf(undefined, () => {
    asked.open();
    throw new Error('no such blob');
  });
  let head = true;
  const { failure } = await send({
    content: failing,
    outgoing: (outgoing) =>
      outgoing.once('close', () => {
        head = outgoing.headersSent;
      }),
  });
  expect(asked.isOpen).toBe(true);
  expect(failure).toMatchObject({ message: 'no such blob' });
  expect(head).toBe(false);
});

test('a failure in the middle ends in a body cut short, never in other bytes', async () => {
  const content = contentOf(undefined, (position) => {
    if (position >= 1_000_000) throw new Error('the download failed');
  });
  const { answer, failure } = await send({ content });
  expect(failure).toMatchObject({ message: 'the download failed' });
  expect(answer).toMatchObject({ complete: false });
  expect(bytes.subarray(0, answer.length).equals(answer.body)).toBe(true);
});

test('a file that turns out shorter than its blob is a failure', async () => {
  const short: BlobContent = { ...contentOf(), read: async () => 0 };
  const { failure } = await send({ content: short });
  expect(failure).toMatchObject({ message: expect.stringContaining('shorter') });
});

test('an empty body has a head and no bytes', async () => {
  const pieces: readonly BodyPiece[] = [{ kind: 'range', range: { start: 0, end: 0 } }];
  const { answer, failure } = await send({ content: contentOf(), pieces, length: 0 });
  expect(failure).toBeUndefined();
  expect(answer).toMatchObject({ status: 200, length: 0, complete: true });
});

/** More than the kernel's buffers between server and client can take in. */
const long = {
  pieces: Array.from({ length: 20 }, () => whole).flat(),
  length: 20 * size,
};

test('a client that leaves ends the sending, and its buffers come back', async () => {
  const { failure, answer } = await send(
    { content: contentOf(), ...long },
    { onChunk: (_length, response) => response.destroy() },
  );
  expect(failure).toBeInstanceOf(Error);
  expect(answer.complete).toBe(false);
});

test('a client that takes no byte for a while is cut off', async () => {
  const client = new AbortController();
  const { failure } = await send(
    { content: contentOf(), ...long, stall: 100, ended: () => client.abort() },
    { onHeaders: (response) => response.pause(), signal: client.signal },
  );
  expect(failure).toBeInstanceOf(Error);
});

test('waiting for the content is no fault of the client’s', async () => {
  let response: ServerResponse | undefined;
  let waited = false;
  const content = contentOf(undefined, async (position) => {
    if (position === 0 || waited || response === undefined) return;
    waited = true;
    // Until the connection has been idle for as long as that of a client that takes no byte.
    await once(response, 'timeout');
  });
  const { answer, failure } = await send({
    content,
    stall: 200,
    outgoing: (outgoing) => {
      response = outgoing;
    },
  });
  expect(waited).toBe(true);
  expect(failure).toBeUndefined();
  expect(answer).toMatchObject({ complete: true, length: size });
});
