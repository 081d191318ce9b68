import { afterEach, expect, onTestFinished, test, vi } from 'vitest';
import { Fills } from '../../src/pull/blobs/fills.ts';
import { FillFiles } from '../../src/store/disk/fill-files.ts';
import { blobPath, coldLayer, repository } from '../helpers/cold-layer.ts';
import { download } from '../helpers/download.ts';
import { makeGate, within } from '../helpers/gate.ts';
import { makeBlob } from '../helpers/image.ts';
import { filesContaining } from '../helpers/leaks.ts';
import { patience } from '../helpers/patience.ts';
import { ociError, request } from '../helpers/request.ts';

const large = 6_000_000;
const small = 100_000;

afterEach(() => {
  vi.restoreAllMocks();
});

test.each([
  ['a small blob, in its middle', small, small / 2],
  ['a large blob, at its first byte', large, 0],
  ['a large blob, at its last byte', large, large - 1],
])(
  'no client gets the whole of %s, when it is corrupt for ever, and nothing of it is kept',
  async (_, size, at) => {
    const { upstream, proxy, image, layer, path, downloads } = await coldLayer(size);
    const fault = upstream.script({ match: downloads, corruptAt: at });
    const answers = await Promise.all([1, 2, 3, 4].map(() => request(proxy.url, path)));
    for (const answer of answers) {
      expect(answer.status === 200 && answer.complete).toBe(false);
      if (answer.status === 200) expect(answer.length).toBeLessThan(size);
      else expect(ociError(answer).code).toBe('UNAVAILABLE');
    }
    expect(fault.hits).toBeGreaterThan(0);
    expect(fault.hits).toBeLessThan(10);
    // Clients are told at once; what is wrong is removed a moment later.
    await expect.poll(() => proxy.files(), { timeout: patience }).toEqual({ blobs: [], fills: [] });

    upstream.heal();
    const healed = await request(proxy.url, path);
    expect(healed).toMatchObject({ status: 200, digest: layer.digest, complete: true });
    expect(image.layers).toContain(layer);
  },
);

test('a small blob that is corrupt once is fetched again before the client notices', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(small);
  upstream.script({ match: downloads, corruptAt: 5, times: 1 });
  expect(await request(proxy.url, path)).toMatchObject({ status: 200, digest: layer.digest });
  expect(upstream.journal.count(downloads)).toBe(2);
});

test('a client that resumes a corrupt copy does not get its tail', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(large);
  const stall = upstream.script({ match: downloads, corruptAt: 10, stallAt: 5_000_000 });
  const shown = makeGate();
  const pulling = request(proxy.url, path, { onChunk: () => shown.open() });
  await within(shown.opened, 'the first bytes');
  stall.release();
  const first = await pulling;
  expect(first).toMatchObject({ status: 200, complete: false });
  const resumed = await request(proxy.url, path, { headers: { range: `bytes=${first.length}-` } });
  expect(resumed.status < 300 && resumed.complete).toBe(false);
  upstream.heal();
  const tail = await request(proxy.url, path, { headers: { range: `bytes=${first.length}-` } });
  expect(tail.status).toBe(206);
  expect(tail.body.equals(layer.bytes.subarray(first.length))).toBe(true);
});

test.each([
  ['shorter than its manifest says', { truncateTo: small - 1 }],
  ['shorter, without a declared length', { truncateTo: small - 1, chunked: true }],
  ['longer, without a declared length', { body: Buffer.alloc(small + 1), chunked: true }],
  ['longer, with a declared length', { body: Buffer.alloc(small + 1) }],
])('a blob that comes %s is refused and not kept', async (_, fault) => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(small);
  upstream.script({ match: downloads, ...fault });
  const answer = await request(proxy.url, path);
  expect(ociError(answer).code).toBe('UNAVAILABLE');
  expect(answer.headers['retry-after']).toMatch(/^\d+$/);
  await expect.poll(() => proxy.files(), { timeout: patience }).toEqual({ blobs: [], fills: [] });
  upstream.heal();
  expect((await request(proxy.url, path)).digest).toBe(layer.digest);
});

