import { setTimeout as wait } from 'node:timers/promises';
import fc from 'fast-check';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Wire } from '../../../src/upstream/wire/wire.ts';
import { howOften } from '../../helpers/runs.ts';
import { httpServer, keepingSink, rawServer, wireRequest } from '../loopback.ts';

const never = new AbortController().signal;

function openWire(): Wire {
  const wire = new Wire();
  onTestFinished(() => wire.close());
  return wire;
}

/** Runs one GET against a raw server that answers with `answer` and then does `after`. */
async function fetchRaw(answer: string, after: 'end' | 'reset' | 'stay' = 'end', more = {}) {
  const { port } = await rawServer((socket) => {
    socket.write(answer, 'latin1', () => {
      if (after === 'end') socket.end();
      if (after === 'reset') socket.resetAndDestroy();
    });
  });
  const sink = keepingSink();
  const result = await openWire().get(wireRequest(`http://127.0.0.1:${port}/`, more), sink.sink, never);
  return { result, body: sink.bytes().toString('latin1'), heads: sink.heads };
}

describe('a body', () => {
  it('arrives whole, with the head first', async () => {
    const bytes = Buffer.alloc(5 * 1024 * 1024, 'entrepot');
    const { origin, journal } = await httpServer((_request, response) => {
      response.setHeader('content-length', bytes.length).end(bytes);
    });
    const sink = keepingSink();
    const result = await openWire().get(
      wireRequest(`${origin}/v2/x?y=z`, { headers: { range: 'bytes=5-' } }),
      sink.sink,
      never,
    );
    expect(result).toMatchObject({
      kind: 'complete',
      bytes: bytes.length,
      head: { status: 200, length: bytes.length },
    });
    expect(sink.bytes().equals(bytes)).toBe(true);
    expect(journal[0]?.url).toBe('/v2/x?y=z');
    expect(journal[0]?.headers).toMatchObject({
      range: 'bytes=5-',
      'accept-encoding': 'identity',
      host: new URL(origin).host,
    });
  });

  it('arrives whole from chunks', async () => {
    const bytes = Buffer.alloc(3 * 1024 * 1024, 'chunky');
    const { origin } = await httpServer((_request, response) => {
      for (let at = 0; at < bytes.length; at += 70_000) response.write(bytes.subarray(at, at + 70_000));
      response.end();
    });
    const sink = keepingSink();
    const result = await openWire().get(wireRequest(origin), sink.sink, never);
    expect(result).toMatchObject({ kind: 'complete', bytes: bytes.length, head: { length: undefined } });
    expect(sink.bytes().equals(bytes)).toBe(true);
  });

  it('may end with the connection when no length is given', async () => {
    const { result, body } = await fetchRaw('HTTP/1.0 200 OK\r\n\r\nhello');
    expect(result).toMatchObject({ kind: 'complete', bytes: 5 });
    expect(body).toBe('hello');
  });

  it('is never longer than declared', async () => {
    const { result, body } = await fetchRaw('HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello there');
    expect(result).toMatchObject({ kind: 'complete', bytes: 5 });
    expect(body).toBe('hello');
  });

  it('may be empty', async () => {
    const { result } = await fetchRaw('HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n', 'stay');
    expect(result).toMatchObject({ kind: 'complete', bytes: 0 });
  });

  it('is the same however the bytes on the wire are cut', async () => {
    const texts = new Map([
      [
        '/chunked',
        'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n there\r\n0\r\n\r\n',
      ],
      ['/length', 'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello there'],
    ]);
    let cuts: number[] = [];
    const { port } = await rawServer(async (socket, head) => {
      const text = texts.get(head.split(' ')[1] ?? '') ?? '';
      const bounds = [...cuts.map((cut) => cut % text.length), text.length].sort((a, b) => a - b);
      let from = 0;
      for (const bound of bounds) {
        await new Promise((resolve) => socket.write(text.slice(from, bound), () => setImmediate(resolve)));
        from = bound;
      }
    });
    const wire = openWire();
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...texts.keys()),
        fc.array(fc.nat(), { maxLength: 8 }),
        async (path, some) => {
          cuts = some;
          const sink = keepingSink();
          const result = await wire.get(wireRequest(`http://127.0.0.1:${port}${path}`), sink.sink, never);
          expect(result).toMatchObject({ kind: 'complete', bytes: 11 });
          expect(sink.bytes().toString()).toBe('hello there');
        },
      ),
      { numRuns: howOften(40, 15) },
    );
  });
});

