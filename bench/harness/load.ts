import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import { type Blob, blobPath, type Image, manifestPath, manifestType } from './images.ts';

/** Runs a program to its end and returns what it printed; a non-zero exit throws. */
export async function run(command: string, args: readonly string[], signal?: AbortSignal): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...(signal && { signal }) });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  const [output, complaint, code] = await Promise.all([text(child.stdout), text(child.stderr), ended]);
  if (code !== 0)
    throw new Error(
      `${command} ${args.join(' ').slice(0, 300)}: exit ${code}: ${complaint}${output.slice(0, 1000)}`,
    );
  return output;
}

/** Seconds that the action takes. */
export async function timed(action: () => Promise<unknown>): Promise<number> {
  const start = process.hrtime.bigint();
  await action();
  return Number(process.hrtime.bigint() - start) / 1e9;
}

/** One curl process that downloads to /dev/null; `bytesPerSecond` limits it. */
export async function download(url: string, bytesPerSecond?: number): Promise<void> {
  const limit = bytesPerSecond === undefined ? [] : ['--limit-rate', String(bytesPerSecond)];
  await run('curl', ['-sSf', ...limit, '-o', '/dev/null', url]);
}

/** `clients` curl processes at once on one URL. */
export async function downloadBy(clients: number, url: string, bytesPerSecond?: number): Promise<void> {
  await Promise.all(Array.from({ length: clients }, () => download(url, bytesPerSecond)));
}

/** As `downloadBy`; returns the CPU seconds that the clients used together. */
export async function downloadCounted(clients: number, url: string): Promise<number> {
  const script = 'TIMEFORMAT="%U %S"; { time curl -sSf -o /dev/null "$1" 2>&3; } 3>&2 2>&1';
  const jobs = Array.from({ length: clients }, () => run('bash', ['-c', script, 'download', url]));
  const seconds = (await Promise.all(jobs)).flatMap((output) => output.trim().split(' ').map(Number));
  return seconds.reduce((sum, value) => sum + value, 0);
}

/** One curl process that downloads all URLs, `parallel` at a time, over kept connections. */
export async function downloadAll(urls: readonly string[], parallel: number): Promise<void> {
  const targets = urls.flatMap((url) => ['-o', '/dev/null', url]);
  await run('curl', ['-sSf', '-Z', '--parallel-immediate', '--parallel-max', String(parallel), ...targets]);
}

/** Asks a running entrepot's admin API, over the control socket of its storage, with curl. */
export function askAdmin(
  storage: string,
  request: { path: string; body?: unknown; upload?: string; output?: string },
): Promise<string> {
  const { path, body, upload, output } = request;
  const json = ['-H', 'Content-Type: application/json', '-d', JSON.stringify(body)];
  const sent =
    upload === undefined ? json : ['-H', 'Content-Type: application/x-tar', '-T', upload, '-X', 'POST'];
  const kept = output === undefined ? [] : ['-o', output];
  return run('curl', [
    '-sSf',
    '--unix-socket',
    `${storage}/control.sock`,
    ...sent,
    ...kept,
    `http://entrepot${path}`,
  ]);
}

/** Fetches a manifest by tag, as every client does first: only then may a proxy hand out its blobs. */
export async function fetchManifest(base: string, image: Image, authorization?: string): Promise<void> {
  const headers = ['-H', `Accept: ${manifestType}`, ...authorized(authorization)];
  await run('curl', ['-ksS', '--fail-with-body', ...headers, base + manifestPath(image)]);
}

/** Downloads a blob and compares its SHA-256; returns the fault, or nothing. */
export async function verify(party: string, base: string, image: Image, blob: Blob): Promise<string[]> {
  const script = 'set -o pipefail; curl -sSf "$1" | sha256sum';
  const output = await run('bash', ['-c', script, 'verify', base + blobPath(image, blob)]);
  const digest = `sha256:${output.slice(0, 64)}`;
  return digest === blob.digest ? [] : [`${party} served ${digest} for ${blob.digest}`];
}

function authorized(authorization: string | undefined): string[] {
  return authorization === undefined ? [] : ['-H', `Authorization: ${authorization}`];
}

/** What wrk saw: requests per second and how many answers were not 2xx or 3xx. */
export type WrkResult = { requestsPerSecond: number; bad: number };

/** One wrk thread with 32 connections for `seconds` (whole). */
export async function wrk(url: string, seconds: number, authorization?: string): Promise<WrkResult> {
  const headers = ['-H', `Accept: ${manifestType}`, ...authorized(authorization)];
  const args = ['-t1', '-c32', `-d${seconds}s`, ...headers, url];
  const output = await run('wrk', args);
  const bad = /Non-2xx or 3xx responses: (\d+)/.exec(output)?.[1] ?? '0';
  const sockets = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(output);
  const errors = (sockets ?? []).slice(1).reduce((sum, count) => sum + Number(count), 0);
  return {
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(output)?.[1] ?? Number.NaN),
    bad: Number(bad) + errors,
  };
}

/**
 * Asks `url` 200 times a second over one kept connection until the signal fires; returns the answer times in
 * seconds. curl waits for an answer before it asks again, so a stalled server yields few but long times.
 */
export async function probe(url: string, until: AbortSignal): Promise<number[]> {
  const format = '%{time_total}\\n';
  const args = ['-sS', '--rate', '200/s', '-o', '/dev/null', '-w', format, `${url}?[1-100000]`];
  const child = spawn('stdbuf', ['-oL', 'curl', ...args], { stdio: ['ignore', 'pipe', 'ignore'] });
  until.addEventListener('abort', () => child.kill('SIGTERM'), { once: true });
  const lines = (await text(child.stdout)).split('\n');
  return lines.filter((line) => /^\d+\.\d{6}$/.test(line)).map(Number);
}