test.each([
  ['a large blob is thrown away, before its file is gone', large, 'before'],
  ['a large blob is thrown away, after its file is gone', large, 'after'],
  ['a small blob is thrown away, before its file is gone', small, 'before'],
  ['a small blob is thrown away, after its file is gone', small, 'after'],
] as const)('a client that comes while a wrong copy of %s gets the right one', async (_, size, when) => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  const [cleaning, come] = [makeGate(), makeGate()];
  onTestFinished(() => come.open());
  const { remove } = FillFiles.prototype;
  vi.spyOn(FillFiles.prototype, 'remove').mockImplementation(async function (this: FillFiles, digest) {
    if (when === 'after') await remove.call(this, digest);
    cleaning.open();
    await come.opened;
    if (when === 'before') await remove.call(this, digest);
  });
  const { join } = Fills.prototype;
  vi.spyOn(Fills.prototype, 'join').mockImplementation(function (this: Fills, ...args) {
    const joined = join.apply(this, args);
    if (cleaning.isOpen) come.open();
    return joined;
  });
  upstream.script({ match: downloads, corruptAt: 10 });
  const first = request(proxy.url, path);
  await within(cleaning.opened, 'the cleaning up');
  upstream.heal();
  // Told before anything is cleaned up, and so before another client comes.
  const told = await within(first, 'the first client');
  expect(told.status === 200 && told.complete).toBe(false);
  expect(come.isOpen).toBe(false);
  expect(await within(request(proxy.url, path), 'the second client')).toMatchObject({
    status: 200,
    digest: layer.digest,
    complete: true,
  });
});

test('bytes of which nobody ever declared the size are verified all the same', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(large);
  const wrong = { match: downloads, chunked: true, corruptAt: large - 1, stallAt: 5_000_000, times: 1 };
  const stall = upstream.script(wrong);
  const first = download(proxy.url, path, layer.bytes);
  // Nobody who was shown nothing yet would notice: the bytes are fetched again.
  await first.received(1);
  stall.release();
  expect(await first.ended).toBe('cut');
  upstream.heal();
  upstream.script({ match: downloads, chunked: true });
  expect(await download(proxy.url, path, layer.bytes).ended).toBe('complete');
});

test('a page of a captive portal is not taken for a blob', async () => {
  const { upstream, proxy, path, downloads } = await coldLayer(small);
  const page = '<html>please log in to the airport</html>';
  upstream.script({ match: downloads, body: page, headers: { 'content-type': 'text/html' } });
  const answer = await request(proxy.url, path);
  expect(ociError(answer).code).toBe('UNAVAILABLE');
  expect(answer.text).not.toContain('<html>');
  await proxy.close();
  expect(filesContaining(proxy.storagePath, 'airport')).toEqual([]);
});

test('a wrong size in the answer to a HEAD does not lock a blob out for ever', async () => {
  const { upstream, proxy } = await coldLayer(10);
  const blob = makeBlob('in no manifest', small);
  upstream.content.addBlob(repository, blob);
  const lie = upstream.script({
    match: { kind: 'blob', method: 'HEAD' },
    headers: { 'content-length': '7' },
  });
  await request(proxy.url, blobPath(blob.digest));
  expect(lie.hits).toBeGreaterThan(0);
  upstream.heal();
  expect(await request(proxy.url, blobPath(blob.digest))).toMatchObject({ status: 200, digest: blob.digest });
});

test('an empty body in place of a blob of unknown size is not served as that blob', async () => {
  const { upstream, proxy } = await coldLayer(10);
  const blob = makeBlob('in no manifest', small);
  upstream.content.addBlob(repository, blob);
  upstream.script({ match: { kind: 'blob' }, truncateTo: 0 });
  const answer = await request(proxy.url, blobPath(blob.digest));
  expect(answer.status === 200 && answer.complete).toBe(false);
  upstream.heal();
  expect(await request(proxy.url, blobPath(blob.digest))).toMatchObject({ status: 200, digest: blob.digest });
});
