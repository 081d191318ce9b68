import { describe, expect, it } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { ociError, outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { httpServer } from '../upstream/loopback.ts';
import { namesOf } from '../upstream/names.ts';
import { digest, never, openClient, openTransfer, tag } from '../upstream/open-client.ts';

const advisories =
  'CVE-2026-111590 (Harbor), GitLab #455273, CVE-2022-0249: a URL that somebody else names leads to internal hosts';

/** Addresses that only a host inside could mean, in the forms that filters forget. */
const inside = [
  'http://169.254.169.254/latest/meta-data/',
  'http://[fe80::1]/',
  'http://[::ffff:169.254.169.254]/latest',
  'http://[::ffff:a9fe:a9fe]/latest',
  'http://0xa9fea9fe/latest',
  'http://2852039166/latest',
  'http://169.254.43518/latest',
  'http://[fd00:ec2::254]/latest',
  'http://100.100.100.200/latest',
];

const secretBody = 'the-body-of-an-internal-page';

describe(advisories, () => {
  it.each(inside)('a redirect to %s is not followed, for a manifest or a blob', async (location) => {
    const upstream = await startFakeUpstream();
    const image = makeImage();
    upstream.add(repository, image, 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream }, allowFills: true });
    await mustGet(proxy.url, manifestPath('v1'));
    upstream.script({ redirectTo: location });
    for (const path of [manifestPath('v2'), blobPath(image.layers[0]?.digest ?? '')]) {
      const answer = await request(proxy.url, path);
      expect(outcome(answer), path).toBe('503 UNAVAILABLE');
      expect(ociError(answer).message, path).toMatch(/link-local|refused/);
    }
  });

  it.each(['file:///etc/passwd', 'ftp://127.0.0.1/x', 'gopher://127.0.0.1:6379/_FLUSHALL', 'data:,x'])(
    'a redirect to %s is not followed',
    async (location) => {
      const upstream = await startFakeUpstream();
      upstream.script({ match: { kind: 'manifest' }, redirectTo: location });
      const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
      const answer = await request(proxy.url, manifestPath('v1'));
      expect(outcome(answer)).toBe('503 UNAVAILABLE');
      expect(ociError(answer).message).toContain('redirects to something that is not http');
    },
  );

  it('a token realm at a metadata address is not asked', async () => {
    for (const realm of inside) {
      const upstream = await startFakeUpstream({ auth: { kind: 'bearer', realm } });
      const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
      const answer = await request(proxy.url, manifestPath('v1'));
      expect(outcome(answer), realm).toBe('503 UNAVAILABLE');
      expect(ociError(answer).message).toContain('realm');
    }
  });

  /** A page inside, and a registry outside that sends its clients there by the name `files.test`. */
  async function rebinding(answers: readonly (readonly string[])[]) {
    const page = await httpServer((_request, response) => response.writeHead(200).end(secretBody));
    const registry = await httpServer((_request, response) => {
      response.writeHead(307, { location: `http://files.test:${page.port}/x` }).end();
    });
    // The first answer for the registry is where its client finds it, the next what the guard is told.
    const names = () => namesOf({ 'registry.test': [['127.0.0.1'], ['203.0.114.7']], 'files.test': answers });
    return { page, url: `http://registry.test:${registry.port}`, names };
  }

  it.each([
    ['leads inside', [['127.0.0.1']]],
    ['leads outside when it is asked for a second time', [['127.0.0.1'], ['203.0.114.9']]],
    ['leads inside by one of its addresses', [['::ffff:127.0.0.1', '127.0.0.1']]],
  ])('a name that %s is judged by the address that is connected to', async (_, answers) => {
    const { page, url, names } = await rebinding(answers);
    const { client, logged } = openClient(url, {}, names().lookup);
    const { get, bytes } = openTransfer(names().lookup);
    for (const result of [
      await client.headManifest('a', tag, never),
      await get(client, 'a', digest, { start: 0 }, never),
    ]) {
      expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'egress' } });
    }
    expect(page.journal).toHaveLength(0);
    expect(bytes() + logged.join()).not.toContain(secretBody);
  });

  it('the name that was judged is not resolved again for the connection', async () => {
    const { page, url, names } = await rebinding([['127.0.0.1'], ['10.0.0.5']]);
    // Here the guard is told that the registry is inside too, so the page may be asked.
    const table = namesOf({ 'registry.test': [['127.0.0.1']], 'files.test': [['127.0.0.1'], ['10.0.0.5']] });
    expect(names().asked).toEqual([]);
    const { client } = openClient(url, {}, table.lookup);
    await client.headManifest('a', tag, never);
    expect(page.journal).toHaveLength(1);
    expect(table.asked.filter((name) => name === 'files.test')).toHaveLength(1);
  });

  it('what an upstream answers in place of content is neither logged nor passed on', async () => {
    const upstream = await startFakeUpstream();
    upstream.add(repository, makeImage(), 'v1');
    const proxy = await startProxy({ registries: { 'ghcr.io': upstream } });
    const faults = [
      { status: 200, body: secretBody, headers: { 'content-type': 'text/plain' } },
      { status: 200, body: `<html>${secretBody}`, headers: { 'content-type': 'text/html' } },
      { status: 200, body: `{"${secretBody}":1}` },
      { status: 302, body: secretBody },
      { status: 418, headers: { 'x-secret': secretBody } },
    ];
    for (const [index, fault] of faults.entries()) {
      upstream.heal();
      upstream.script({ match: { kind: 'manifest' }, ...fault });
      const answer = await request(proxy.url, manifestPath(`v${index + 10}`));
      expect(answer.status).toBeGreaterThanOrEqual(400);
      expect(answer.text + JSON.stringify(answer.headers)).not.toContain(secretBody);
    }
    expect(proxy.logs.text()).not.toContain(secretBody);
  });
});