describe('back-pressure', () => {
  it('stops reading ahead while the sink is busy', async () => {
    const size = 32 * 1024 * 1024;
    const { port } = await rawServer((socket) => {
      socket.write(`HTTP/1.1 200 OK\r\nContent-Length: ${size}\r\n\r\n`);
      socket.write(Buffer.alloc(size));
    });
    let longest = 0;
    const chunk = async (bytes: Buffer) => {
      // Long enough for much more than a buffer to arrive if nothing held it back.
      if (longest === 0) await wait(300);
      longest = Math.max(longest, bytes.length);
    };
    const request = wireRequest(`http://127.0.0.1:${port}/`);
    const result = await openWire().get(request, { head: () => 'read', chunk }, never);
    expect(result).toMatchObject({ kind: 'complete', bytes: size });
    expect(longest).toBeLessThanOrEqual(512 * 1024);
  });

  it('waits for a slow sink, loses nothing and keeps its bytes untouched meanwhile', async () => {
    const bytes = Buffer.alloc(6 * 1024 * 1024);
    for (let index = 0; index < bytes.length; index += 4) bytes.writeUInt32LE(index, index);
    const { origin } = await httpServer((_request, response) => {
      response.setHeader('content-length', bytes.length).end(bytes);
    });
    let at = 0;
    let underWay = 0;
    const result = await openWire().get(
      wireRequest(origin),
      {
        head: () => 'read',
        chunk: async (chunk) => {
          expect(++underWay).toBe(1);
          const copy = Buffer.from(chunk);
          await wait(2);
          expect(chunk.equals(copy)).toBe(true);
          expect(copy.equals(bytes.subarray(at, at + copy.length))).toBe(true);
          at += copy.length;
          underWay--;
        },
      },
      never,
    );
    expect(result).toMatchObject({ kind: 'complete', bytes: bytes.length });
    expect(at).toBe(bytes.length);
  });

  it("does not let the sink's own time count as a stall", async () => {
    const { origin } = await httpServer((_request, response) => response.end('hello'));
    const result = await openWire().get(
      wireRequest(origin, { stallTimeout: 20 }),
      { head: () => 'read', chunk: () => wait(120) },
      never,
    );
    expect(result.kind).toBe('complete');
  });
});

describe('an answer that is not wanted', () => {
  it('is collected, and the connection used again', async () => {
    const { origin, journal } = await httpServer((_request, response) => {
      response.writeHead(404, { 'content-type': 'application/json' }).end('{"errors":[]}');
    });
    const wire = openWire();
    for (let round = 0; round < 2; round++) {
      const result = await wire.get(wireRequest(origin), keepingSink('collect').sink, never);
      expect(result).toMatchObject({ kind: 'collected', head: { status: 404 } });
      expect(result.kind === 'collected' && result.body.toString()).toBe('{"errors":[]}');
    }
    expect(journal[0]?.socket).toBe(journal[1]?.socket);
  });

  it('is cut after 64 KiB', async () => {
    const { origin } = await httpServer((_request, response) => response.end(Buffer.alloc(1024 * 1024, 'x')));
    const result = await openWire().get(wireRequest(origin), keepingSink('collect').sink, never);
    expect(result.kind === 'collected' && result.body.length).toBe(64 * 1024);
  });

  it('counts although its body breaks off', async () => {
    const { port } = await rawServer((socket) =>
      socket.end('HTTP/1.1 302 X\r\nLocation: /a\r\nContent-Length: 9\r\n\r\nab'),
    );
    const result = await openWire().get(
      wireRequest(`http://127.0.0.1:${port}/`),
      keepingSink('collect').sink,
      never,
    );
    expect(result).toMatchObject({ kind: 'collected', head: { status: 302, headers: { location: '/a' } } });
  });
});

