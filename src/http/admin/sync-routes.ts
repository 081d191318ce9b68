import type { Hono } from 'hono';
import { eventStream } from '../../lib/event-stream.ts';
import type { Log } from '../../lib/log.ts';
import { OciError } from '../../oci/errors.ts';
import { repositoryText } from '../../oci/repository-key.ts';
import { imageName } from '../../pull/repository.ts';
import type { Sync, SyncDemandEvent, SyncRunRecorded, SyncStatus } from '../../transfer/sync/sync-entries.ts';
import type { SyncEntry } from '../../transfer/sync/sync-entry.ts';
import { invalid, objectOf, repositoryOf } from './input.ts';
import { type AdminOptions, adminRouter, jsonBody } from './router.ts';

/** Images that one request may name. */
const mostImages = 1_000;

/**
 * The part of the admin API about scheduled images: `GET /sync` says how each entry stands, `POST /sync` syncs those of
 * the images named (all without any) and answers with one event a line, the last of which is `done`, or the failure
 * that ended it.
 */
export function syncRoutes({ sync, log }: { sync: Sync; log: Log }, options: AdminOptions): Hono {
  const { app, route } = adminRouter({ log }, options);

  route('GET', '/sync', () => ({
    images: [],
    run: async () => ({ entries: (await sync.status()).map(shownStatus) }),
  }));

  route('POST', '/sync', async (c, signal) => {
    const { images } = objectOf(await jsonBody(c), ['images']);
    const named = images === undefined ? undefined : repositoriesOf(images, options);
    const entries = named?.flatMap((name) => entriesOf(sync, repositoryText(name))) ?? sync.entries;
    if (entries.length === 0) {
      throw new OciError('NAME_UNKNOWN', 'nothing to sync: the configuration has no entries under "sync"');
    }
    return {
      images: named ?? [],
      stream: () =>
        eventStream<object>(async (emit, own) => {
          await sync.demand(entries, (event) => emit(shownEvent(event)), own);
        }, signal),
    };
  });
  return app;
}

function repositoriesOf(images: unknown, options: AdminOptions) {
  if (!Array.isArray(images) || images.length === 0 || images.length > mostImages) {
    throw invalid(`images must be a list of 1 to ${mostImages} names`);
  }
  const names = images.map((text: unknown) => {
    if (typeof text !== 'string') throw invalid('images must be a list of names');
    return repositoryOf(text, options);
  });
  return [...new Map(names.map((name) => [repositoryText(name), name])).values()];
}

function entriesOf(sync: Sync, image: string): readonly SyncEntry[] {
  const found = sync.entries.filter(({ target }) => imageName(target) === image);
  if (found.length > 0) return found;
  throw new OciError(
    'NAME_UNKNOWN',
    `${image} is not synced: the configuration has no such entry under "sync"`,
  );
}

/** A status whose times are RFC 3339 text. */
function shownStatus({ next, last, ...status }: SyncStatus): object {
  return { ...status, next: timeText(next), last: last && shownRun(last) };
}

function shownEvent(event: SyncDemandEvent): object {
  return event.kind === 'ended' ? { ...event, ...shownRun(event) } : event;
}

function shownRun({ startedAt, endedAt, ...run }: SyncRunRecorded): object {
  return { startedAt: timeText(startedAt), endedAt: timeText(endedAt), ...run };
}

function timeText(at: number | undefined): string | undefined {
  return at === undefined ? undefined : new Date(at).toISOString();
}
