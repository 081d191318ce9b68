import { onTestFinished } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import type { Reference } from '../../../src/oci/reference.ts';
import { PullManifests } from '../../../src/pull/manifests/manifests.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { keyOf, type ResolvedRepository } from '../../../src/pull/repository.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { nobody } from '../../helpers/facts.ts';
import { makeImage, type TestManifest } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { mustTag } from '../../helpers/stored.ts';
import { holdableMetadata } from '../../helpers/wrapped-metadata.ts';
import { bodyOf, type ScriptedUpstream, scriptedUpstream, targetOf } from '../scripted-upstream.ts';

/** What the tag names at first. */
export const old = makeImage({ seed: 'old' }).manifest;
/** What it names later. */
export const fresh = makeImage({ seed: 'fresh' }).manifest;
/** The tag that the tests are about. */
export const v1: Reference = { kind: 'tag', tag: mustTag('v1') };
/** The reference of a manifest by its digest. */
export const byDigest = ({ digest }: TestManifest): Reference => ({ kind: 'digest', digest });
/** The life of a tag's answer, in milliseconds. */
export const tagTtl = 60_000;

/** The room on an index of its own; `restart` forgets what is in memory. */
export async function manifestScene(...upstreams: ScriptedUpstream[]) {
  const index = metadataUnderTest(SqliteMetadata.open(`${await temporaryDirectory()}/index.db`));
  const { metadata, hold } = holdableMetadata(index);
  onTestFinished(() => metadata.close());
  const clock = makeManualClock();
  const { log } = captureLog();
  let store: ManifestStore;
  const open = () => {
    store = new ManifestStore({ metadata, facts: nobody });
    const made = new PullManifests({ store, clock, log, random: () => 0.999 }, { manifestSize: 1_000_000 });
    onTestFinished(() => made.close());
    return made;
  };
  let room = open();
  const target = targetOf(upstreams);
  const pull = (reference: Reference = v1, from: ResolvedRepository = target) =>
    room.pull({ target: from, reference, signal: neverAborted });
  return {
    clock,
    metadata,
    hold,
    get store() {
      return store;
    },
    target,
    pull,
    hot: (reference: Reference) => room.hot({ target, reference, signal: neverAborted }),
    restart() {
      room = open();
    },
    /** Brings a manifest in from elsewhere, as what `v1` names. */
    async carryIn({ digest, bytes }: TestManifest): Promise<void> {
      const manifest = { digest, mediaType: mediaTypes.ociManifest, bytes };
      const tag = mustTag('v1');
      await store.import([{ key: keyOf(target), manifest, children: [], tag, at: clock.now() }]);
    },
    /** The outcome and the digest of a pull, or the code of its error. */
    async told(reference: Reference = v1, from: ResolvedRepository = target): Promise<string> {
      try {
        const { outcome, manifest } = await pull(reference, from);
        return `${outcome} ${manifest.digest === old.digest ? 'old' : manifest.digest === fresh.digest ? 'fresh' : '?'}`;
      } catch (error) {
        if (error instanceof OciError) return error.code;
        throw error;
      }
    },
  };
}

/** A scene whose tag `v1` was pulled and has expired since. */
export async function expiredTag() {
  const upstream = scriptedUpstream({ getManifest: async () => bodyOf(old) });
  const made = await manifestScene(upstream);
  await made.pull();
  made.clock.advance(tagTtl);
  upstream.asked.length = 0;
  upstream.answers = {};
  return { ...made, upstream };
}
