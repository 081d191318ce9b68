import { onTestFinished } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Tag } from '../../../src/oci/reference.ts';
import { type LockedImages, type PolicyRule, PolicyRules } from '../../../src/policy/rules.ts';
import { Admission } from '../../../src/pull/admission/admission.ts';
import { Admit } from '../../../src/pull/admission/admit.ts';
import type { DeniedContent } from '../../../src/pull/admission/denied-content.ts';
import type { DigestPolicy } from '../../../src/pull/admission/provenance.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { makeIndex, type TestManifest } from '../../helpers/image.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { mustTag } from '../../helpers/stored.ts';
import { targetOf } from '../scripted-upstream.ts';

/** The image of whatever scene. */
export const image = 'ghcr.io/org/app';
/** Two tags of it. */
export const [v1, latest] = [mustTag('v1'), mustTag('latest')];
/** What `v1` names, and what `latest` does. */
export const [good, bad] = [makeIndex({ seed: 'good' }), makeIndex({ seed: 'bad' })];
/** The first image of each. */
export const [goodImage, badImage] = [must(good.images[0]), must(bad.images[0])];

/** Rules that come to allow `v1` and deny `latest`. */
export const onlyV1: PolicyRule = { images: [image], tags: ['v1'], action: 'allow' };
export const notLatest: PolicyRule = { images: ['**'], tags: ['latest'], action: 'deny', reason: 'Floats' };

type Scene = {
  fallback?: 'allow' | 'deny';
  digests?: DigestPolicy;
  /** What makes the content of denied digests known. */
  learn?: DeniedContent['learn'];
  locked?: Readonly<Record<string, Digest>>;
};

/** An admission over an empty index. */
export async function scene(rules: readonly PolicyRule[], options: Scene = {}) {
  const { fallback = 'allow', digests = 'provenance', locked = {}, learn = async () => undefined } = options;
  const metadata = metadataUnderTest(SqliteMetadata.open(`${await temporaryDirectory()}/index.db`));
  onTestFinished(() => metadata.close());
  const lock = lockedImages(locked);
  const admission = new Admission(
    { rules: new PolicyRules({ default: fallback, rules, locked: lock }), metadata, lock },
    { digests },
  );
  const manifests = {
    hot: () => undefined,
    pull: async () => {
      throw new Error('content needs no manifest to be judged');
    },
  };
  const admit = new Admit({ admission, manifests, deniedContent: { learn } });
  const facts = pullFacts();
  facts.on('provenance-changed', ({ key, ...change }) => admission.changed(key, change));
  const store = new ManifestStore({ metadata, facts });
  const target = targetOf([]);
  const key = keyOf(target);
  return {
    metadata,
    admission,
    target,
    /** Records what was pulled, and the tag that led to it. */
    async pulled(manifest: TestManifest, tag?: Tag, from = target) {
      const received = { ...manifest, digestHint: undefined };
      await store.admit(keyOf(from), received, { digest: undefined, tag, upstream: 'up', at: 1 });
    },
    async drop(tag: Tag) {
      const known = await store.tag(key, tag);
      if (known !== undefined) await store.dropTag(key, tag, known);
    },
    async tag(tag: Tag, digest?: Digest) {
      return (await admission.judge(target, { kind: 'tag', tag }, { manifest: digest })).kind;
    },
    async digest(digest: Digest, from = target) {
      const reference = { kind: 'digest', digest } as const;
      return (await admit.content({ target: from, reference, signal: neverAborted })).kind;
    },
    async message(digest: Digest) {
      const judgement = await admission.judge(target, content(digest));
      return judgement.kind === 'deny' ? judgement.message : judgement.kind;
    },
  };
}

/** A tag, as it is asked for. */
export function tagged(tag: Tag) {
  return { kind: 'tag', tag } as const;
}

/** A blob or manifest, as it is asked for. */
export function content(digest: Digest) {
  return { kind: 'content', digest } as const;
}

function lockedImages(locked: Readonly<Record<string, Digest>>): LockedImages {
  return {
    digest: (name, tag) => (name === image ? locked[tag] : undefined),
    holds: (name, digest) => name === image && Object.values(locked).includes(digest),
    names: (name) => name === image && Object.keys(locked).length > 0,
  };
}

/** What there must be. */
export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('there is none');
  return value;
}

/** An index, one image of it, that image's config and a layer. */
export function partsOf(index: typeof good): readonly Digest[] {
  const [first] = index.images;
  const parts = [index.manifest, first?.manifest, first?.config, first?.layers[0]];
  return parts.map((part) => must(part).digest);
}
