import { once } from 'node:events';
import { connect } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const size = 64 * 1024 * 1024;

test('whoever sends a whole archive before reading the answer still learns why it was refused at its start', async () => {
  const proxy = await startProxy({ registries: { 'docker.io': await startFakeUpstream() } });
  const socket = connect(join(proxy.storagePath, 'control.sock'));
  await once(socket, 'connect');
  const closed = once(socket, 'close');
  const head = [
    'POST /api/v1/import HTTP/1.1',
    'Host: control',
    'Connection: close',
    'Content-Type: application/x-tar',
    `Content-Length: ${size}`,
  ];
  socket.pause();
  socket.write(`${head.join('\r\n')}\r\n\r\n`);
  const piece = Buffer.alloc(1024 * 1024, 'no archive');
  for (let sent = 0; sent < size; sent += piece.length) {
    if (!socket.write(piece)) await once(socket, 'drain');
  }
  let text = '';
  socket.on('data', (chunk: Buffer) => {
    text += chunk.toString();
  });
  socket.resume();
  await closed;
  expect(text).toMatch(/^HTTP\/1\.1 200 /);
  expect(text).toContain('"kind":"failed"');
});
