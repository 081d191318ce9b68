import { once } from 'node:events';
import http from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { BufferPool } from '../../../src/http/registry/buffer-pool.ts';
import { sendBody } from '../../../src/http/registry/send-body.ts';
import { neverAborted } from '../../../src/lib/abort.ts';

test('a connection that is gone before it says so ends the sending', async () => {
  const size = 2_000_000;
  const { promise: ended, resolve } = Promise.withResolvers<unknown>();
  const server = http.createServer((_incoming, outgoing) => {
    let reads = 0;
    const content = {
      size,
      outcome: 'hit' as const,
      upstream: undefined,
      firstByteMs: undefined,
      origin: undefined,
      read: async (_buffer: Buffer, length: number) => {
        reads += 1;
        if (reads === 2) outgoing.socket?.destroy();
        return length;
      },
      close: async () => undefined,
    };
    const begin = () => outgoing.writeHead(200, { 'content-length': size });
    const options = { stall: 60_000, signal: neverAborted, sent: () => undefined };
    const pieces = [{ kind: 'range' as const, range: { start: 0, end: size } }];
    sendBody({ outgoing, content, pool: new BufferPool({ most: 4 }) }, pieces, begin, options).then(
      resolve,
      resolve,
    );
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.close();
  });
  const client = http.get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' }, (answer) => {
    answer.on('error', () => undefined).resume();
  });
  client.on('error', () => undefined);
  await expect(ended).resolves.toBeInstanceOf(Error);
});
