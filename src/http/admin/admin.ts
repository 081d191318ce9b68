import type { Hono } from 'hono';
import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Tag } from '../../oci/reference.ts';
import { digestOf, repositoryOf, stringsOf, taggedImagesOf, tagOf } from './input.ts';
import {
  type AdminOptions,
  type AdminRepository,
  adminRouter,
  imageText,
  jsonBody,
  permit,
} from './router.ts';

export type { AdminOptions, AdminRepository };

/** What became of a tag: upstream moved it, or it was held, set or left to upstream again here. */
export type TagMove = {
  readonly tag: string;
  /** Absent where the tag was not known before. */
  readonly old: string | undefined;
  readonly new: string;
  /** The upstream that said so; empty for what was done here. */
  readonly upstream: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly action: 'moved' | 'held' | 'locked' | 'rolled back' | 'released';
};

/** What a tag names now, for a lock file; `platforms` (`os/architecture[/variant]`) of an index only. */
export type LockedTag = {
  /** `registry/repository`. */
  readonly image: string;
  readonly tag: string;
  readonly digest: string;
  readonly platforms: Readonly<Record<string, string>> | undefined;
};

/** What an operator may do; each throws an `OciError` for what the operator must be told. */
export type AdminOperations = {
  /** Newest first. */
  history(image: AdminRepository, tag: Tag | undefined, signal: AbortSignal): Promise<readonly TagMove[]>;
  /** Serves a tag as an earlier digest that is still stored, until it is released. */
  rollback(image: AdminRepository, tag: Tag, digest: Digest, signal: AbortSignal): Promise<void>;
  /** Leaves a pinned tag to upstream again. */
  release(image: AdminRepository, tag: Tag, signal: AbortSignal): Promise<void>;
  /** Asks what the tags name now; the answer has one entry for each, in any order. */
  lock(
    images: readonly (AdminRepository & { readonly tag: Tag })[],
    signal: AbortSignal,
  ): Promise<readonly LockedTag[]>;
};

/**
 * The admin API, JSON below `/api/v1`; errors are OCI error bodies. Request bodies must be declared as JSON, which no
 * web page can send across origins without asking first.
 */
export function adminRoutes(deps: { operations: AdminOperations; log: Log }, options: AdminOptions): Hono {
  const { operations, log } = deps;
  const { app, route } = adminRouter({ log }, options);

  route('GET', '/history', async (c, signal) => {
    const query = stringsOf(c.req.query(), ['image'], ['tag']);
    const repository = repositoryOf(query.image, options);
    const tag = query.tag === undefined ? undefined : tagOf(query.tag);
    return {
      images: [repository],
      run: async () => {
        const moves = await operations.history(repository, tag, signal);
        return { image: imageText(repository), moves: moves.map(shownMove) };
      },
    };
  });

  route('POST', '/rollback', async (c, signal) => {
    const body = stringsOf(await jsonBody(c), ['image', 'tag', 'digest']);
    const repository = repositoryOf(body.image, options);
    const tag = tagOf(body.tag);
    const digest = digestOf(body.digest);
    return {
      images: [repository],
      run: async () => {
        await operations.rollback(repository, tag, digest, signal);
        log.info({ image: imageText(repository), tag, digest }, 'tag rolled back');
        return { image: imageText(repository), tag, digest };
      },
    };
  });

  route('DELETE', '/pins', async (c, signal) => {
    const body = stringsOf(await jsonBody(c), ['image', 'tag']);
    const repository = repositoryOf(body.image, options);
    const tag = tagOf(body.tag);
    return {
      images: [repository],
      run: async () => {
        await operations.release(repository, tag, signal);
        log.info({ image: imageText(repository), tag }, 'tag released');
        return { image: imageText(repository), tag };
      },
    };
  });

  route('POST', '/lock', async (c, signal) => {
    const images = taggedImagesOf(await jsonBody(c), options);
    return { images, run: async () => ({ images: await operations.lock(images, signal) }) };
  });

  app.all('/api/v1/*', async (c) => {
    await permit(c, undefined, options);
    throw new OciError('NAME_UNKNOWN', 'no such admin route, or not with this method');
  });
  return app;
}

function shownMove({ at, tag, old, new: to, upstream, action }: TagMove): object {
  return { at: new Date(at).toISOString(), tag, old, new: to, upstream, action };
}
