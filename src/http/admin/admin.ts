import type { Hono } from 'hono';
import type { Log } from '../../lib/log.ts';
import { OciError } from '../../oci/errors.ts';
import { repositoryText } from '../../oci/repository-key.ts';
import type { TagOperations } from '../../pull/manifests/tag-operations.ts';
import { digestOf, repositoryOf, stringsOf, taggedImagesOf, tagOf } from './input.ts';
import { type AdminOptions, adminRouter, jsonBody, permit } from './router.ts';

/** What an operator may do with tags. */
export type AdminOperations = Pick<TagOperations, 'history' | 'rollback' | 'release' | 'lock'>;

type TagHistory = Awaited<ReturnType<AdminOperations['history']>>;

/**
 * The admin API, JSON below `/api/v1`; errors are OCI error bodies. Request bodies must be declared as JSON, which no
 * web page can send across origins without asking first.
 */
export function adminRoutes(deps: { operations: AdminOperations; log: Log }, options: AdminOptions): Hono {
  const { operations, log } = deps;
  const { app, route } = adminRouter({ log }, options);

  route('GET', '/history', async (c) => {
    const query = stringsOf(c.req.query(), ['image'], ['tag']);
    const repository = repositoryOf(query.image, options);
    const tag = query.tag === undefined ? undefined : tagOf(query.tag);
    return {
      images: [repository],
      run: async () => {
        const moves = await operations.history(repository, tag);
        return { image: repositoryText(repository), moves: moves.map(shownMove) };
      },
    };
  });

  route('POST', '/rollback', async (c) => {
    const body = stringsOf(await jsonBody(c), ['image', 'tag', 'digest']);
    const repository = repositoryOf(body.image, options);
    const tag = tagOf(body.tag);
    const digest = digestOf(body.digest);
    return {
      images: [repository],
      run: async () => {
        await operations.rollback(repository, tag, digest);
        log.info({ image: repositoryText(repository), tag, digest }, 'tag rolled back');
        return { image: repositoryText(repository), tag, digest };
      },
    };
  });

  route('DELETE', '/pins', async (c) => {
    const body = stringsOf(await jsonBody(c), ['image', 'tag']);
    const repository = repositoryOf(body.image, options);
    const tag = tagOf(body.tag);
    return {
      images: [repository],
      run: async () => {
        await operations.release(repository, tag);
        log.info({ image: repositoryText(repository), tag }, 'tag released');
        return { image: repositoryText(repository), tag };
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

function shownMove({ at, tag, old, new: to, upstream, action }: TagHistory[number]): object {
  return { at: new Date(at).toISOString(), tag, old, new: to, upstream, action };
}
