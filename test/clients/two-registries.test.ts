import { describe, expect, inject, test } from 'vitest';
import { openLab } from './lab.ts';
import type { ClientKey } from './roster.ts';

const { multi, tool } = inject('images');

describe.concurrent('one server in front of two registries', () => {
  test.for<[ClientKey, 'pull' | 'pullByPrefix']>([
    ['c16', 'pull'],
    ['c2', 'pull'],
    ['podman', 'pull'],
    ['d20', 'pullByPrefix'],
    ['d28', 'pullByPrefix'],
    ['d28c', 'pullByPrefix'],
  ])('gives %s what each has (%s)', async ([key, way], context) => {
    const lab = await openLab(context);
    const client = await lab.client(key);
    for (const image of [multi, tool]) {
      const pulled = await client[way](image.reference);
      expect(pulled.ok, `${client.name}: ${pulled.said}`).toBe(true);
      expect(pulled.digests).toContain(image.digest);
    }
    // Each was asked for its own repository, by its own name, and for nothing else.
    expect(await repositoriesOf(lab.dockerHub)).toEqual(['library/multi']);
    expect(await repositoriesOf(lab.ghcr)).toEqual(['org/tool']);
  });
});

async function repositoriesOf(upstream: { journal(): Promise<{ requests: readonly { url: string }[] }> }) {
  const { requests } = await upstream.journal();
  const names = requests.flatMap(({ url }) => /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(url)?.[1] ?? []);
  return [...new Set(names)];
}
