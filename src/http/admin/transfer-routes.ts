import type { Hono } from 'hono';
import { eventStream } from '../../lib/event-stream.ts';
import type { Log } from '../../lib/log.ts';
import type { ImageName } from '../../oci/image-name.ts';
import type { ImageStatus, Status } from '../../transfer/images/image-status.ts';
import type { Images } from '../../transfer/images/images.ts';
import type { Scrub, ScrubEvent } from '../../transfer/images/scrub.ts';
import type { WarmEvent } from '../../transfer/warm/warm-events.ts';
import type { Warm } from '../../transfer/warm/warm-images.ts';
import { imageOf, invalid, type NameOptions, objectOf, platformsOf, stringsOf, textsOf } from './input.ts';
import { type AdminOptions, adminRouter, jsonBody } from './router.ts';

/** What the routes work with. */
type TransferDeps = {
  readonly images: Images;
  readonly warm: Warm;
  readonly status: Status;
  readonly scrub: Scrub;
  readonly log: Log;
};

/**
 * The part of the admin API that fetches ahead and looks at what is there: `POST /warm`, `GET /images?image=NAME`
 * (or `/images/NAME`), `POST /verify`.
 * Long work answers with one event a line, the last of which is `done`, or the failure that ended it.
 */
export function transferRoutes(deps: TransferDeps, options: AdminOptions): Hono {
  const { images, warm, status, scrub, log } = deps;
  const { app, route } = adminRouter({ log }, options);

  const look = (image: string, platform: readonly string[] = []) => {
    const name = imageOf(image, options);
    const platforms = platformsOf(
      'platform',
      platform.flatMap((text) => text.split(',')),
    );
    return {
      images: [name],
      run: async () => shownStatus(await status.of(images.find(name), platforms)),
    };
  };
  route('GET', '/images', (c) => {
    const { image } = stringsOf(c.req.query(), ['image'], ['platform']);
    return look(image, c.req.queries('platform'));
  });
  route('GET', '/images/:image{.+}', (c) => {
    stringsOf(c.req.query(), [], ['platform']);
    return look(c.req.param('image') ?? '', c.req.queries('platform'));
  });

  route('POST', '/warm', async (c, signal) => {
    const body = objectOf(await jsonBody(c), ['images', 'platforms', 'referrers']);
    const names = imagesOf(body['images'], options);
    const platforms = platformsOf('platform', body['platforms'] ?? []);
    const { referrers = true } = body;
    if (typeof referrers !== 'boolean') throw invalid('referrers must be true or false');
    return {
      images: names,
      stream: () =>
        eventStream<WarmEvent>(
          async (emit, own) => {
            await warm.all(names, { platforms, referrers }, emit, own);
          },
          signal,
          (event) => event.kind === 'blob' && event.state === 'arriving',
        ),
    };
  });

  route('POST', '/verify', async (c, signal) => {
    const { rate = 0 } = objectOf(await jsonBody(c), ['rate']);
    if (typeof rate !== 'number' || !Number.isSafeInteger(rate) || rate < 0) {
      throw invalid('rate must be a whole number of bytes per second, 0 for no limit');
    }
    return {
      images: [],
      stream: () =>
        eventStream<ScrubEvent>(
          async (emit, own) => {
            await scrub.run({ rate }, emit, own);
          },
          signal,
          (event) => event.kind === 'progress',
        ),
    };
  });
  return app;
}

/** A status whose times are RFC 3339 text. */
function shownStatus({ storedAt, ...status }: ImageStatus): object {
  return { ...status, storedAt: storedAt === undefined ? undefined : new Date(storedAt).toISOString() };
}

function imagesOf(value: unknown, options: NameOptions): readonly ImageName[] {
  const names = textsOf('images', value).map((text) => imageOf(text, options));
  if (names.length === 0) throw invalid('images must name at least one');
  return [...new Map(names.map((name) => [JSON.stringify(name), name])).values()];
}
