import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeArtifact, makeImage } from '../helpers/image.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { type ProxyOptions, startProxy } from '../helpers/start-proxy.ts';

const image = makeImage();
const reason = 'Floating tags are not served: pin a version';

async function scene(rules: NonNullable<ProxyOptions['policy']>) {
  const upstream = await startFakeUpstream();
  for (const repository of ['org/app', 'secret/app'])
    upstream.add(repository, image, 'v1', 'latest', 'x-nightly');
  const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, policy: rules });
  return { upstream, proxy };
}

const floating = {
  rules: [
    { images: ['**'], tags: ['latest', '*-nightly'], action: 'deny', reason },
    { images: ['ghcr.io/secret/**'], action: 'deny', reason: 'Not for this site' },
  ],
} as const;

test('a denied tag is 403 DENIED with the rule and its reason, latest is no exception, and upstream is not asked', async () => {
  const { upstream, proxy } = await scene(floating);
  for (const tag of ['latest', 'x-nightly']) {
    const answer = await request(proxy.url, manifestPath(tag));
    expect(outcome(answer)).toBe('403 DENIED');
    const { message } = ociError(answer);
    expect(message).toContain(reason);
    expect(message).toContain('rule 1');
    expect(message).toContain(`ghcr.io/org/app:${tag}`);
    const head = await request(proxy.url, manifestPath(tag), { method: 'HEAD' });
    expect(head.status).toBe(403);
    expect(head.headers['www-authenticate']).toBeUndefined();
  }
  expect(upstream.journal.count()).toBe(0);
  await mustGet(proxy.url, manifestPath('v1'));
});

test('a denied repository is denied by digest, blobs, tags and referrers too', async () => {
  const { upstream, proxy } = await scene(floating);
  const layer = image.layers[0]?.digest ?? '';
  for (const path of [
    manifestPath('v1', 'secret/app'),
    manifestPath(image.manifest.digest, 'secret/app'),
    blobPath(layer, 'secret/app'),
    '/v2/secret/app/tags/list',
    `/v2/secret/app/referrers/${image.manifest.digest}`,
  ]) {
    expect(outcome(await request(proxy.url, path)), path).toBe('403 DENIED');
  }
  expect(upstream.journal.count()).toBe(0);
});

test('with default deny only what a rule allows is served, and the first rule that matches decides', async () => {
  const { upstream, proxy } = await scene({
    default: 'deny',
    rules: [
      { images: ['ghcr.io/org/app'], tags: ['v1'], action: 'allow' },
      { images: ['**'], tags: ['v*'], action: 'deny', reason },
    ],
  });
  await mustGet(proxy.url, manifestPath('v1'));
  upstream.journal.clear();
  expect(outcome(await request(proxy.url, manifestPath('latest')))).toBe('403 DENIED');
  expect(outcome(await request(proxy.url, manifestPath('v1', 'secret/app')))).toBe('403 DENIED');
  expect(upstream.journal.count()).toBe(0);
  // A digest that an allowed tag leads to has to be served: clients pull by digest after the tag.
  await mustGet(proxy.url, manifestPath(image.manifest.digest));
});

test('the name in another form is denied the same', async () => {
  const { upstream, proxy } = await scene(floating);
  for (const path of [
    '/v2/ghcr.io/org/app/manifests/latest',
    '/v2/org/app/manifests/latest?ns=ghcr.io',
    '/ghcr.io/v2/org/app/manifests/latest',
  ]) {
    expect(outcome(await request(proxy.url, path)), path).toBe('403 DENIED');
  }
  expect(upstream.journal.count()).toBe(0);
});

test('denied tags are not listed', async () => {
  const { proxy } = await scene(floating);
  const { tags } = JSON.parse((await mustGet(proxy.url, '/v2/org/app/tags/list')).text) as { tags: string[] };
  expect(tags).toEqual(['v1']);
});

test('signature tags of an allowed digest are served although no rule names them', async () => {
  const { upstream, proxy } = await scene({
    default: 'deny',
    rules: [{ images: ['ghcr.io/org/app'], tags: ['v1'], action: 'allow' }],
  });
  const signature = `${image.manifest.digest.replace(':', '-')}.sig`;
  upstream.add('org/app', makeArtifact(image.manifest), signature);
  // A signature is judged by the digest that it is about, of which nothing is known yet.
  expect(outcome(await request(proxy.url, manifestPath(signature)))).toBe('403 DENIED');
  await mustGet(proxy.url, manifestPath('v1'));
  await mustGet(proxy.url, manifestPath(signature));
});

test('a tag that only begins like one of a signature is judged like any other', async () => {
  const { upstream, proxy } = await scene({
    default: 'deny',
    rules: [{ images: ['ghcr.io/org/app'], tags: ['v1'], action: 'allow' }],
  });
  await mustGet(proxy.url, manifestPath('v1'));
  const tag = `${image.manifest.digest.replace(':', '-')}-backdoor`;
  upstream.add('org/app', makeImage({ seed: 'backdoor' }), tag);
  expect(outcome(await request(proxy.url, manifestPath(tag)))).toBe('403 DENIED');
});
