import { Slices } from '../../src/lib/concurrency.ts';
import { Facts } from '../../src/lib/facts.ts';
import { silentLog } from '../../src/lib/log.ts';
import type { Digest } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';
import { parseRepositoryName, type Tag } from '../../src/oci/reference.ts';
import { PolicyRules } from '../../src/policy/rules.ts';
import { Admission } from '../../src/pull/admission/admission.ts';
import { Provenance } from '../../src/pull/admission/provenance.ts';
import { ShownTags } from '../../src/pull/admission/shown-tags.ts';
import { PullListings } from '../../src/pull/listings/listings.ts';
import { PullTimes } from '../../src/pull/pull-times.ts';
import type { Registry } from '../../src/pull/repository.ts';
import { SqliteMetadata } from '../../src/store/sqlite/sqlite-metadata.ts';
import { registry } from './generate.ts';
import type { IndexSubject } from './measure.ts';

/** Shortly after everything in a generated index, so that its listings are fresh. */
const now = 1_760_000_000_500;

const mirrored: Registry = {
  name: registry,
  source: { kind: 'mirror', upstreams: [] },
  tagTtl: 1e12,
  negativeTtl: 0,
};
const allowing = onlyTags('v*');
const denying = onlyTags('release-*');
const { signal } = new AbortController();

/** Opens an index with the code of this checkout. */
export function openSubject(file: string): IndexSubject {
  const metadata = SqliteMetadata.open(file);
  const facts = new Facts<never>({ failed: () => undefined });
  const listings = new PullListings(
    { metadata, clock: { now: () => now }, slices: new Slices(), facts },
    { manifestSize: 4e6 },
  );
  const admissionOf = (rules: PolicyRules) =>
    new Admission({ rules, metadata, lock: { digest: () => undefined } }, { digests: 'provenance' });
  const shownTags = new ShownTags({ listings, admission: admissionOf(allowing) });
  const pullTimes = new PullTimes({ journal: metadata.journal, log: silentLog }, { every: 2 ** 30 });
  return {
    provenance: async (repository, digest, { denying: denies, current }) => {
      const provenance = new Provenance(
        { rules: denies ? denying : allowing, links: metadata.links },
        { digests: current ? 'deny' : 'provenance' },
      );
      const { decision } = await provenance.decide(targetOf(repository), digest as Digest);
      return decision.kind === 'allow';
    },
    explain: async (repository) => {
      const judged = await admissionOf(denying).judge(targetOf(repository), {
        kind: 'tag',
        tag: 'none' as Tag,
      });
      return judged.kind === 'deny' ? judged.message : '';
    },
    history: async (repository, tag) => {
      return (await metadata.tags.history(keyOf(repository), tag as Tag | undefined)).length;
    },
    referrers: async (repository, subject) => {
      return (await metadata.links.referrersOf(keyOf(repository), subject as Digest)).length;
    },
    tagPage: async (repository, last) => {
      const ask = { target: targetOf(repository), signal };
      return (await shownTags.page(ask, { n: 100, last })).tags.length;
    },
    tag: (repository, tag) => metadata.tags.get(keyOf(repository), tag as Tag),
    manifest: (repository, digest) => metadata.manifests.get(keyOf(repository), digest as Digest),
    link: (repository, digest) => metadata.links.get(keyOf(repository), digest as Digest),
    recordPulls: async (repository, digests) => {
      for (const digest of digests) {
        const pull = { ...keyOf(repository), digest: digest as Digest, tag: undefined, at: now };
        pullTimes.note({ kind: 'manifest', ...pull });
      }
      await pullTimes.flush();
    },
    putManifest: (repository, { digest, bytes, layers, tag }) =>
      metadata.manifests.put(
        keyOf(repository),
        { digest: digest as Digest, mediaType: mediaTypes.ociManifest, bytes },
        layers.map((layer) => {
          const mediaType = 'application/vnd.oci.image.layer.v1.tar+gzip';
          return { digest: layer as Digest, role: 'layer', size: 10, mediaType, platform: undefined };
        }),
        { tag: tag as Tag | undefined, upstream: 'up', at: now },
      ),
    blobs: async () => (await metadata.blobs.all()).length,
    manifests: async () => (await metadata.manifests.digests()).length,
    repositories: async () => (await metadata.links.repositories()).length,
    close: () => metadata.close(),
  };
}

function onlyTags(pattern: string): PolicyRules {
  const rule = { images: ['**'], tags: [pattern], action: 'allow' } as const;
  return new PolicyRules({ default: 'deny', rules: [rule] });
}

function targetOf(name: string) {
  const repository = parseRepositoryName(name);
  if (repository === undefined) throw new Error(`no name of a repository: ${name}`);
  return { registry: mirrored, repository };
}

function keyOf(name: string) {
  return { registry, repository: targetOf(name).repository };
}
