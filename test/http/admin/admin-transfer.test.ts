import { expect, test } from 'vitest';
import type { AdminOptions } from '../../../src/http/admin/router.ts';
import { transferRoutes } from '../../../src/http/admin/transfer-routes.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { makeImage, makeIndex } from '../../helpers/image.ts';
import { warmScene } from '../../transfer/warm/warm-scene.ts';

const image = makeImage();
const index = makeIndex();

async function scene(options: Partial<AdminOptions> = {}) {
  const made = await warmScene({
    rules: [{ images: ['**'], tags: ['denied'], action: 'deny', reason: 'Pin.' }],
  });
  made.upstream.add('org/app', image, 'v1', 'denied');
  made.upstream.add('org/multi', index, 'v1');
  const names = { defaultRegistry: 'ghcr.io', registries: ['ghcr.io'] };
  const routes = transferRoutes({ ...made, log: made.log.log }, { ...names, ...options });
  const ask = async (method: string, path: string, body?: unknown) => {
    const headers = { 'Content-Type': 'application/json' };
    const sent = body === undefined ? {} : { body: JSON.stringify(body), headers };
    const response = await routes.fetch(new Request(`http://control/api/v1${path}`, { method, ...sent }));
    const text = await response.text();
    return {
      status: response.status,
      text,
      lines: () =>
        text
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
    };
  };
  return { ...made, ask };
}

test('images that are warmed are told of line by line, and are whole after the last', async () => {
  const { ask } = await scene();
  const told = await ask('POST', '/warm', {
    images: ['org/app:v1', 'org/multi:v1'],
    platforms: ['linux/amd64'],
  });
  expect(told.status).toBe(200);
  const lines = told.lines();
  expect(lines.at(-1)).toMatchObject({ kind: 'done', warmed: 2, failed: 0 });
  expect(
    lines
      .filter(({ kind }) => kind === 'end')
      .map((end) => end.image)
      .sort(),
  ).toEqual(['ghcr.io/org/app:v1', 'ghcr.io/org/multi:v1']);
  const state = async (query: string) => JSON.parse((await ask('GET', `/images?image=${query}`)).text);
  expect(await state('org/app:v1')).toMatchObject({
    whole: true,
    digest: image.manifest.digest,
    missing: [],
  });
  expect(await state('org/multi:v1&platform=linux/amd64')).toMatchObject({ whole: true });
  const byPath = JSON.parse((await ask('GET', '/images/ghcr.io/org/multi:v1?platform=linux/amd64')).text);
  expect(byPath).toEqual(await state('org/multi:v1&platform=linux/amd64'));
  const all = await state('org/multi:v1');
  expect(all).toMatchObject({ whole: false, parts: 6, platforms: ['linux/amd64', 'linux/arm64'] });
  // Of what is not here only the manifest is known by size.
  expect(all.missing).toMatchObject([{ kind: 'manifest', role: 'image', platform: 'linux/arm64' }]);
  expect(Date.parse(all.storedAt)).toBeGreaterThan(0);
  expect(await state('org/app:denied')).toMatchObject({
    whole: false,
    denied: expect.stringContaining('Pin.'),
  });
});

test('the storage is verified, and the last line says how it went', async () => {
  const { ask } = await scene();
  await ask('POST', '/warm', { images: ['org/app:v1'] });
  const told = await ask('POST', '/verify', { rate: 0 });
  expect(told.lines().at(-1)).toMatchObject({ kind: 'done', checked: 4, wrong: 0 });
});

test.each([
  ['POST', '/warm', {}, 400],
  ['POST', '/warm', { images: [] }, 400],
  ['POST', '/warm', { images: ['Not A Name'] }, 400],
  ['POST', '/warm', { images: [7] }, 400],
  ['POST', '/warm', { images: ['a:1'], platforms: ['linux'] }, 400],
  ['POST', '/warm', { images: ['a:1'], platforms: 'linux/amd64' }, 400],
  ['POST', '/warm', { images: ['a:1'], referrers: 'no' }, 400],
  ['POST', '/warm', { images: ['a:1'], force: true }, 400],
  ['POST', '/verify', { rate: -1 }, 400],
  ['POST', '/verify', { rate: '1' }, 400],
  ['GET', '/images', undefined, 400],
  ['GET', '/images?image=a:1&platform=x', undefined, 400],
  ['GET', '/images?image=quay.io/a:1', undefined, 404],
] as const)(
  '%s %s with %j is refused with %i, before anything is asked',
  async (method, path, body, expected) => {
    const { ask, upstream } = await scene();
    expect((await ask(method, path, body)).status).toBe(expected);
    expect(upstream.journal.count()).toBe(0);
  },
);

test('leave is asked for each image, or for the server as a whole', async () => {
  const { ask } = await scene({
    authorize: () => {
      throw new OciError('DENIED', 'not you');
    },
  });
  // Without a connection nobody is known, so that nobody is let in either.
  expect((await ask('POST', '/warm', { images: ['org/app:v1'] })).status).toBe(403);
  expect((await ask('GET', '/images?image=org/app:v1')).status).toBe(403);
  expect((await ask('POST', '/verify', {})).status).toBe(403);
});
