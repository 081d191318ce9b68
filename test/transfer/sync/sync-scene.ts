import { onTestFinished } from 'vitest';
import { OciError } from '../../../src/oci/errors.ts';
import type { Registry } from '../../../src/pull/repository.ts';
import type { SyncRunRecord } from '../../../src/store/journal.ts';
import { Sync, type SyncEvent, type SyncRunRecorded } from '../../../src/transfer/sync/sync-entries.ts';
import type { SyncEntry } from '../../../src/transfer/sync/sync-entry.ts';
import type { SyncRunDeps } from '../../../src/transfer/sync/sync-run.ts';
import type { WarmResult } from '../../../src/transfer/warm/warm-events.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { mustDigest } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { type ScriptedUpstream, targetOf } from '../../pull/scripted-upstream.ts';

/** A digest of one hex digit. */
export const digestOf = (digit: string) => mustDigest(`sha256:${digit.repeat(64)}`);

/** An entry for `ghcr.io/org/app`, or another repository: all tags, unless the test says otherwise. */
export function entryOf(
  options: Partial<Omit<SyncEntry, 'target'>> & {
    upstreams?: readonly ScriptedUpstream[];
    repository?: string;
    registry?: Partial<Omit<Registry, 'source'>>;
    closed?: 'offline' | 'hosted';
  } = {},
): SyncEntry {
  const { upstreams = [], repository = 'org/app', registry = {}, closed, ...rest } = options;
  return {
    target: targetOf(upstreams, { repository, ...(closed && { closed }), ...registry }),
    selection: { tags: ['*'] },
    platforms: [],
    schedule: undefined,
    jitter: 0,
    maxBandwidth: undefined,
    requests: undefined,
    ...rest,
  };
}

/** What warming comes to, by tag: the digest before and after, a failure, or whatever the test does. */
export type Warmed = Partial<WarmResult> | ((signal: AbortSignal) => Promise<Partial<WarmResult>>);

/** A `Sync` over upstreams of which the test says what they list and what warming comes to. */
export function syncScene(
  entries: readonly SyncEntry[],
  options: { tags?: readonly string[]; warmed?: Readonly<Record<string, Warmed>> } = {},
) {
  const clock = makeManualClock();
  const { log, lines } = captureLog();
  const runs: SyncRunRecord[] = [];
  const world = {
    tags: [...(options.tags ?? [])],
    listing: 'miss' as 'miss' | 'stale' | Error,
    warmed: { ...options.warmed } as Record<string, Warmed>,
    denied: [] as string[],
  };
  const asked: string[] = [];
  const waits: number[] = [];
  const ended: SyncRunRecorded[] = [];
  const deps: SyncRunDeps = {
    log,
    wait: async (ms) => {
      waits.push(ms);
      clock.advance(ms);
    },
    shownTags: {
      all: async ({ target: { registry, budget } }) => {
        budget?.spend();
        asked.push(`list ${registry.tagTtl}`);
        if (world.listing instanceof Error) throw world.listing;
        const tags = world.tags.filter((tag) => !world.denied.includes(tag));
        return { tags, outcome: world.listing, staleBecause: undefined };
      },
    },
    warm: {
      run: async ({ target, reference }, { platforms }, _onEvent, signal) => {
        const tag = reference.kind === 'tag' ? reference.tag : reference.digest;
        asked.push([`warm ${tag}`, ...platforms].join(' '));
        if (target.registry.tagTtl !== 0) throw new Error('a tag was taken as given');
        target.budget?.spend();
        const given = world.warmed[tag] ?? {};
        const result = typeof given === 'function' ? await given(signal) : given;
        return {
          image: `x:${tag}`,
          result: 'warmed',
          digest: digestOf('a'),
          before: undefined,
          fetched: 1,
          bytes: 10,
          message: undefined,
          warnings: [],
          ...result,
        };
      },
    },
  };
  const sync = new Sync(
    {
      ...deps,
      clock,
      journal: {
        syncRuns: async (entry) => runs.filter((run) => run.entry === entry).toReversed(),
        putSyncRun: async (run) => {
          runs.push(structuredClone(run));
        },
      },
      facts: { tell: ({ run }) => ended.push(run) },
    },
    { entries },
  );
  onTestFinished(() => sync.close());
  return { sync, clock, world, asked, waits, runs, ended, lines };
}

/** Collects events as `kind tag result`. */
export function eventLog() {
  const told: string[] = [];
  const emit = (event: SyncEvent | { readonly kind: 'done'; readonly failed: number }) => {
    if (event.kind === 'tag') told.push(`${event.tag} ${event.result}`);
    else if (event.kind === 'selected') told.push(`selected ${event.tags.join(',')}`);
    else if (event.kind === 'done') told.push(`done ${event.failed}`);
    else told.push(event.kind);
  };
  return { told, emit };
}

/** An outage, as the pull room tells it. */
export const outage = new OciError('UNAVAILABLE', 'no upstream answers');