describe('a failure', () => {
  it.each([
    [
      'a body shorter than declared',
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello',
      'end',
      'body',
      'cut',
      'hello',
    ],
    [
      'chunks without an end',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n',
      'end',
      'body',
      'cut',
      'hello',
    ],
    [
      'a malformed chunk',
      'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello!!\r\n',
      'stay',
      'body',
      'malformed',
      '',
    ],
    [
      'a reset within the body',
      'HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello',
      'reset',
      'body',
      'reset',
      undefined,
    ],
    [
      'a reset where only the close would end the body',
      'HTTP/1.1 200 OK\r\n\r\nhello',
      'reset',
      'body',
      'reset',
      undefined,
    ],
    ['no answer', '', 'end', 'headers', 'cut', ''],
    ['half a head', 'HTTP/1.1 200 OK\r\nConte', 'end', 'headers', 'cut', ''],
    ['a malformed head', 'HTTP/1.1 200 OK\r\nA b\r\n\r\n', 'stay', 'headers', 'malformed', ''],
    [
      'a body under a coding',
      'HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 1\r\n\r\nx',
      'stay',
      'headers',
      'malformed',
      '',
    ],
  ] as const)('is told for %s', async (_what, answer, after, phase, reason, body) => {
    const fetched = await fetchRaw(answer, after);
    expect(fetched.result).toMatchObject({ kind: 'failed', phase, reason });
    if (body !== undefined) expect(fetched.body).toBe(body);
    expect(fetched.result).toHaveProperty('bytes', fetched.body.length);
  });

  it('is a stall when the body stops', async () => {
    const { result } = await fetchRaw('HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello', 'stay', {
      stallTimeout: 50,
    });
    expect(result).toMatchObject({
      kind: 'failed',
      phase: 'body',
      reason: 'stall',
      bytes: 5,
      head: { status: 200 },
    });
  });

  it('is a timeout when no head comes, however it trickles', async () => {
    const { port } = await rawServer((socket) => {
      const timer = setInterval(() => socket.write('HTTP/1.1 100 Continue\r\n\r\n'), 10);
      socket.on('close', () => clearInterval(timer));
    });
    const request = wireRequest(`http://127.0.0.1:${port}/`, { headersTimeout: 100 });
    const result = await openWire().get(request, keepingSink().sink, never);
    expect(result).toMatchObject({ kind: 'failed', phase: 'headers', reason: 'timeout', bytes: 0 });
  });

  it('is a refusal when nobody listens', async () => {
    const { port } = await rawServer(() => {});
    const result = await openWire().get(wireRequest(`http://127.0.0.2:${port}/`), keepingSink().sink, never);
    expect(result).toMatchObject({ kind: 'failed', phase: 'connect', reason: 'refused' });
  });

  it('is an exception when the sink throws, now or later', async () => {
    const { origin } = await httpServer((_request, response) => response.end('hello'));
    const error = new Error('the disk is full');
    const wire = openWire();
    const now = () => {
      throw error;
    };
    await expect(wire.get(wireRequest(origin), { head: () => 'read', chunk: now }, never)).rejects.toBe(
      error,
    );
    await expect(wire.get(wireRequest(origin), { head: now, chunk: now }, never)).rejects.toBe(error);
    const later = () => Promise.reject(error);
    await expect(wire.get(wireRequest(origin), { head: () => 'read', chunk: later }, never)).rejects.toBe(
      error,
    );
  });

  it.each([['ftp://127.0.0.1/'], ['http://user:secret@127.0.0.1/'], ['nonsense']])(
    'is a TypeError for %s, before anything is sent',
    async (url) => {
      await expect(openWire().get(wireRequest(url), keepingSink().sink, never)).rejects.toThrow(TypeError);
    },
  );
});

describe('an abort', () => {
  it('rejects with its reason at every stage', async () => {
    const { origin } = await httpServer((request, response) => {
      if (request.url === '/body') response.writeHead(200, { 'content-length': 9 }).write('hello');
    });
    const reason = new Error('enough');
    const wire = openWire();
    await expect(wire.get(wireRequest(origin), keepingSink().sink, AbortSignal.abort(reason))).rejects.toBe(
      reason,
    );

    const waiting = new AbortController();
    const answer = wire.get(wireRequest(origin), keepingSink().sink, waiting.signal);
    setImmediate(() => waiting.abort(reason));
    await expect(answer).rejects.toBe(reason);

    const reading = new AbortController();
    const chunk = () => reading.abort(reason);
    const sink = { head: () => 'read' as const, chunk };
    await expect(wire.get(wireRequest(`${origin}/body`), sink, reading.signal)).rejects.toBe(reason);
  });

  it('waits until the sink has let go of its bytes', async () => {
    const { origin } = await httpServer((_request, response) => response.end('hello'));
    const controller = new AbortController();
    let settled = false;
    const chunk = async () => {
      controller.abort(new Error('enough'));
      await wait(30);
      settled = true;
    };
    const answer = openWire().get(wireRequest(origin), { head: () => 'read', chunk }, controller.signal);
    await expect(answer).rejects.toThrow('enough');
    expect(settled).toBe(true);
  });
});

it('reaches an IPv6 address', async () => {
  const { port, journal } = await httpServer((_request, response) => response.end('six'), { host: '::1' });
  const sink = keepingSink();
  const result = await openWire().get(wireRequest(`http://[::1]:${port}/`), sink.sink, never);
  expect(result).toMatchObject({ kind: 'complete', bytes: 3 });
  expect(journal[0]?.headers.host).toBe(`[::1]:${port}`);
});
