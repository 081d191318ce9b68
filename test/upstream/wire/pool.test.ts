import type { Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Wire } from '../../../src/upstream/wire/wire.ts';
import { keepingSink, rawServer, wireRequest } from '../loopback.ts';

const never = new AbortController().signal;

function openWire(options?: ConstructorParameters<typeof Wire>[0]): Wire {
  const wire = new Wire(options);
  onTestFinished(() => wire.close());
  return wire;
}

describe('keep-alive', () => {
  const ok = 'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok';

  async function connectionsFor(answer: (n: number, request: number) => string, rounds = 3): Promise<number> {
    let requests = 0;
    const { port, connections } = await rawServer((socket, _head, n) => socket.write(answer(n, requests++)));
    const wire = openWire();
    for (let round = 0; round < rounds; round++) {
      const result = await wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
      expect(result).toMatchObject({ kind: 'complete' });
    }
    return connections();
  }

  it('never mixes up destinations', async () => {
    const wire = openWire();
    const servers = await Promise.all(
      ['one', 'two'].map(async (name) => {
        const { port } = await rawServer((socket) =>
          socket.write(`HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n${name}`),
        );
        return { name, port };
      }),
    );
    for (const { name, port } of [...servers, ...servers]) {
      const sink = keepingSink();
      await wire.get(wireRequest(`http://127.0.0.1:${port}/`), sink.sink, never);
      expect(sink.bytes().toString()).toBe(name);
    }
  });

  it('uses a connection again after a whole body', async () => {
    expect(await connectionsFor(() => ok)).toBe(1);
  });

  it.each([
    ['it is to be closed', 'HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok'],
    ['it speaks HTTP/1.0', 'HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok'],
    ['more bytes follow', `${ok}HTTP/1.1 200 OK\r\n`],
  ])('does not when %s', async (_what, answer) => {
    expect(await connectionsFor(() => answer)).toBe(3);
  });

  it.each([
    ['speaks', (socket: Socket) => socket.write('HTTP/1.1 408 Timeout\r\n\r\n')],
    ['closes', (socket: Socket) => socket.end()],
    ['is reset', (socket: Socket) => socket.resetAndDestroy()],
  ])('drops an idle connection that %s unasked', async (_what, farewell) => {
    const sockets: Socket[] = [];
    const { port } = await rawServer((socket) => {
      sockets.push(socket);
      socket.write(ok);
    });
    const wire = openWire();
    await wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
    const [first] = sockets;
    if (!first) throw new Error('no connection was made');
    const closed = new Promise((resolve) => first.once('close', resolve));
    farewell(first);
    await closed;
    const again = await wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
    expect(again).toMatchObject({ kind: 'complete', bytes: 2 });
    expect(sockets).toHaveLength(2);
    expect(sockets[1]).not.toBe(first);
  });

  it('tries once more when a connection that was used before dies without a byte', async () => {
    let requests = 0;
    const { port, connections } = await rawServer((socket) => {
      if (++requests === 2) socket.destroy();
      else socket.write(ok);
    });
    const wire = openWire();
    for (let round = 0; round < 2; round++) {
      const result = await wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
      expect(result).toMatchObject({ kind: 'complete', bytes: 2 });
    }
    expect([requests, connections()]).toEqual([3, 2]);
  });

  it('does not try again on a new connection, nor after a byte', async () => {
    let requests = 0;
    const { port } = await rawServer((socket) => {
      requests++;
      if (requests === 1) socket.write(ok);
      else socket.end('H');
    });
    const wire = openWire();
    await wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
    const cut = await wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
    expect(cut).toMatchObject({ kind: 'failed', phase: 'headers', reason: 'cut' });
    expect(requests).toBe(2);
  });

  it('closes an idle connection after its time, and all of them on close', async () => {
    const closed = Promise.withResolvers<void>();
    const { port } = await rawServer((socket) => {
      socket.on('close', () => closed.resolve());
      socket.write(ok);
    });
    await openWire({ idleTimeout: 10 }).get(
      wireRequest(`http://127.0.0.1:${port}/`),
      keepingSink().sink,
      never,
    );
    await closed.promise;
  });
});
