import { describe, expect, inject, test, vi } from 'vitest';
import { denialReason } from './entrepot.ts';
import { openLab } from './lab.ts';
import type { ClientKey } from './roster.ts';
import type { Upstream } from './upstream.ts';

const { latest, multi } = inject('images');
const [repository] = latest.reference.split(':', 1);
const byDigest = `${repository}@${latest.digest}`;

/** What a person reads of a denied tag, while the registry itself cannot be reached and with `failClosed`. */
type Words = { readonly away: string; readonly closed: string };

const statusOnly: Words = { away: '403 Forbidden', closed: denialReason };
const originOnly: Words = {
  away: 'Get "https://registry-1.docker.io/v2/":',
  closed: 'unsupported media type application/vnd.denied-by-policy.v1+json',
};

const cases: [ClientKey, Words][] = [
  ['d20', originOnly],
  ['d28', originOnly],
  ['d28c', statusOnly],
  ['build', statusOnly],
  ['c16', statusOnly],
  ['c2', statusOnly],
  ['cri16', statusOnly],
  ['cri', statusOnly],
  [
    'podman',
    {
      away: denialReason,
      closed:
        'unsupported image-specific operation on artifact with type "application/vnd.denied-by-policy.v1+json"',
    },
  ],
];

/** These ask the mirror for each piece, and the registry for those that the mirror denies. */
const piecewise: readonly ClientKey[] = ['d28c', 'build', 'c16', 'c2', 'cri16', 'cri'];

describe.concurrent('a tag that a mirror denies', () => {
  test.for(cases)(
    'fails %s while the registry is away, is had from the registry in silence, and is stopped by failClosed',
    async ([key, words], context) => {
      const lab = await openLab(context);
      const origin = await lab.openOrigin();
      const client = await lab.client(key, origin.known);

      await origin.goAway();
      const away = await client.pull(latest.reference);
      expect(away.ok).toBe(false);
      expect(away.said).toContain(words.away);
      expect((await origin.journal()).attempts).toBeGreaterThan(0);

      // Nothing tells its user that this did not come through the mirror.
      await origin.comeBack();
      const around = await client.pull(latest.reference);
      expect(around.ok, around.said).toBe(true);
      expect(around.said).not.toContain('polic');
      expect(await served(origin)).not.toEqual([]);
      // The manifest by its digest, the config and the layer are asked of the mirror too, which notices.
      const follows = piecewise.includes(key) ? 3 : 0;
      expect(await lab.server.count('entrepot_bypass_attempts_total')).toBe(follows);
      // The log is another process's output, and may come later than its answers.
      const warnings = () => lab.server.log().split('its client goes around the policy').length - 1;
      await vi.waitFor(() => expect(warnings()).toBe(follows), { timeout: 300_000 });

      if (key !== 'build') await client.remove(latest.reference);
      await lab.server.restart({ policy: { failClosed: true } });
      await origin.forget();
      const closed = await client.pull(latest.reference);
      expect(closed.ok).toBe(false);
      expect(closed.said).toContain(words.closed);
      expect(await served(origin)).toEqual([]);
      const allowed = await client.pull(multi.reference);
      expect(allowed.ok, allowed.said).toBe(true);
      expect(await served(origin)).toEqual([]);

      // No manifest but its own has this digest: what is asked for by digest cannot be stopped like that.
      if (key === 'build') return;
      const digest = await client.pull(byDigest);
      expect(digest.ok, digest.said).toBe(true);
      expect(await served(origin)).toContain(`/v2/library/app/manifests/${latest.digest}`);
    },
  );
});

/** The content that a registry gave. */
async function served(registry: Upstream): Promise<string[]> {
  const { requests } = await registry.journal();
  return requests.filter(({ url, status }) => url !== '/v2/' && status === 200).map(({ url }) => url);
}
