import { expect, test } from 'vitest';
import { requireUpstreams } from '../../src/pull/source.ts';
import { makeIndex } from '../helpers/image.ts';
import { byDigest, fresh, manifestScene, old, tagTtl, v1 } from './manifests/manifest-scene.ts';
import { bodyOf, scriptedUpstream, targetOf } from './scripted-upstream.ts';

/** A tag that was pulled while there was a connection, and the same repository without one. */
async function scene(manifest = old) {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(manifest) });
  const made = await manifestScene(upstream);
  await made.pull();
  upstream.asked.length = 0;
  upstream.answers = {};
  const offline = targetOf([], { closed: 'offline' });
  made.clock.advance(1_000 * tagTtl);
  return { ...made, upstream, offline };
}

test('a tag is as good as confirmed, from memory and after a restart', async () => {
  const { told, offline, restart, metadata } = await scene();
  expect(await told(v1, offline)).toBe('hit old');
  restart();
  expect(await told(v1, offline)).toBe('hit old');
  expect(await told(byDigest(old), offline)).toBe('hit old');
  expect(await metadata.tags.names({ registry: 'ghcr.io', repository: offline.repository })).toEqual(['v1']);
});

test('what is not stored does not exist, each time anew', async () => {
  const { pull, offline, metadata, told } = await scene();
  expect(await told(byDigest(fresh), offline)).toBe('MANIFEST_UNKNOWN');
  await expect(pull(byDigest(fresh), offline)).rejects.toThrow(
    `this mirror is offline and ghcr.io/org/app@${fresh.digest} is not stored here`,
  );
  // As an import does.
  await metadata.manifests.import([
    {
      key: { registry: 'ghcr.io', repository: offline.repository },
      manifest: {
        digest: fresh.digest,
        bytes: fresh.bytes,
        mediaType: 'application/vnd.oci.image.manifest.v1+json',
      },
      children: [],
      tag: undefined,
      at: 1,
    },
  ]);
  expect(await told(byDigest(fresh), offline)).toBe('hit fresh');
});

test('a part of an image is named by the image and its platform', async () => {
  const index = makeIndex();
  const { pull, offline } = await scene(index.manifest);
  const [, arm64] = index.images;
  await expect(pull(byDigest(arm64?.manifest ?? fresh), offline)).rejects.toThrow(
    'the linux/arm64 image of ghcr.io/org/app:v1 is not stored here: where there is a connection, run "entrepot export ghcr.io/org/app:v1 -o bundle.tar"',
  );
});

test('a tag that was rolled back stays, and nobody looks what became of it', async () => {
  const { told, offline, metadata, clock, restart } = await scene();
  const key = { registry: 'ghcr.io', repository: offline.repository };
  if (v1.kind !== 'tag') throw new Error('v1 is a tag');
  await metadata.tags.set(key, v1.tag, { digest: old.digest, action: 'rolled back', at: clock.now() });
  restart();
  expect(await told(v1, offline)).toBe('hit old');
});

test('work that is asking upstreams is refused there only', () => {
  expect(() => requireUpstreams(targetOf([]).registry)).not.toThrow();
  expect(() => requireUpstreams(targetOf([], { closed: 'offline' }).registry)).toThrow(
    'nothing can be fetched from ghcr.io',
  );
});

test('a hosted registry is closed in the same way, and says where its images come from', async () => {
  const { pull, told } = await scene();
  const hosted = targetOf([], { closed: 'hosted' });
  expect(await told(v1, hosted)).toBe('hit old');
  await expect(pull(byDigest(fresh), hosted)).rejects.toThrow(
    `ghcr.io/org/app@${fresh.digest} is not stored here: push`,
  );
  expect(() => requireUpstreams(hosted.registry)).toThrow('ghcr.io is hosted here');
});
