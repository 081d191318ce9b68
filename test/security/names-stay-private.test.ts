import { describe, expect, it } from 'vitest';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { pull } from '../helpers/pull.ts';
import { type Answer, request } from '../helpers/request.ts';
import { startProxy } from '../helpers/start-proxy.ts';
import { basic, pulling, usersWith } from './users.ts';

const image = makeImage();
const layer = image.layers[0]?.digest ?? '';

describe('GO-2022-0785, CVE-2019-19030 (Harbor): private names can be found out without a login', () => {
  const hidden = 'team-a/app';
  const absent = 'team-a/not';

  async function scene() {
    const upstream = await startFakeUpstream();
    upstream.add(hidden, image, 'v1');
    const proxy = await startProxy({
      registries: { 'ghcr.io': upstream },
      access: usersWith({ ann: pulling('ghcr.io/team-a/**'), bob: [] }),
    });
    const headers = basic('ann');
    await pull(proxy.url, { repository: `ghcr.io/${hidden}`, reference: 'v1', headers });
    upstream.journal.clear();
    return { upstream, proxy };
  }

  const visible = ({ status, headers, text }: Answer, name: string) => {
    const { date: _date, ...rest } = headers;
    return JSON.stringify({ status, headers: rest, text }).replaceAll(name, 'NAME!');
  };

  const forms: [string, (name: string) => string, object, number][] = [
    ['a mirror client', (name) => name, {}, 404],
    ['a mirror client with a wrong login', (name) => name, basic('ann', 'wrong'), 404],
    ['a user without the grant, as a mirror client', (name) => name, basic('bob'), 403],
    ['nobody in particular', (name) => `ghcr.io/${name}`, {}, 401],
    ['a wrong login', (name) => `ghcr.io/${name}`, basic('ann', 'wrong'), 401],
    ['a user without the grant', (name) => `ghcr.io/${name}`, basic('bob'), 403],
  ];

  it.each(forms)(
    '%s cannot tell a private image from one that is not there',
    async (_, form, headers, status) => {
      const { upstream, proxy } = await scene();
      const other = parseDigest(`sha256:${'0'.repeat(64)}`) as Digest;
      const pairs = [
        ['manifests/v1', 'manifests/v1'],
        ['manifests/v9', 'manifests/v9'],
        [`manifests/${image.manifest.digest}`, `manifests/${other}`],
        [`blobs/${layer}`, `blobs/${other}`],
        ['tags/list', 'tags/list'],
        [`referrers/${image.manifest.digest}`, `referrers/${other}`],
      ];
      for (const [there = '', not = ''] of pairs) {
        for (const method of ['GET', 'HEAD']) {
          const options = { method, headers: { ...headers } };
          const real = await request(proxy.url, `/v2/${form(hidden)}/${there}`, options);
          const made = await request(proxy.url, `/v2/${form(absent)}/${not}`, options);
          expect(visible(real, hidden)).toBe(visible(made, absent));
          expect(real.status).toBe(status);
        }
      }
      // Who may not pull costs an upstream nothing, and cannot tell by the time that an answer takes.
      expect(upstream.journal.count()).toBe(0);
    },
  );

  it('there is no catalog, for nobody', async () => {
    const { proxy } = await scene();
    for (const headers of [{}, basic('ann'), basic('bob')]) {
      for (const path of [
        '/v2/_catalog',
        '/v2/_catalog?n=1',
        '/v2/ghcr.io/_catalog',
        '/ghcr.io/v2/_catalog',
      ]) {
        const answer = await request(proxy.url, path, { headers: { ...headers } });
        expect(answer.status).toBe(404);
        expect(answer.text).not.toContain('team-a');
      }
    }
  });

  it('metrics and health name no image', async () => {
    const { proxy } = await scene();
    for (const path of ['/metrics', '/livez', '/readyz', '/', '/v2/']) {
      expect((await request(proxy.url, path)).text).not.toContain('team-a');
    }
  });
});
