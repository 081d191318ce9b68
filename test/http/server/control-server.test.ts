import { spawnSync } from 'node:child_process';
import { existsSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { join } from 'node:path';
import { Hono } from 'hono';
import { expect, onTestFinished, test } from 'vitest';
import { ndjsonResponse } from '../../../src/http/admin/ndjson.ts';
import { ControlServer } from '../../../src/http/server/control-server.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { SocketFile } from '../../../src/store/disk/socket-file.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { makeGate, within } from '../../helpers/gate.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';

/** A control server on `path` that says hello, and counts lines as the gate lets it. */
async function controlScene(path?: string, options: { drainTimeout?: number } = {}) {
  const socket = path ?? join(await temporaryDirectory(), 'control.sock');
  const logs = captureLog();
  const next = makeGate();
  const gone = makeGate();
  async function* lines(signal: AbortSignal) {
    signal.addEventListener('abort', () => gone.open());
    yield { done: 1 };
    await Promise.race([next.opened, gone.opened]);
    yield { done: 2 };
    throw new OciError('MANIFEST_UNKNOWN', 'the third is not there');
  }
  const routes = new Hono()
    .get('/hello', (c) => c.text('hello'))
    .get('/lines', (c) => ndjsonResponse(lines(c.req.raw.signal), () => new OciError('UNKNOWN')))
    .get('/odd', () => ndjsonResponse(broken(), () => new OciError('UNKNOWN', 'see the log')));
  const deps = { current: () => ({ control: routes }), file: new SocketFile(socket), log: logs.log };
  const server = new ControlServer(deps, { drainTimeout: options.drainTimeout ?? 5_000 });
  onTestFinished(() => server.close());
  return { socket, server, logs, next, gone };
}

async function* broken(): AsyncGenerator<unknown> {
  yield { done: 0 };
  throw new Error('a secret of the inside');
}

/** Asks over the socket; resolves when the answer begins. */
function ask(socketPath: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    request({ socketPath, path, agent: false }, resolve).on('error', reject).end();
  });
}

async function textOf(response: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
}

const hello = async (socket: string) => textOf(await ask(socket, '/hello'));

test('answers on a socket that is its owner’s alone, and leaves nothing behind', async () => {
  const { socket, server } = await controlScene();
  const before = process.umask(0);
  try {
    await server.start();
    expect(process.umask()).toBe(0);
  } finally {
    process.umask(before);
  }
  expect((statSync(socket).mode & 0o777).toString(8)).toBe('600');
  expect(await hello(socket)).toBe('hello');
  await server.close();
  await server.close();
  expect(existsSync(socket)).toBe(false);
});

test('nobody else may connect even before the mode is set', () => {
  const modes: string[] = [];
  const before = process.umask(0);
  try {
    new SocketFile('/nowhere/control.sock').create(() => modes.push(process.umask().toString(8)));
  } finally {
    process.umask(before);
  }
  expect(modes).toEqual(['77']);
});

test('takes the place of the socket that a killed server left behind', async () => {
  const { socket, server } = await controlScene();
  const listen = `require('node:net').createServer().listen(process.argv[1], () => process.kill(process.pid, 'SIGKILL'))`;
  expect(spawnSync(process.execPath, ['-e', listen, socket]).signal).toBe('SIGKILL');
  expect(statSync(socket).isSocket()).toBe(true);
  await server.start();
  expect(await hello(socket)).toBe('hello');
});

test('does not start where another server answers, and leaves that one alone', async () => {
  const first = await controlScene();
  await first.server.start();
  const second = await controlScene(first.socket);
  await expect(second.server.start()).rejects.toMatchObject({ code: 'CONTROL_IN_USE' });
  await second.server.close();
  expect(await hello(first.socket)).toBe('hello');
});

test.each([
  ['a path that is too long for a socket', (folder: string) => join(folder, 'x'.repeat(120))],
  ['a folder that is not there', (folder: string) => join(folder, 'none', 'control.sock')],
])('does without it, with a warning, at %s', async (_what, pathIn) => {
  const { server, logs } = await controlScene(pathIn(await temporaryDirectory()));
  await server.start();
  expect(logs.lines.map(({ level }) => level)).toEqual(['warn']);
  await server.close();
});

test('never removes what is no socket', async () => {
  const folder = await temporaryDirectory();
  const [file, link] = [join(folder, 'precious'), join(folder, 'link')];
  writeFileSync(file, 'precious');
  symlinkSync(file, link);
  for (const path of [file, link]) {
    const { server, logs } = await controlScene(path);
    await server.start();
    expect(logs.text()).toContain('is not a socket');
  }
  expect(existsSync(file) && existsSync(link)).toBe(true);
});

test('sends each line of a stream as soon as it is there, and a failure as the last', async () => {
  const { socket, server, next } = await controlScene();
  await server.start();
  const response = await ask(socket, '/lines');
  expect(response.headers['content-type']).toBe('application/x-ndjson');
  const [first] = await within(nextChunk(response), 'the first line');
  expect(String(first)).toBe('{"done":1}\n');
  next.open();
  const error = { code: 'MANIFEST_UNKNOWN', message: 'the third is not there' };
  expect(await textOf(response)).toBe(`{"done":2}\n${JSON.stringify({ error })}\n`);
  const odd = await textOf(await ask(socket, '/odd'));
  expect(odd).toBe('{"done":0}\n{"error":{"code":"UNKNOWN","message":"see the log"}}\n');
});

test('a client that goes away aborts what it asked for', async () => {
  const { socket, server, gone } = await controlScene();
  await server.start();
  const response = await ask(socket, '/lines');
  await nextChunk(response);
  response.destroy();
  await within(gone.opened, 'the abort');
});

test('closing lets what is under way end, but not for longer than the drain time', async () => {
  const patient = await controlScene();
  await patient.server.start();
  const response = await ask(patient.socket, '/lines');
  await nextChunk(response);
  const closed = patient.server.close();
  await expect(hello(patient.socket)).rejects.toThrow(/ENOENT|ECONNREFUSED/);
  patient.next.open();
  expect(await textOf(response)).toContain('"done":2');
  await closed;

  const hasty = await controlScene(undefined, { drainTimeout: 10 });
  await hasty.server.start();
  const cut = await ask(hasty.socket, '/lines');
  await nextChunk(cut);
  await within(hasty.server.close(), 'the close');
  await expect(textOf(cut)).rejects.toThrow();
});

function nextChunk(response: IncomingMessage): Promise<unknown[]> {
  return new Promise((resolve, reject) => {
    response.once('error', reject);
    response.once('readable', () => resolve([response.read()]));
  });
}
