import http from 'node:http';
import { join } from 'node:path';
import type { RunningProxy } from './start-proxy.ts';

/** What the control socket answered. */
export type ControlAnswer = { readonly status: number; readonly body: unknown };

/** Sends one request to a server's control socket; `body` goes as JSON. */
export async function control(
  proxy: Pick<RunningProxy, 'storagePath'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<ControlAnswer> {
  const { status, text } = await ask(proxy, method, path, body);
  return { status, body: JSON.parse(text) };
}

/** Sends a request that is answered with one event a line, and waits for the last. */
export async function controlEvents(
  proxy: Pick<RunningProxy, 'storagePath'>,
  method: string,
  path: string,
  body?: unknown,
): Promise<readonly unknown[]> {
  const { text } = await ask(proxy, method, path, body);
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

function ask(
  proxy: Pick<RunningProxy, 'storagePath'>,
  method: string,
  path: string,
  body: unknown,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const socketPath = join(proxy.storagePath, 'control.sock');
    const text = body === undefined ? '' : JSON.stringify(body);
    const headers = {
      host: 'entrepot',
      'content-type': 'application/json',
      // Not sent with a DELETE unless asked for.
      'content-length': Buffer.byteLength(text),
    };
    const outgoing = http.request({ socketPath, method, path: `/api/v1${path}`, headers, agent: false });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.once('error', reject);
      response.once('end', () => {
        resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
      });
    });
    outgoing.end(text);
  });
}

/** What became of an image's tag, oldest first, as `action digest`. */
export async function historyOf(
  proxy: Pick<RunningProxy, 'storagePath'>,
  image: string,
): Promise<readonly string[]> {
  const { body } = await control(proxy, 'GET', `/history?image=${encodeURIComponent(image)}`);
  const { moves } = body as { moves: readonly { action: string; new: string }[] };
  return moves.map((move) => `${move.action} ${move.new}`).reverse();
}
