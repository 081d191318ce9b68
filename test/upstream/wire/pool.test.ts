import { connect, type Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { WireConnection } from '../../../src/upstream/wire/connection.ts';
import { WirePool } from '../../../src/upstream/wire/pool.ts';
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

  it('closes an idle connection after its time', async () => {
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

describe('the bound on idle connections', () => {
  /** A server that answers once `width` requests wait, so that each has a connection of its own. */
  async function gatheringServer(width: number) {
    let waiting: Socket[] = [];
    const sockets = new Set<Socket>();
    const { port, connections } = await rawServer((socket) => {
      sockets.add(socket);
      waiting.push(socket);
      if (waiting.length < width) return;
      for (const each of waiting) each.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
      waiting = [];
    });
    const round = async (wire: Wire) => {
      const request = () => wire.get(wireRequest(`http://127.0.0.1:${port}/`), keepingSink().sink, never);
      const results = await Promise.all(Array.from({ length: width }, request));
      for (const result of results) expect(result).toMatchObject({ kind: 'complete', bytes: 2 });
    };
    return { round, connections, sockets };
  }

  it.each([
    ['as many as it is told', { maxIdlePerOrigin: 2 }, 2],
    ['four without being told', {}, 4],
    ['none where none are wanted', { maxIdlePerOrigin: 0 }, 0],
  ])('keeps %s', async (_what, options, kept) => {
    const wire = openWire(options);
    const { round, connections } = await gatheringServer(6);
    await round(wire);
    expect(connections()).toBe(6);
    await round(wire);
    expect(connections()).toBe(6 + (6 - kept));
  });

  it('holds for each destination by itself', async () => {
    const wire = openWire({ maxIdlePerOrigin: 1 });
    const servers = [await gatheringServer(3), await gatheringServer(3)];
    for (const { round } of servers) await round(wire);
    for (const { round, connections } of servers) {
      await round(wire);
      expect(connections()).toBe(3 + 2);
    }
  });

  it('closes all that are idle on close, and those that come back later', async () => {
    const wire = openWire({ maxIdlePerOrigin: 3 });
    const { round, connections, sockets } = await gatheringServer(3);
    await round(wire);
    const closed = [...sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)));
    wire.close();
    await Promise.all(closed);
    await round(wire);
    await round(wire);
    expect(connections()).toBe(9);
  });
});

describe('an idle connection that is dead', () => {
  const key = 'one destination';

  /** A connection on which one exchange ended well, and its far end. */
  async function usedConnection() {
    const far = Promise.withResolvers<Socket>();
    const { port } = await rawServer((socket) => {
      far.resolve(socket);
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok');
    });
    const connection = new WireConnection();
    const socket = connect({ port, host: '127.0.0.1', onread: connection.onread });
    onTestFinished(() => void socket.destroy());
    connection.attach(socket, false);
    const limits = { headersTimeout: 5000, stallTimeout: 5000 };
    await connection.exchange('GET / HTTP/1.1\r\n\r\n', limits, keepingSink().sink, never);
    return { connection, socket, far: await far.promise };
  }

  function openPool(maxIdlePerOrigin: number): WirePool {
    const pool = new WirePool({ maxIdlePerOrigin, idleTimeout: 60_000 });
    onTestFinished(() => pool.close());
    return pool;
  }

  it('takes no place when it is put back', async () => {
    const pool = openPool(1);
    const { connection, socket, far } = await usedConnection();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    far.end();
    await closed;
    const living = await usedConnection();
    pool.put(key, connection);
    pool.put(key, living.connection);
    expect(pool.take(key)).toBe(living.connection);
    expect(pool.take(key)).toBeUndefined();
  });

  it('is passed over for one that lives', async () => {
    const pool = openPool(4);
    const [living, dead] = [await usedConnection(), await usedConnection()];
    pool.put(key, living.connection);
    pool.put(key, dead.connection);
    dead.connection.destroy();
    expect(pool.take(key)).toBe(living.connection);
    expect(pool.take(key)).toBeUndefined();
  });
});
