import { expect, test } from 'vitest';
import { blobPath, manifestPath, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const username = 'dev';
const password = 'correct horse';
const header = (secret: string) => `Basic ${Buffer.from(`${username}:${secret}`).toString('base64')}`;

/** A private registry, reached under its own name, whose users' logins open what is cached of it. */
async function scene(kind: 'basic' | 'bearer', passthrough = true) {
  const upstream = await startFakeUpstream({ auth: { kind, username, password } });
  const image = makeImage();
  upstream.add(repository, image, 'v1');
  const { host } = new URL(upstream.url);
  const proxy = await startProxy({
    registries: { [host]: { url: upstream.url, username, password } },
    access: { anonymous: [], passthrough, users: {}, loginHosts: ['registry.test'] },
  });
  const name = `${host}/${repository}`;
  const ask = (path: string, secret?: string) => {
    return request(proxy.url, path, {
      headers: secret === undefined ? {} : { authorization: header(secret) },
    });
  };
  return {
    upstream,
    proxy,
    image,
    ask,
    manifest: manifestPath('v1', name),
    blob: blobPath(image.config.digest, name),
  };
}

test.each(['basic', 'bearer'] as const)(
  'a login that the registry takes opens its image, another does not, and none is asked for one (%s)',
  async (kind) => {
    const { ask, manifest, blob, image, upstream } = await scene(kind);
    expect((await ask(manifest)).status).toBe(401);
    expect((await ask(manifest, 'wrong')).status).toBe(401);
    expect((await ask(manifest, password)).digest).toBe(image.manifest.digest);
    expect((await ask(blob, password)).digest).toBe(image.config.digest);
    expect((await ask(blob, 'wrong')).status).toBe(401);
    expect((await ask(blob)).status).toBe(401);
    upstream.journal.clear();
    expect((await ask(manifest, password)).status).toBe(200);
    expect(upstream.journal.count()).toBe(0);
  },
);

test('where it is not wanted, a login of the registry opens nothing and goes nowhere', async () => {
  const { ask, manifest, upstream } = await scene('basic', false);
  expect(outcome(await ask(manifest, password))).toBe('403 DENIED');
  expect(upstream.journal.count()).toBe(0);
});
