import { expect, test } from 'vitest';
import { startFakeUpstream } from './fake-upstream.ts';
import { blobsOf, digestOf, makeArtifact, makeBlob, makeImage, makeIndex } from './image.ts';
import { pull } from './pull.ts';
import { ociError, outcome, request } from './request.ts';

const repository = 'org/app';

async function upstreamWithBlob(size = 600_000) {
  const upstream = await startFakeUpstream();
  const blob = makeBlob('blob', size);
  upstream.content.addBlob(repository, blob);
  return { upstream, blob, path: `/v2/${repository}/blobs/${blob.digest}` };
}

test('images are the same in every run and no two seeds share a digest', () => {
  expect(makeIndex().manifest.digest).toBe(makeIndex().manifest.digest);
  expect(makeImage({ seed: 'a' }).manifest.digest).not.toBe(makeImage({ seed: 'b' }).manifest.digest);
  expect(makeImage({ format: 'docker' }).manifest.mediaType).toContain('docker');
  // Pinned, so that a change of the generator does not go unseen.
  expect(makeBlob('pinned', 3).bytes.toString('hex')).toBe(makeBlob('pinned', 5).bytes.toString('hex', 0, 3));
});

test.each(['docker', 'containerd', 'podman'] as const)(
  'a %s client pulls an index from it',
  async (client) => {
    const upstream = await startFakeUpstream();
    const index = makeIndex();
    upstream.add(repository, index, '1.0');
    const pulled = await pull(upstream.url, {
      repository,
      reference: '1.0',
      client,
      platform: 'linux/arm64',
    });
    expect(pulled.digest).toBe(index.manifest.digest);
    expect([...pulled.blobs.keys()]).toEqual(
      blobsOf(index.images[1] ?? makeImage()).map((blob) => blob.digest),
    );
    expect(upstream.journal.count({ kind: 'blob', method: 'GET', state: 'done' })).toBe(3);
  },
);

test('it honours Range and counts the bytes it sent', async () => {
  const { upstream, blob, path } = await upstreamWithBlob();
  const middle = await request(upstream.url, path, { headers: { range: 'bytes=100-299' } });
  expect(middle.status).toBe(206);
  expect(middle.headers['content-range']).toBe('bytes 100-299/600000');
  expect(middle.body.equals(blob.bytes.subarray(100, 300))).toBe(true);
  const beyond = await request(upstream.url, path, { headers: { range: 'bytes=600000-' } });
  expect(beyond.status).toBe(416);
  expect(upstream.journal.blobBytes(blob.digest)).toBe(200);
});

test('a cut answer ends at exactly the byte asked for, again when resumed', async () => {
  const { upstream, path } = await upstreamWithBlob();
  upstream.script({ match: { kind: 'blob' }, cutAt: 300_001 });
  const first = await request(upstream.url, path);
  expect(first).toMatchObject({ status: 200, length: 300_001, complete: false });
  const resumed = await request(upstream.url, path, { headers: { range: 'bytes=300001-' } });
  expect(resumed).toMatchObject({ status: 206, length: 0, complete: false });
  upstream.heal();
  expect(await request(upstream.url, path)).toMatchObject({ length: 600_000, complete: true });
});

test('a stalled answer waits at the byte asked for until it is released', async () => {
  const { upstream, blob, path } = await upstreamWithBlob();
  const stall = upstream.script({ stallAt: 1_000, times: 1 });
  let seen = 0;
  const answer = request(upstream.url, path, { onChunk: (length) => (seen = length) });
  await stall.reached();
  await upstream.journal.reaches((entry) => entry.bytes === 1_000);
  expect(seen).toBeLessThanOrEqual(1_000);
  stall.release();
  expect((await answer).digest).toBe(blob.digest);
});

