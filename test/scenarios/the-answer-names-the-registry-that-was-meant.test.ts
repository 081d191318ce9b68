import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { outcome, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const image = makeImage({ seed: 'ghcr' });
const layer = image.layers[0]?.digest ?? '';
const denied = { images: ['**'], tags: ['latest'], action: 'deny' } as const;

async function scene() {
  const [docker, ghcr] = [await startFakeUpstream(), await startFakeUpstream()];
  docker.add(repository, makeImage({ seed: 'docker' }), 'v1', 'v2');
  ghcr.add(repository, image, 'v1', 'v2');
  const proxy = await startProxy({
    registries: { 'docker.io': docker, 'ghcr.io': ghcr },
    policy: { rules: [denied], failClosed: true },
  });
  return { docker, ghcr, proxy };
}

/** A path of each kind, of an image of ghcr.io. */
function paths(name: string) {
  return [
    manifestPath('v1', name),
    manifestPath(image.manifest.digest, name),
    manifestPath('latest', name),
    blobPath(layer, name),
    `/v2/${name}/tags/list`,
    `/v2/${name}/referrers/${image.manifest.digest}`,
  ];
}

test.each([
  ['another registry', 'ns=docker.io'],
  ['a line break', 'ns=%0d%0aX-Injected:%20yes'],
  ['a character that no header may hold', 'ns=%E2%82%AC'],
  ['upper case', 'ns=GHCR.IO'],
  ['a port', 'ns=ghcr.io:443'],
  ['more than any host name has', `ns=${'a'.repeat(8_000)}`],
  ['two registries', 'ns=docker.io&ns=ghcr.io'],
  ['itself', 'ns=ghcr.io'],
])('the registry in the path is meant, and named, where ns is %s', async (_, query) => {
  const { docker, proxy } = await scene();
  for (const path of paths(`ghcr.io/${repository}`)) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await request(proxy.url, `${path}?${query}`, { method });
      expect(answer.status, path).toBe(200);
      expect(answer.headers['oci-namespace'], path).toBe('ghcr.io');
      expect(answer.headers).not.toHaveProperty('x-injected');
    }
  }
  expect(docker.journal.count()).toBe(0);
  expect(proxy.logs.lines.filter(({ level }) => level === 'error')).toEqual([]);
});

test('a mirror path is meant, and named, where ns is another registry', async () => {
  const { docker, proxy } = await scene();
  for (const path of paths(repository)) {
    for (const ns of ['docker.io', '%0d%0aX', 'ghcr.io']) {
      const answer = await mustGet(proxy.url, `/ghcr.io${path}?ns=${ns}`);
      expect(answer.headers['oci-namespace'], path).toBe('ghcr.io');
    }
  }
  expect(docker.journal.count()).toBe(0);
});

test('an empty ns is none, and a ns alone that names no registry finds nothing', async () => {
  const { proxy } = await scene();
  for (const path of paths(`ghcr.io/${repository}`)) {
    for (const query of ['ns=', 'ns=&ns=docker.io']) {
      const answer = await request(proxy.url, `${path}?${query}`);
      // Without ns the client means this server, and is told of a denial.
      expect(answer.status, path).toBe(path.includes('latest') ? 403 : 200);
      expect(answer.headers, path).not.toHaveProperty('oci-namespace');
    }
  }
  for (const path of paths(repository)) {
    for (const ns of ['%0d%0aX', 'GHCR.IO', 'ghcr.io:443', 'a'.repeat(8_000)]) {
      const answer = await request(proxy.url, `${path}?ns=${ns}`);
      expect(outcome(answer), path).toBe('404 NAME_UNKNOWN');
      expect(answer.headers).not.toHaveProperty('oci-namespace');
    }
  }
});

test('the link to the next page leads to the registry that was meant', async () => {
  const { docker, proxy } = await scene();
  let next: string | undefined = `/v2/ghcr.io/${repository}/tags/list?n=1&ns=docker.io`;
  const found: string[] = [];
  while (next !== undefined) {
    const answer = await mustGet(proxy.url, next);
    found.push(...(JSON.parse(answer.text) as { tags: string[] }).tags);
    next = /^<([^>]+)>; *rel="next"$/.exec(String(answer.headers['link'] ?? ''))?.[1];
    if (next !== undefined) expect(new URL(next, proxy.url).searchParams.get('ns')).toBe('ghcr.io');
  }
  expect(found).toEqual(['v1', 'v2']);
  expect(docker.journal.count()).toBe(0);
});
