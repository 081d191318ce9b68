import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { repository } from '../helpers/cold-layer.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { ociError, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const hex = 'a'.repeat(64);

const paths = [
  '/v2/../manifests/v1',
  '/v2/org/../../etc/passwd/manifests/v1',
  '/v2/org/app/../../../manifests/v1',
  '/v2/org/./app/manifests/v1',
  '/v2/..%2f..%2fetc%2fpasswd/manifests/v1',
  '/v2/org%2fapp/manifests/v1',
  '/v2/org%2Fapp/blobs/sha256:0',
  '/v2/%2e%2e/%2e%2e/manifests/v1',
  '/v2/org%00/app/manifests/v1',
  '/v2/org/app%0d%0aX-Evil:%201/manifests/v1',
  '/v2/org//app/manifests/v1',
  '/v2//org/app/manifests/v1',
  '//v2/org/app/manifests/v1',
  '/v2/org/app//manifests/v1',
  '/v2/org/app/manifests/',
  '/v2/org/app/manifests/v1/',
  '/v2/org/app/manifests/v1%20',
  '/v2/org/app/manifests/..',
  '/v2/org/app/manifests/.hidden',
  `/v2/org/app/manifests/${'t'.repeat(129)}`,
  '/v2/org/app/manifests/sha256:abc',
  `/v2/org/app/manifests/sha256:${'A'.repeat(64)}`,
  `/v2/org/app/manifests/md5:${'a'.repeat(32)}`,
  '/v2/org/app/blobs/latest',
  '/v2/org/app/blobs/sha256:../../../../etc/passwd',
  `/v2/org/app/blobs/sha256:${hex}/../../x`,
  `/v2/org/app/blobs/sha256:${hex}%00`,
  `/v2/org/app/referrers/sha256:${hex}0`,
  '/v2/Org/App/manifests/v1',
  '/v2/org/app-/manifests/v1',
  '/v2/-org/app/manifests/v1',
  '/v2/org/a___b/manifests/v1',
  '/v2/org/app:5000/manifests/v1',
  '/v2/org/app@x/manifests/v1',
  '/v2/org/äpp/manifests/v1',
  '/v2/org/%C3%A4pp/manifests/v1',
  `/v2/${'n'.repeat(300)}/manifests/v1`,
  `/v2/${'n/'.repeat(200)}app/manifests/v1`,
  `/v2/org/app/manifests/v1${'/x'.repeat(5_000)}`,
  '/v2/org/app/tags/list/more',
  '/v2/org/app/tags/list?n=-1',
  '/v2/org/app/tags/list?n=1e9',
  '/v2/org/app/unknown/v1',
  '/v2/org/app',
  '/v1/repositories/org/app/tags',
  '/v2/_catalog/../org/app/manifests/v1',
  '/../../../../etc/passwd',
  '/etc/passwd/v2/org/app/manifests/v1',
  '/..%2f/v2/org/app/manifests/v1',
];

async function scene(): Promise<{ upstream: FakeUpstream; url: string; host: string }> {
  const upstream = await startFakeUpstream();
  upstream.add(repository, makeImage(), 'v1');
  const { url, host } = await startProxy({ registries: { 'ghcr.io': upstream } });
  return { upstream, url, host };
}

test('every hostile path is refused with 400 or 404 and an OCI error, and no upstream hears of it', async () => {
  const { upstream, url } = await scene();
  for (const path of paths) {
    const answer = await request(url, encodeURI(path).replaceAll('%25', '%'));
    const seen = { path, status: answer.status };
    expect([400, 404], JSON.stringify(seen)).toContain(answer.status);
    expect(() => ociError(answer), JSON.stringify(seen)).not.toThrow();
    expect((await request(url, encodeURI(path).replaceAll('%25', '%'), { method: 'HEAD' })).status).toBe(
      answer.status,
    );
  }
  expect(upstream.journal.toString()).toBe('(no request)');
  expect((await request(url, `/v2/${repository}/manifests/v1`)).status).toBe(200);
});

test.each([
  '127.0.0.1:1',
  'localhost',
  '[::1]:80',
  'ghcr.io@evil',
  'http://127.0.0.1/',
  'ghcr.io/../x',
  '%00',
  '__proto__',
])('ns=%s is looked up and never dialled', async (ns) => {
  const { upstream, url } = await scene();
  const answer = await request(url, `/v2/${repository}/manifests/v1?ns=${encodeURIComponent(ns)}`);
  expect([400, 404]).toContain(answer.status);
  expect(ociError(answer).code).toBe('NAME_UNKNOWN');
  expect(upstream.journal.count()).toBe(0);
});

/** Sends bytes as they are and returns the status line; empty when the connection was closed without one. */
function raw(host: string, text: string): Promise<string> {
  const [hostname = '', port] = host.split(':');
  return new Promise((resolve) => {
    let received = '';
    const socket = connect(Number(port), hostname, () => socket.write(text));
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1');
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(received.split('\r\n')[0] ?? ''));
  });
}

test.each([
  ['a NUL in the path', 'GET /v2/org\0/app/manifests/v1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  [
    'an absolute URI of another host',
    'GET http://169.254.169.254/latest/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
  ],
  [
    'two lengths',
    'GET /v2/ HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\nConnection: close\r\n\r\nab',
  ],
  ['CONNECT', 'CONNECT 169.254.169.254:80 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'],
  [
    'headers without end',
    `GET /v2/ HTTP/1.1\r\nHost: x\r\n${`X-Filling: ${'x'.repeat(1_000)}\r\n`.repeat(200)}`,
  ],
])('a raw request with %s is refused and the server lives on', async (_, text) => {
  const { upstream, url, host } = await scene();
  expect(await raw(host, text)).toMatch(/^$|^HTTP\/1\.1 4\d\d /);
  expect(upstream.journal.count()).toBe(0);
  expect((await request(url, '/v2/')).status).toBe(200);
});