test('offsets may be given as parts of the whole', async () => {
  const { upstream, path } = await upstreamWithBlob();
  upstream.script({ match: { kind: 'blob' }, cutAt: '30%' });
  expect(await request(upstream.url, path)).toMatchObject({ length: 180_000, complete: false });
  const resumed = await request(upstream.url, path, { headers: { range: 'bytes=60000-' } });
  expect(resumed).toMatchObject({ status: 206, length: 120_000, complete: false });
});

test('a server that dies in the middle of an answer takes all connections with it, and may come back', async () => {
  const { upstream, path } = await upstreamWithBlob();
  const held = upstream.script({ match: { method: 'GET' }, stallAt: '10%', times: 1 });
  const other = request(upstream.url, path).then(
    ({ complete }) => complete,
    () => false,
  );
  await held.reached();
  upstream.script({ match: { kind: 'blob' }, dieAt: '50%' });
  expect(await request(upstream.url, path)).toMatchObject({ length: 300_000, complete: false });
  expect(await other).toBe(false);
  await expect(request(upstream.url, path)).rejects.toThrow('ECONNREFUSED');
  upstream.heal();
  await upstream.accept();
  expect(await request(upstream.url, path)).toMatchObject({ length: 600_000, complete: true });
});

test('a pace holds for each answer, or for all of them together', async () => {
  const { upstream, path } = await upstreamWithBlob();
  const twoAtOnce = async () => {
    const began = performance.now();
    const answers = await Promise.all([1, 2].map(() => request(upstream.url, path)));
    for (const { complete } of answers) expect(complete).toBe(true);
    return performance.now() - began;
  };
  upstream.script({ match: { kind: 'blob' }, totalBytesPerSecond: 3_000_000 });
  // Lower bounds only: a busy machine makes it longer. 1.2 MB at 3 MB/s, less the last pause of each.
  expect(await twoAtOnce()).toBeGreaterThan(330);
  expect(upstream.journal.mostAtOnce({ kind: 'blob' })).toBe(2);
  upstream.script({ match: { kind: 'blob' }, bytesPerSecond: 3_000_000 });
  expect(await twoAtOnce()).toBeGreaterThan(150);
});

test('the journal tells requests one after the other from those at once', async () => {
  const { upstream, path } = await upstreamWithBlob();
  for (const _ of [1, 2, 3]) await request(upstream.url, path);
  expect(upstream.journal.mostAtOnce({ kind: 'blob' })).toBe(1);
  const stall = upstream.script({ stallAt: '50%' });
  const answers = [1, 2, 3].map(() => request(upstream.url, path));
  await upstream.journal.wait(({ bytes, state }) => state === 'open' && bytes === 300_000, 3);
  stall.release();
  await Promise.all(answers);
  expect(upstream.journal.mostAtOnce({ kind: 'blob' })).toBe(3);
  expect(upstream.journal.mostAtOnce({ kind: 'manifest' })).toBe(0);
});

test('corrupt, truncated and unframed bodies are what they say', async () => {
  const { upstream, blob, path } = await upstreamWithBlob();
  upstream.script({ corruptAt: 500_000, times: 1 });
  const corrupt = await request(upstream.url, path);
  expect(corrupt).toMatchObject({ length: 600_000, complete: true });
  expect(corrupt.digest).not.toBe(blob.digest);
  upstream.script({ truncateTo: 10, chunked: true, times: 1 });
  const short = await request(upstream.url, path);
  expect(short).toMatchObject({ length: 10, complete: true });
  expect(short.headers['content-length']).toBeUndefined();
  expect(digestOf((await request(upstream.url, path)).body)).toBe(blob.digest);
});

test('a fault applies to the nth matching request only, and answers an OCI error by default', async () => {
  const { upstream, path } = await upstreamWithBlob(10);
  upstream.script({
    match: { kind: 'blob' },
    after: 1,
    times: 1,
    status: 429,
    headers: { 'retry-after': '7' },
  });
  const statuses = [];
  for (const _ of [1, 2, 3]) statuses.push((await request(upstream.url, path)).status);
  expect(statuses).toEqual([200, 429, 200]);
});

