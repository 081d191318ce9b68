import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { httpServer } from '../loopback.ts';
import { namesOf } from '../names.ts';
import { digest, never, openClient, openTransfer, tag } from '../open-client.ts';
import { localhostTls, otherTls } from '../tls-fixture.ts';

const manifest = 'application/vnd.oci.image.manifest.v1+json';
const { lookup } = namesOf({ localhost: [['127.0.0.1']], 'other.test': [['127.0.0.1']] });

/** A storage host at `other.test`, and a registry at `localhost` that redirects to it. */
async function hosts() {
  const storage = await httpServer(
    (_request, response) => response.writeHead(200, { 'content-type': manifest }).end('{}'),
    { tls: otherTls },
  );
  const registry = await httpServer(
    (_request, response) =>
      response.writeHead(307, { location: `https://other.test:${storage.port}/` }).end(),
    { tls: localhostTls },
  );
  return { storage, registry, url: `https://localhost:${registry.port}` };
}

async function fetchBoth(url: string, ca: string | undefined) {
  const { client } = openClient(url, ca === undefined ? {} : { ca }, lookup);
  const { get } = openTransfer(lookup);
  const small = await client.headManifest('a', tag, never);
  const blob = await get(client, 'a', digest, { start: 0 }, never);
  return [small, blob].map((result) => (result.kind === 'unavailable' ? result.cause.reason : result.kind));
}

describe('the authorities of an upstream', () => {
  beforeEach(() => {
    const before = getCACertificates('default');
    setDefaultCACertificates([otherTls.cert]);
    onTestFinished(() => setDefaultCACertificates(before));
  });

  it('are trusted besides the default roots, at the upstream and where it redirects to', async () => {
    const { url, storage } = await hosts();
    expect(await fetchBoth(url, localhostTls.cert)).toEqual(['ok', 'ok']);
    expect(storage.journal).toHaveLength(2);
  });

  it('are needed where the default roots do not vouch for it', async () => {
    const { url, registry } = await hosts();
    expect(await fetchBoth(url, undefined)).toEqual(['tls', 'tls']);
    expect(registry.journal).toHaveLength(0);
  });

  it('vouch for no other name', async () => {
    const { registry } = await hosts();
    expect(await fetchBoth(`https://other.test:${registry.port}`, localhostTls.cert)).toEqual(['tls', 'tls']);
    expect(registry.journal).toHaveLength(0);
  });
});
