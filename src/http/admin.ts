import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Context, Hono } from 'hono';
import type { Log } from '../lib/log.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { RepositoryName, Tag } from '../oci/reference.ts';
import {
  digestOf,
  invalid,
  type NameOptions,
  repositoryOf,
  stringsOf,
  taggedImagesOf,
  tagOf,
} from './admin-input.ts';
import { beginExchange, type Exchange } from './exchange.ts';
import { errorResponse } from './respond.ts';

/** A repository of a registry; whether that registry is configured is for the operation to say. */
export type AdminRepository = { readonly registry: string; readonly repository: RepositoryName };

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

/** How names are read, and who may ask. */
export type AdminOptions = NameOptions & {
  /**
   * Says no by throwing an `OciError`; it may set response headers (a challenge) on `exchange.outgoing` before. `image`
   * is the one that is steered (`registry/repository`), `undefined` for the server as a whole. Absent on the control
   * socket only, whose file is the permission.
   */
  readonly authorize?: (exchange: Exchange, image: string | undefined) => Promise<void> | void;
};

/** Bytes of a request body: some ten thousand image names. */
const largestBody = 1024 * 1024;

/** What the HTTP adapter hands over beside the request; absent when a request is handed in without a connection. */
type Connection = { incoming?: IncomingMessage; outgoing?: ServerResponse } | undefined;

/**
 * The admin API, JSON below `/api/v1`; errors are OCI error bodies. Request bodies must be declared as JSON, which no
 * web page can send across origins without asking first.
 */
export function adminRoutes(deps: { operations: AdminOperations; log: Log }, options: AdminOptions): Hono {
  const { operations, log } = deps;
  const app = new Hono();
  app.onError((error, c) => {
    const known = error instanceof OciError ? error : undefined;
    if (known === undefined) log.error({ path: c.req.path, cause: error.stack }, 'admin request failed');
    const told = known ?? new OciError('UNKNOWN', 'the server failed; its log says why', { cause: error });
    return errorResponse(told, c.req.method);
  });
  /** Adds a route: what it is asked for is read, then permitted for each image it is about, then done. */
  const route = (
    method: 'GET' | 'POST' | 'DELETE',
    path: string,
    read: (c: Context, signal: AbortSignal) => Promise<Task>,
  ) => {
    app.on(method, `/api/v1${path}`, async (c) => {
      const { images, run } = await read(c, c.req.raw.signal);
      for (const image of new Set(images.map(imageText))) await permit(c, image, options);
      return c.json(await run());
    });
  };

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

/** A request that was read: which images it is about (at least one), and how it is done. */
type Task = { readonly images: readonly AdminRepository[]; readonly run: () => Promise<object> };

function permit(c: Context, image: string | undefined, { authorize }: AdminOptions): Promise<void> | void {
  return authorize?.(exchangeOf(c), image);
}

function shownMove({ at, tag, old, new: to, upstream, action }: TagMove): object {
  return { at: new Date(at).toISOString(), tag, old, new: to, upstream, action };
}

function exchangeOf(c: Context): Exchange {
  const { incoming, outgoing } = (c.env as Connection) ?? {};
  if (incoming === undefined || outgoing === undefined) {
    throw new OciError('DENIED', 'who asks is not known without a connection');
  }
  return beginExchange(incoming, outgoing);
}

/** The body as a JSON value, bounded whether or not its length was declared. */
async function jsonBody(c: Context): Promise<unknown> {
  const type = c.req.header('content-type') ?? '';
  if (!/^application\/json\s*(?:;|$)/i.test(type)) {
    throw invalid('the request body must be declared as Content-Type: application/json');
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of c.req.raw.body ?? []) {
    length += chunk.length;
    if (length > largestBody)
      throw new OciError('SIZE_INVALID', `the request body is over ${largestBody} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch (cause) {
    throw invalid('the request body is not JSON', cause);
  }
}

function imageText({ registry, repository }: AdminRepository): string {
  return `${registry}/${repository}`;
}
