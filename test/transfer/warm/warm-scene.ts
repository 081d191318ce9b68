import { onTestFinished } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { systemClock } from '../../../src/lib/clock.ts';
import { Slices } from '../../../src/lib/concurrency.ts';
import { type ImageName, parseImageName } from '../../../src/oci/image-name.ts';
import { type PolicyRule, PolicyRules } from '../../../src/policy/rules.ts';
import { Admission } from '../../../src/pull/admission/admission.ts';
import { Admit } from '../../../src/pull/admission/admit.ts';
import { PullListings } from '../../../src/pull/listings/listings.ts';
import { PullManifests } from '../../../src/pull/manifests/manifests.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { Namespaces } from '../../../src/pull/namespaces.ts';
import type { Registry } from '../../../src/pull/repository.ts';
import { DigestThread } from '../../../src/store/disk/digest-thread.ts';
import { Status } from '../../../src/transfer/images/image-status.ts';
import { Images } from '../../../src/transfer/images/images.ts';
import { Scrub } from '../../../src/transfer/images/scrub.ts';
import type { WarmEvent } from '../../../src/transfer/warm/warm-events.ts';
import type { WarmOptions } from '../../../src/transfer/warm/warm-image.ts';
import { Warm } from '../../../src/transfer/warm/warm-images.ts';
import { pullFacts } from '../../helpers/facts.ts';
import {
  type FakeUpstream,
  type FakeUpstreamOptions,
  startFakeUpstream,
} from '../../helpers/fake-upstream.ts';
import { fillScene } from '../../pull/fill/fill-scene.ts';

/** What a scene deviates in. */
type Options = {
  upstream?: FakeUpstreamOptions;
  rules?: readonly PolicyRule[];
  /** Downloads of what is warmed, at once. */
  blobs?: number;
  registry?: Partial<Registry>;
};

/** All that warming works with, on a storage of its own, fetching `ghcr.io` from one fake upstream. */
export async function warmScene(options: Options = {}) {
  const upstream: FakeUpstream = await startFakeUpstream(options.upstream);
  const base = await fillScene([upstream.url]);
  const { metadata, fills, store: blobs, target } = base;
  const registry = { ...target.registry, ...options.registry };
  const namespaces = new Namespaces([registry], { aliases: new Map(), defaultRegistry: 'ghcr.io' });
  const nothingLocked = { digest: () => undefined, holds: () => false, names: () => false };
  const rules = new PolicyRules({ default: 'allow', rules: options.rules ?? [] });
  const admission = new Admission({ rules, metadata, lock: nothingLocked }, { digests: 'provenance' });
  const facts = pullFacts();
  facts.on('provenance-changed', ({ key, ...change }) => admission.changed(key, change));
  const store = new ManifestStore({ metadata, facts });
  const random = () => 0.999;
  const { log } = base.log;
  const clock = systemClock;
  const manifests = new PullManifests({ store, clock, log, random }, { manifestSize: 4_000_000 });
  const listings = new PullListings(
    { metadata, clock, slices: new Slices(), facts },
    { manifestSize: 4_000_000 },
  );
  onTestFinished(() => {
    manifests.close();
    listings.close();
  });
  const images = new Images({ metadata, blobs, namespaces });
  const admit = new Admit({ admission, manifests, deniedContent: { learn: async () => undefined } });
  const warm = new Warm({ images, admit, manifests, listings, fills, blobs }, { blobs: options.blobs ?? 4 });
  const forgotten: string[] = [];
  facts.on('manifest-gone', ({ digest }) => forgotten.push(digest));
  const digests = new DigestThread();
  onTestFinished(() => digests.close());
  const scrub = new Scrub({ metadata, blobs, bytes: base.bytes, digests, clock, log, facts });
  const events: WarmEvent[] = [];
  return {
    ...base,
    upstream,
    images,
    warm,
    scrub,
    forgotten,
    status: new Status({ images, admission }),
    /** What was told so far. */
    events,
    /** Warms images by name; the answer is what the last event says. */
    run(names: readonly string[], more: Partial<WarmOptions> = {}, signal: AbortSignal = neverAborted) {
      return warm.all(names.map(named), { platforms: [], ...more }, (event) => events.push(event), signal);
    },
    /** How images ended, as `result image: message`, in the order of their names. */
    ended(): readonly string[] {
      return events
        .flatMap((event) => (event.kind === 'end' ? [event] : []))
        .map(
          ({ result, image, message }) => `${result} ${image}${message === undefined ? '' : `: ${message}`}`,
        )
        .sort();
    },
    state: (name: string, platforms: readonly string[] = []) =>
      images.state(images.find(named(name)), platforms),
    /** The request lines that the upstream was sent, but for its pings. */
    asked: () =>
      upstream.journal.filter().map(({ method, kind, reference }) => `${method} ${kind} ${reference}`),
  };
}

/** An image name that the test knows to be well formed. */
export function named(text: string): ImageName {
  const name = parseImageName(text, 'ghcr.io');
  if (name === undefined) throw new Error(`not an image: ${text}`);
  return name;
}