test('it can refuse connections and come back on the same port', async () => {
  const { upstream, path } = await upstreamWithBlob(10);
  await upstream.refuse();
  await expect(request(upstream.url, path)).rejects.toThrow('ECONNREFUSED');
  await upstream.accept();
  expect((await request(upstream.url, path)).status).toBe(200);
  upstream.script({ reset: true });
  await expect(request(upstream.url, path)).rejects.toThrow('ECONNRESET');
});

test('with bearer authentication it wants a token of the right scope that has not expired', async () => {
  const upstream = await startFakeUpstream({ auth: { kind: 'bearer', username: 'ann', password: 'secret' } });
  upstream.add(repository, makeImage(), 'v1');
  const path = `/v2/${repository}/manifests/v1`;
  const refused = await request(upstream.url, path);
  expect(outcome(refused)).toBe('401 UNAUTHORIZED');
  expect(refused.headers['www-authenticate']).toContain(`scope="repository:${repository}:pull"`);
  const token = async (scope: string, pair: string) => {
    const authorization = `Basic ${Buffer.from(pair).toString('base64')}`;
    const answer = await request(upstream.url, `/token?scope=${scope}`, { headers: { authorization } });
    return answer.status === 200 ? (JSON.parse(answer.text) as { token: string }).token : answer.status;
  };
  expect(await token('repository:org/app:pull', 'ann:wrong')).toBe(401);
  const ask = async (bearer: unknown) =>
    (await request(upstream.url, path, { headers: { authorization: `Bearer ${bearer}` } })).status;
  const good = await token('repository:org/app:pull', 'ann:secret');
  expect(await ask(good)).toBe(200);
  expect(await ask(await token('repository:org/other:pull', 'ann:secret'))).toBe(401);
  upstream.expireTokens();
  expect(await ask(good)).toBe(401);
});

test('redirected blobs come from another origin, which refuses Authorization', async () => {
  const upstream = await startFakeUpstream({ redirectBlobs: 307 });
  const blob = makeBlob('cdn', 100);
  upstream.content.addBlob(repository, blob);
  const redirect = await request(upstream.url, `/v2/${repository}/blobs/${blob.digest}`);
  expect(redirect.status).toBe(307);
  const location = new URL(redirect.headers.location ?? '');
  const path = location.pathname + location.search;
  expect((await request(location.origin, path)).digest).toBe(blob.digest);
  expect((await request(location.origin, path, { headers: { authorization: 'Basic x' } })).status).toBe(400);
  expect(upstream.cdn.journal.count()).toBe(2);
});

test('it lists tags in pages and the referrers of a subject', async () => {
  const upstream = await startFakeUpstream();
  const image = makeImage();
  upstream.add(repository, image, 'a', 'b', 'c');
  upstream.add(repository, makeArtifact(image.manifest));
  const page = await request(upstream.url, `/v2/${repository}/tags/list?n=2`);
  expect(JSON.parse(page.text)).toEqual({ name: repository, tags: ['a', 'b'] });
  expect(page.headers['link']).toBe(`</v2/${repository}/tags/list?n=2&last=b>; rel="next"`);
  const referrers = await request(upstream.url, `/v2/${repository}/referrers/${image.manifest.digest}`);
  expect((JSON.parse(referrers.text) as { manifests: unknown[] }).manifests).toHaveLength(1);
});

test('an answer that is not an OCI error body is not taken for one', async () => {
  const { upstream } = await upstreamWithBlob(10);
  const missing = await request(upstream.url, '/v2/nobody/manifests/1');
  expect(ociError(missing).code).toBe('NAME_UNKNOWN');
  upstream.script({ status: 500, body: '<html>', headers: { 'content-type': 'text/html' } });
  const page = await request(upstream.url, '/v2/nobody/manifests/1');
  expect(() => ociError(page)).toThrow('content type');
});
