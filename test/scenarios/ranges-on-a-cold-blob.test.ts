import { expect, test } from 'vitest';
import { blobPath, coldLayer, mustGet, repository, settled, warm } from '../helpers/cold-layer.ts';
import { makeBlob } from '../helpers/image.ts';
import { multipartRanges } from '../helpers/multipart.ts';
import { ociError, request } from '../helpers/request.ts';

const size = 12_000_000;

function slice(bytes: Buffer, start: number, end: number): string {
  return bytes.subarray(start, end).toString('latin1');
}

test('a range of a cold blob is answered before the download is done, with only those bytes', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  const stall = upstream.script({ match: downloads, stallAt: 8_000_000 });
  const answer = await request(proxy.url, path, { headers: { range: 'bytes=1000-1999' } });
  expect(answer).toMatchObject({ status: 206, length: 1000, complete: true });
  expect(answer.headers['content-range']).toBe(`bytes 1000-1999/${size}`);
  expect(answer.headers['content-length']).toBe('1000');
  expect(answer.body.equals(layer.bytes.subarray(1000, 2000))).toBe(true);
  expect(stall.hits).toBeGreaterThan(0);
  stall.release();
  await settled(proxy, path);
  expect(upstream.journal.blobBytes(layer.digest)).toBe(size);
});

test('a range far into a blob that nobody downloads yet is fetched first, and no byte is fetched twice', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  const stall = upstream.script({ match: downloads, stallAt: 5_000_000 });
  const answer = await request(proxy.url, path, { headers: { range: 'bytes=9000000-9000099' } });
  expect(upstream.journal.filter(downloads)[0]?.headers.range).toBe('bytes=9000000-');
  stall.release();
  expect(answer.status).toBe(206);
  expect(answer.headers['content-range']).toBe(`bytes 9000000-9000099/${size}`);
  expect(answer.body.equals(layer.bytes.subarray(9_000_000, 9_000_100))).toBe(true);
  await settled(proxy, path);
  expect(upstream.journal.blobBytes(layer.digest)).toBe(size);
});

test('parallel open-ended ranges that are aborted after their piece cost one download', async () => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  const piece = 1_000_000;
  const pieces = Array.from({ length: size / piece }, async (_, index) => {
    const start = index * piece;
    const chunks: Buffer[] = [];
    const answer = await request(proxy.url, path, {
      headers: { range: `bytes=${start}-` },
      keepBody: false,
      onHeaders: (response) => response.on('data', (chunk: Buffer) => chunks.push(chunk)),
      onChunk: (length, response) => {
        if (length >= piece) response.destroy();
      },
    });
    expect(answer.status).toBe(206);
    expect(answer.headers['content-range']).toBe(`bytes ${start}-${size - 1}/${size}`);
    return Buffer.concat(chunks).subarray(0, piece);
  });
  const whole = Buffer.concat(await Promise.all(pieces));
  expect(whole.equals(layer.bytes)).toBe(true);
  expect(upstream.journal.count(downloads)).toBe(1);
  expect((await mustGet(proxy.url, path)).digest).toBe(layer.digest);
});

test('the last bytes of a cold blob come only once the whole was verified', async () => {
  const { upstream, proxy, path, downloads } = await coldLayer(size);
  upstream.script({ match: downloads, corruptAt: 3 });
  const answer = await request(proxy.url, path, { headers: { range: 'bytes=-100' } });
  expect(answer.status < 300 && answer.complete).toBe(false);
});

test.each(['cold', 'cached'])('the suffix of a %s blob is answered', async (state) => {
  const { proxy, layer, path } = await coldLayer(size);
  if (state === 'cached') await warm(proxy, path);
  const answer = await request(proxy.url, path, { headers: { range: 'bytes=-7' } });
  expect(answer.status).toBe(206);
  expect(answer.headers['content-range']).toBe(`bytes ${size - 7}-${size - 1}/${size}`);
  expect(answer.body.equals(layer.bytes.subarray(-7))).toBe(true);
});

test.each(['cold', 'cached'])('several ranges of a %s blob come as multipart/byteranges', async (state) => {
  const { upstream, proxy, layer, path, downloads } = await coldLayer(size);
  if (state === 'cached') await warm(proxy, path);
  const answer = await request(proxy.url, path, { headers: { range: 'bytes=0-9, 7000000-7000019,-5' } });
  expect(answer).toMatchObject({ status: 206, complete: true });
  expect(Number(answer.headers['content-length'])).toBe(answer.length);
  const parts = multipartRanges(answer).map(({ range, bytes }) => [range, bytes.toString('latin1')]);
  expect(parts).toEqual([
    [`bytes 0-9/${size}`, slice(layer.bytes, 0, 10)],
    [`bytes 7000000-7000019/${size}`, slice(layer.bytes, 7_000_000, 7_000_020)],
    [`bytes ${size - 5}-${size - 1}/${size}`, slice(layer.bytes, size - 5, size)],
  ]);
  expect(upstream.journal.count(downloads)).toBe(1);
});

test.each(['cold', 'cached'])(
  'a range beyond the end of a %s blob is 416 and names the size',
  async (state) => {
    const { upstream, proxy, path, downloads } = await coldLayer(size);
    if (state === 'cached') await warm(proxy, path);
    const answer = await request(proxy.url, path, { headers: { range: `bytes=${size}-` } });
    expect(answer.status).toBe(416);
    expect(answer.headers['content-range']).toBe(`bytes */${size}`);
    expect(ociError(answer).code).toBe('RANGE_INVALID');
    await settled(proxy, path);
    expect(upstream.journal.count(downloads)).toBe(1);
  },
);

test('ranges work on a blob whose size only the upstream knows', async () => {
  const { upstream, proxy } = await coldLayer(100);
  const unlinked = makeBlob('in no manifest', 6_000_000);
  upstream.content.addBlob(repository, unlinked);
  const answer = await request(proxy.url, blobPath(unlinked.digest), { headers: { range: 'bytes=100-199' } });
  expect(answer.status).toBe(206);
  expect(answer.headers['content-range']).toBe('bytes 100-199/6000000');
  expect(answer.body.equals(unlinked.bytes.subarray(100, 200))).toBe(true);
  await settled(proxy, blobPath(unlinked.digest));
});
