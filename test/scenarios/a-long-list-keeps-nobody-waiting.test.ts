import { expect, test } from 'vitest';
import { repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const image = makeImage();
const many = Array.from({ length: 20_000 }, (_, index) => `1.${Math.floor(index / 100)}.${index % 100}`);
const shown = '9.0.0';
/** Pages of a thousand in which the upstream lists them. */
const pages = 21;

async function scene() {
  const upstream = await startFakeUpstream();
  upstream.add(repository, image, ...many, shown);
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    policy: { default: 'deny', rules: [{ images: ['**'], semver: '>=9', action: 'allow' }] },
  });
  return { upstream, proxy };
}

test('others are answered while the tags of a long list are judged, and a page that was judged is at hand', async () => {
  const { upstream, proxy } = await scene();
  const path = `/v2/${repository}/tags/list?n=100`;
  let answered = false;
  let others = 0;
  const list = request(proxy.url, path).finally(() => {
    answered = true;
  });
  while (!answered) {
    const judging = upstream.journal.count({ kind: 'tags' }) === pages;
    expect((await request(proxy.url, '/v2/')).status).toBe(200);
    if (judging && !answered) others += 1;
  }
  expect(JSON.parse((await list).text)).toEqual({ name: repository, tags: [shown] });
  // The upstream had been asked for its last page by then: what remained was to judge 20,000 tags.
  expect(others).toBeGreaterThan(3);
  const again = await request(proxy.url, path);
  expect(again.headers['x-cache']).toBe('hit');
  expect(again.text).toBe((await list).text);
});
