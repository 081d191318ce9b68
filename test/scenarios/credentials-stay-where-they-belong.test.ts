import { expect, test } from 'vitest';
import { blobPath, coldLayer, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { filesContaining } from '../helpers/leaks.ts';
import { pull } from '../helpers/pull.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const username = 'robot-account';
const password = 'p4ssw0rd-of-upstream';
const clientSecret = 'secret-of-the-client';
const basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
const clientBasic = `Basic ${Buffer.from(`client:${clientSecret}`).toString('base64')}`;

const kinds = [
  ['bearer', { kind: 'bearer', username, password }],
  ['basic', { kind: 'basic', username, password }],
] as const;

test.each(kinds)(
  'an upstream with %s authentication is pulled from, blobs from its CDN without credentials',
  async (_, auth) => {
    const upstream = await startFakeUpstream({ auth, redirectBlobs: 307 });
    const image = makeImage();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': { url: upstream.url, username, password } } });
    const headers = { authorization: clientBasic };
    await pull(proxy.url, { repository, reference: 'v1', headers });

    const authorizations = upstream.journal.entries.map((entry) => entry.headers.authorization ?? '');
    expect(authorizations).toContain(basic);
    expect(authorizations.join()).not.toContain(clientBasic);
    expect(upstream.cdn.journal.count({ kind: 'blob' })).toBe(3);
    for (const entry of upstream.cdn.journal.entries) {
      expect(entry.headers.authorization).toBeUndefined();
      expect(entry.headers.cookie).toBeUndefined();
    }

    const metrics = await mustGet(proxy.url, '/metrics');
    const missing = await request(proxy.url, manifestPath('v9'), { headers });
    const tokens = authorizations
      .filter((value) => value.startsWith('Bearer '))
      .map((value) => value.slice(7));
    const secrets = [
      password,
      basic.slice(6),
      clientSecret,
      clientBasic.slice(6),
      'signed-secret',
      ...tokens,
    ];
    for (const secret of secrets) {
      expect(proxy.logs.text()).not.toContain(secret);
      expect(metrics.text).not.toContain(secret);
      expect(missing.text).not.toContain(secret);
    }
    expect(proxy.logs.lines.length).toBeGreaterThan(0);
    await proxy.close();
    for (const secret of secrets) expect(filesContaining(proxy.storagePath, secret)).toEqual([]);
  },
);

test('a failing CDN does not put its signed URL into the log or the answer', async () => {
  const { upstream, proxy, path } = await coldLayer(1_000, { upstream: { redirectBlobs: 307 } });
  upstream.cdn.script({ status: 403 });
  const answer = await request(proxy.url, path);
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.text).not.toContain('signed-secret');
  expect(proxy.logs.text()).not.toContain('signed-secret');
});

test('one token serves many requests and is renewed when it expired', async () => {
  const upstream = await startFakeUpstream({ auth: { kind: 'bearer', username, password } });
  const image = makeImage();
  upstream.add(repository, image, 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': { url: upstream.url, username, password } } });
  await pull(proxy.url, { repository, reference: 'v1' });
  expect(upstream.journal.count({ kind: 'token' })).toBe(1);
  upstream.expireTokens();
  const other = makeImage({ seed: 'other' });
  upstream.add(repository, other, 'v2');
  await pull(proxy.url, { repository, reference: 'v2' });
  expect(upstream.journal.count({ kind: 'token' })).toBe(2);
});

test('an anonymous token is fetched when no credentials are configured', async () => {
  const upstream = await startFakeUpstream({ auth: { kind: 'bearer' } });
  upstream.add(repository, makeImage(), 'v1');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
  await pull(proxy.url, { repository, reference: 'v1', headers: { authorization: clientBasic } });
  const token = upstream.journal.filter({ kind: 'token' })[0];
  expect(token?.headers.authorization).toBeUndefined();
  expect(token?.query['scope']).toBe(`repository:${repository}:pull`);
});

test('wrong credentials are told as 403 DENIED and not tried over and over', async () => {
  const upstream = await startFakeUpstream({ auth: { kind: 'bearer', username, password } });
  upstream.add(repository, makeImage(), 'v1');
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url: upstream.url, username, password: 'wrong-password' } },
  });
  for (const _ of [1, 2, 3]) {
    const answer = await request(proxy.url, manifestPath('v1'));
    expect(outcome(answer)).toBe('403 DENIED');
    expect(answer.text).not.toContain('wrong-password');
  }
  expect(upstream.journal.count({ kind: 'token' })).toBe(1);
  expect(proxy.logs.text()).not.toContain('wrong-password');
});

test('a redirect of a manifest to another origin does not carry the credentials along', async () => {
  const elsewhere = await startFakeUpstream();
  const image = makeImage();
  elsewhere.add(repository, image, 'v1');
  const upstream = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
  upstream.add(repository, image, 'v1');
  upstream.script({ match: { kind: 'manifest' }, redirectTo: `${elsewhere.url}${manifestPath('v1')}` });
  const proxy = await startProxy({ registries: { 'ghcr.io': { url: upstream.url, username, password } } });
  await request(proxy.url, manifestPath('v1'));
  for (const entry of elsewhere.journal.entries) expect(entry.headers.authorization).toBeUndefined();
});

test('the credentials of one registry are not sent to another', async () => {
  const other = await startFakeUpstream({ auth: { kind: 'basic', username, password } });
  other.add(repository, makeImage(), 'v1');
  const own = await startFakeUpstream();
  const proxy = await startProxy({
    registries: { 'ghcr.io': { url: own.url, username, password }, 'quay.io': other },
  });
  expect(outcome(await request(proxy.url, `${manifestPath('v1')}?ns=quay.io`))).toBe('403 DENIED');
  await request(proxy.url, blobPath(makeImage().config.digest, `quay.io/${repository}`));
  for (const entry of other.journal.entries) expect(entry.headers.authorization).toBeUndefined();
});
