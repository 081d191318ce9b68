import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { sendBlobHead, sendError, sendHead, sendNotModified, sendWhole } from '../../src/http/respond.ts';
import { OciError, type OciErrorCode, ociErrorCodes } from '../../src/oci/errors.ts';
import { type Answer, ociError, outcome, request } from '../helpers/request.ts';

type Exchange = Parameters<typeof sendError>[0];

/** What a client gets from a server that answers as `handler` says. */
async function answerOf(handler: (exchange: Exchange) => void, method = 'GET'): Promise<Answer> {
  const server = createServer((incoming, outgoing) => handler({ incoming, outgoing }));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return request(`http://127.0.0.1:${port}`, '/', { method });
}

test.each([
  ['BLOB_UNKNOWN', 404],
  ['DENIED', 403],
  ['DIGEST_INVALID', 400],
  ['MANIFEST_BLOB_UNKNOWN', 404],
  ['MANIFEST_UNKNOWN', 404],
  ['NAME_INVALID', 400],
  ['NAME_UNKNOWN', 404],
  ['PAGINATION_NUMBER_INVALID', 400],
  ['RANGE_INVALID', 416],
  ['TOOMANYREQUESTS', 429],
  ['UNAUTHORIZED', 401],
  ['UNAVAILABLE', 503],
  ['UNKNOWN', 500],
  // What a pull finds invalid came from upstream: a bad gateway, not a bad request.
  ['MANIFEST_INVALID', 502],
  // Clients take a 405 on a GET for a broken registry.
  ['UNSUPPORTED', 404],
] as const)('a GET that fails with %s is answered with status %i', async (code, status) => {
  const answer = await answerOf((exchange) => sendError(exchange, new OciError(code)));
  expect(outcome(answer)).toBe(`${status} ${code}`);
  expect(ociError(answer).message).toBe(ociErrorCodes[code]);
  expect(answer.headers['cache-control']).toBe('no-store');
});

test.each([
  ['UNSUPPORTED', 405],
  ['MANIFEST_INVALID', 400],
  ['BLOB_UPLOAD_INVALID', 400],
] as const)('a write that fails with %s is answered with status %i', async (code, status) => {
  const answer = await answerOf((exchange) => sendError(exchange, new OciError(code)), 'PUT');
  expect(outcome(answer)).toBe(`${status} ${code}`);
});

test('the methods that are allowed are named where one is not, and nowhere else', async () => {
  const unsupported = (exchange: Exchange) => sendError(exchange, new OciError('UNSUPPORTED'));
  expect((await answerOf(unsupported, 'PUT')).headers).toMatchObject({ allow: 'GET, HEAD' });
  expect((await answerOf(unsupported)).headers).not.toHaveProperty('allow');
  const invalid = (exchange: Exchange) => sendError(exchange, new OciError('MANIFEST_INVALID'));
  expect((await answerOf(invalid, 'PUT')).headers).not.toHaveProperty('allow');
});

test('every code of the table has a status of its own kind', async () => {
  for (const code of Object.keys(ociErrorCodes) as OciErrorCode[]) {
    const { status } = await answerOf((exchange) => sendError(exchange, new OciError(code)), 'POST');
    expect(status, code).toBeGreaterThanOrEqual(400);
    expect(status, code).toBeLessThan(600);
  }
});

test('an error carries its detail and its wait, and further headers', async () => {
  const error = new OciError('UNAVAILABLE', 'later', { detail: { size: 3 }, retryAfter: 7 });
  const answer = await answerOf((exchange) => sendError(exchange, error, { 'X-Cache': 'miss' }));
  expect(ociError(answer)).toEqual({ code: 'UNAVAILABLE', message: 'later', detail: { size: 3 } });
  expect(answer.headers['retry-after']).toBe('7');
  expect(answer.headers['x-cache']).toBe('miss');
  expect(answer.headers['docker-distribution-api-version']).toBe('registry/2.0');
});

test('an error without a wait or a detail says nothing of them', async () => {
  const answer = await answerOf((exchange) => sendError(exchange, new OciError('DENIED')));
  expect(answer.headers).not.toHaveProperty('retry-after');
  expect(ociError(answer)).not.toHaveProperty('detail');
});

test('a HEAD that fails has the headers of the error and no body', async () => {
  const answer = await answerOf((exchange) => sendError(exchange, new OciError('BLOB_UNKNOWN')), 'HEAD');
  expect(answer).toMatchObject({ status: 404, length: 0, complete: true });
  expect(Number(answer.headers['content-length'])).toBeGreaterThan(0);
});

test('an error after the body began breaks the connection and appends nothing', async () => {
  const answer = await answerOf((exchange) => {
    sendHead(exchange.outgoing, 200, { 'Content-Length': 1_000 });
    exchange.outgoing.write('some bytes', () => sendError(exchange, new OciError('UNAVAILABLE')));
  });
  expect(answer).toMatchObject({ status: 200, complete: false });
  expect('some bytes'.startsWith(answer.text)).toBe(true);
});

test('a header without a value is left out', async () => {
  const answer = await answerOf(({ outgoing }) => {
    sendHead(outgoing, 200, { 'X-One': undefined, 'X-Two': 0 });
    outgoing.end();
  });
  expect(answer.headers).not.toHaveProperty('x-one');
  expect(answer.headers['x-two']).toBe('0');
});

test('HEAD and GET of a whole answer differ in the body alone', async () => {
  const send = (exchange: Exchange) => sendWhole(exchange, { 'Content-Type': 'text/x' }, 'bödy');
  const [get, head] = [await answerOf(send), await answerOf(send, 'HEAD')];
  expect(get).toMatchObject({ status: 200, text: 'bödy' });
  expect(head).toMatchObject({ status: 200, length: 0 });
  for (const name of ['content-type', 'content-length', 'docker-distribution-api-version']) {
    expect(head.headers[name]).toBe(get.headers[name]);
  }
  expect(get.headers['content-length']).toBe('5');
});

test('a long answer arrives whole, whether it is bytes or text', async () => {
  const text = 'ä manifest '.repeat(100_000);
  for (const body of [text, Buffer.from(text)]) {
    const answer = await answerOf((exchange) => sendWhole(exchange, {}, body));
    expect(answer.complete).toBe(true);
    expect(answer.text === text).toBe(true);
  }
});

test('an answer that nothing was modified has no body', async () => {
  const answer = await answerOf(({ outgoing }) => sendNotModified(outgoing, { ETag: '"x"' }));
  expect(answer).toMatchObject({ status: 304, length: 0, complete: true });
  expect(answer.headers.etag).toBe('"x"');
});

test.each([
  [{ kind: 'full' }, 200, { 'content-length': '10' }],
  [
    { kind: 'single', range: { start: 2, end: 5 } },
    206,
    { 'content-length': '3', 'content-range': 'bytes 2-4/10' },
  ],
  [
    { kind: 'multiple', type: 'multipart/byteranges; boundary=x', length: 99 },
    206,
    { 'content-length': '99', 'content-type': 'multipart/byteranges; boundary=x' },
  ],
] as const)('the head of a blob body (%j) has status %i', async (shape, status, headers) => {
  const answer = await answerOf(({ outgoing }) => {
    sendBlobHead(outgoing, 10, shape, { 'Content-Type': 'application/octet-stream' });
    outgoing.end();
  }, 'HEAD');
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject(headers);
  if (shape.kind !== 'single') expect(answer.headers).not.toHaveProperty('content-range');
});
