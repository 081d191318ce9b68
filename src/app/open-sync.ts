import type { Config, SyncConfig } from '../config/config.ts';
import { delay } from '../lib/abort.ts';
import { parseImageName } from '../oci/image-name.ts';
import { Prefetch } from '../pull/blobs/prefetch.ts';
import type { Registry } from '../pull/repository.ts';
import { SyncSchedule } from '../transfer/sync/schedule.ts';
import { Sync } from '../transfer/sync/sync-entries.ts';
import type { SyncEntry } from '../transfer/sync/sync-entry.ts';
import type { Warm } from '../transfer/warm/warm-images.ts';
import type { Ground } from './ground.ts';
import type { OnClose } from './lifetime.ts';
import type { Pulling } from './pulling.ts';

/** Most downloads that are begun ahead of those that clients ask for. */
const mostPrefetched = 16;

/** Builds what keeps the images of a configuration up to date; nothing runs before it is asked to. */
export function openSync(
  config: Config,
  { registries, shownTags, warm }: Pulling & { readonly warm: Warm },
  { facts, metadata, log, clock }: Ground,
  onClose: OnClose,
): Sync {
  const sync = new Sync(
    {
      journal: metadata.journal,
      shownTags,
      warm,
      clock,
      log,
      wait: delay,
      facts,
    },
    { entries: config.sync.map((entry) => syncEntry(entry, config, registries)) },
  );
  onClose(() => sync.close());
  return sync;
}

/** Begins to run what is scheduled; nothing is where no upstream is asked. */
export async function startSyncSchedule(
  { offline }: Config,
  sync: Sync,
  { log, clock, random }: Ground,
  onClose: OnClose,
): Promise<void> {
  if (sync.entries.length === 0) return;
  if (offline) {
    log.info({ entries: sync.entries.length }, 'offline: nothing is synced');
    return;
  }
  const schedule = new SyncSchedule({ sync, clock, random, log });
  onClose(() => schedule.close());
  await schedule.start();
}

/** Lets the layers of each manifest that is served be fetched ahead, unless that is switched off. */
export function fetchAhead(
  { prefetch, offline, limits }: Config,
  { registries, blobs }: Pulling,
  { facts, log, clock }: Ground,
  onClose: OnClose,
): void {
  if (!prefetch || offline) return;
  const most = Math.min(mostPrefetched, Math.floor(limits.connections / 4));
  const made = new Prefetch({ blobs, clock, log, facts }, { most });
  onClose(() => made.close());
  onClose(facts.on('blob-gone', () => made.forget()));
  const own = new Set(registries);
  onClose(
    facts.on('manifest-served', ({ target, manifest }) => {
      if (own.has(target.registry)) made.served(target, manifest);
    }),
  );
}

function syncEntry(
  { image, tags, semver, newest, platforms = [], ...entry }: SyncConfig,
  { defaultRegistry }: Config,
  registries: readonly Registry[],
): SyncEntry {
  const names = registries.map(({ name }) => name);
  const name = parseImageName(image, defaultRegistry, names);
  const registry = registries.find((each) => each.name === name?.registry);
  if (name === undefined || registry === undefined) throw new Error(`sync: ${image} is no image`);
  return {
    target: { registry, repository: name.repository },
    selection: { tags, semver, newest },
    platforms,
    schedule: entry.schedule,
    jitter: entry.jitter,
    maxBandwidth: entry.maxBandwidth,
    requests: entry.requests,
  };
}
