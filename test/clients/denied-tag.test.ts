import { describe, expect, inject, test } from 'vitest';
import { denialReason } from './entrepot.ts';
import { type Lab, openLab } from './lab.ts';
import type { ClientKey } from './roster.ts';

const { latest } = inject('images');

// containerd and its store in dockerd 28 print no more of a denial than its status: they ask with HEAD.
const readers: ClientKey[] = ['d20', 'd28', 'podman', 'skopeo', 'crane'];

describe.concurrent('a tag that the policy denies', () => {
  test.for(readers)('fails %s with the reason in plain words', async (key, context) => {
    const lab = await openLab(context);
    const client = await lab.client(key);
    const pulled = await client.pullByPrefix(latest.reference);
    expect(pulled.ok).toBe(false);
    expect(pulled.said).toContain(denialReason);
    expect(await askedFor(lab)).toEqual([]);
  });

  test.for<ClientKey>(['c16', 'c2', 'd28c'])('fails %s', async (key, context) => {
    const lab = await openLab(context);
    const client = await lab.client(key);
    const pulled = await client.pullByPrefix(latest.reference);
    expect(pulled.ok).toBe(false);
    expect(pulled.said).toContain('403 Forbidden');
    expect(await askedFor(lab)).toEqual([]);
  });
});

/** What the registry was asked for, but for whether it is there at all. */
async function askedFor(lab: Lab): Promise<string[]> {
  const { requests } = await lab.dockerHub.journal();
  return requests.map(({ url }) => url).filter((url) => url !== '/v2/');
}
