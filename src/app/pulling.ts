import type { Config } from '../config/config.ts';
import { Slices } from '../lib/concurrency.ts';
import { Admission } from '../pull/admission/admission.ts';
import { Admit } from '../pull/admission/admit.ts';
import { DeniedContent } from '../pull/admission/denied-content.ts';
import { ShownTags } from '../pull/admission/shown-tags.ts';
import { PullBlobs } from '../pull/blobs/blobs.ts';
import { PullListings } from '../pull/listings/listings.ts';
import { PullManifests } from '../pull/manifests/manifests.ts';
import { TagOperations } from '../pull/manifests/tag-operations.ts';
import { Namespaces } from '../pull/namespaces.ts';
import type { Registry } from '../pull/repository.ts';
import type { Ground } from './ground.ts';
import type { OnClose } from './lifetime.ts';
import { lockOf, rulesOf } from './policy.ts';

/** What answers pulls by one configuration. */
export type Pulling = {
  readonly registries: readonly Registry[];
  readonly namespaces: Namespaces;
  readonly admission: Admission;
  readonly admit: Admit;
  readonly shownTags: ShownTags;
  readonly manifests: PullManifests;
  readonly listings: PullListings;
  readonly blobs: PullBlobs;
  readonly tags: TagOperations;
};

/** Builds what answers pulls from the registries of a configuration, by its rules. */
export function openPulling(
  config: Config,
  registries: readonly Registry[],
  ground: Ground,
  onClose: OnClose,
): Pulling {
  const { log, clock, random, facts, metadata, manifestStore: store, stored, fills, hedges } = ground;
  const { manifestSize } = config.limits;
  const lock = lockOf(config.policy);
  const rules = rulesOf(config.policy, lock);
  const manifests = new PullManifests(
    { store, clock, log, random, hedging: hedges, rules },
    { manifestSize },
  );
  onClose(() => manifests.close());
  const listings = new PullListings({ metadata, clock, slices: new Slices(), facts }, { manifestSize });
  onClose(() => listings.close());
  const deniedContent = new DeniedContent({ manifests, listings, metadata, clock, log });
  onClose(() => deniedContent.close());
  const admission = new Admission({ rules, metadata, lock }, { digests: config.policy.digests });
  const admit = new Admit({ admission, manifests, deniedContent });
  onClose(facts.on('provenance-changed', ({ key, ...change }) => admission.changed(key, change)));
  onClose(facts.on('manifest-gone', () => admission.forget()));
  onClose(
    facts.on('provenance-changed', ({ key, tags }) => {
      if (tags) listings.forget(key);
    }),
  );
  const shownTags = new ShownTags({ listings, admission });
  const blobs = new PullBlobs({ blobs: stored, metadata, fills, clock });
  onClose(() => blobs.close());
  const namespaces = new Namespaces(registries, {
    aliases: aliasesOf(config),
    defaultRegistry: config.defaultRegistry,
  });
  const tags = new TagOperations({ namespaces, manifests, store, metadata, clock });
  return { registries, namespaces, admission, admit, shownTags, manifests, listings, blobs, tags };
}

function aliasesOf(config: Config): ReadonlyMap<string, string> {
  return new Map(
    Object.entries(config.registries).flatMap(([name, { hosts }]) =>
      hosts.map((host) => [host, name] as const),
    ),
  );
}
