import type { IncomingMessage, ServerResponse } from 'node:http';
import { type Context, Hono } from 'hono';
import type { Log } from '../../lib/log.ts';
import { readUpTo } from '../../lib/read-bytes.ts';
import { OciError } from '../../oci/errors.ts';
import { type RepositoryKey, repositoryText } from '../../oci/repository-key.ts';
import { beginExchange, type Exchange } from '../exchange.ts';
import { errorResponse } from '../respond.ts';
import { invalid, type NameOptions } from './input.ts';
import { ndjsonResponse } from './ndjson.ts';

/** How names are read, and who may ask. */
export type AdminOptions = NameOptions & {
  /**
   * Says no by throwing an `OciError`; it may set response headers (a challenge) on `exchange.outgoing` before. `image`
   * is the one that is steered (`registry/repository`), `undefined` for the server as a whole. Absent on the control
   * socket only, whose file is the permission.
   */
  readonly authorize?: (exchange: Exchange, image: string | undefined) => Promise<void> | void;
};

/**
 * A request that was read: which images it is about (none: the server as a whole), and how it is done. What `stream`
 * gives is sent line by line.
 */
type AdminTask = { readonly images: readonly RepositoryKey[] } & (
  | { readonly run: () => Promise<object> }
  | { readonly stream: () => AsyncIterable<object> }
);

/** Reads a request, without doing anything yet. */
type AdminReader = (c: Context, signal: AbortSignal) => Promise<AdminTask> | AdminTask;

/** Where admin routes are added. */
type AdminRouter = {
  readonly app: Hono;
  /** Adds a route below `/api/v1`: what it is asked for is read, then permitted for each image it is about, then done. */
  route(method: 'GET' | 'POST' | 'DELETE', path: string, read: AdminReader): void;
};

/** Bytes of a request body: some ten thousand image names. */
const largestBody = 1024 * 1024;

/** What the HTTP adapter hands over beside the request; absent when a request is handed in without a connection. */
type Connection = { incoming?: IncomingMessage; outgoing?: ServerResponse } | undefined;

/** Makes an empty router of the admin API, whose errors are OCI error bodies. */
export function adminRouter({ log }: { log: Log }, options: AdminOptions): AdminRouter {
  const app = new Hono();
  const known = (error: unknown, path: string): OciError => {
    if (error instanceof OciError) return error;
    log.error({ path, cause: error instanceof Error ? error.stack : String(error) }, 'admin request failed');
    return new OciError('UNKNOWN', 'the server failed; its log says why', { cause: error });
  };
  app.onError((error, c) => errorResponse(known(error, c.req.path), c.req.method));
  return {
    app,
    route: (method, path, read) => {
      app.on(method, `/api/v1${path}`, async (c) => {
        const task = await read(c, c.req.raw.signal);
        const images = new Set(task.images.map(repositoryText));
        for (const image of images) await permit(c, image, options);
        if (images.size === 0) await permit(c, undefined, options);
        if ('run' in task) return c.json(await task.run());
        return ndjsonResponse(task.stream(), (error) => known(error, c.req.path));
      });
    },
  };
}

/** Joins parts of an API. A part whose last route takes every path comes last. */
export function joinRoutes(...parts: readonly Hono[]): Hono {
  const app = new Hono();
  for (const part of parts) app.route('/', part);
  return app;
}

/** Throws, as `AdminOptions.authorize` does, when who asks may not. */
export function permit(
  c: Context,
  image: string | undefined,
  { authorize }: AdminOptions,
): Promise<void> | void {
  return authorize?.(exchangeOf(c), image);
}

/**
 * The body as a JSON value, of at most `most` bytes whether or not its length was declared. It must be declared as JSON,
 * which no web page can send across origins without asking first.
 * @throws OciError `NAME_INVALID` or `SIZE_INVALID`
 */
export async function jsonBody(c: Context, most: number = largestBody): Promise<unknown> {
  const type = c.req.header('content-type') ?? '';
  if (!/^application\/json\s*(?:;|$)/i.test(type)) {
    throw invalid('the request body must be declared as Content-Type: application/json');
  }
  const { body } = c.req.raw;
  const { bytes, whole } = await readUpTo(body ?? ReadableStream.from([]), most);
  if (!whole) throw new OciError('SIZE_INVALID', `the request body is over ${most} bytes`);
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown;
  } catch (cause) {
    throw invalid('the request body is not JSON', cause);
  }
}

function exchangeOf(c: Context): Exchange {
  const { incoming, outgoing } = (c.env as Connection) ?? {};
  if (incoming === undefined || outgoing === undefined) {
    throw new OciError('DENIED', 'who asks is not known without a connection');
  }
  return beginExchange(incoming, outgoing);
}
