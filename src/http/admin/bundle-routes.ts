import type { Context, Hono } from 'hono';
import { eventStream } from '../../lib/event-stream.ts';
import type { Log } from '../../lib/log.ts';
import { OciError } from '../../oci/errors.ts';
import { BundleError } from '../../transfer/bundle/bundle-error.ts';
import { parseReceipt } from '../../transfer/bundle/receipt.ts';
import { readVerifyKey } from '../../transfer/bundle/signature.ts';
import {
  type Exporter,
  type ExportPlan,
  type ExportRequest,
  planSummary,
} from '../../transfer/export/exporter.ts';
import type { Images } from '../../transfer/images/images.ts';
import type { ImportEvent } from '../../transfer/import/import-events.ts';
import type { Importer } from '../../transfer/import/importer.ts';
import { statuses } from '../respond.ts';
import { imageOf, invalid, objectOf, platformsOf, stringsOf, textsOf } from './input.ts';
import { type AdminOptions, adminRouter, jsonBody, permit } from './router.ts';

/** What the routes work with. */
type BundleDeps = {
  readonly images: Images;
  readonly exporter: Exporter;
  readonly importer: Importer;
  readonly log: Log;
};

/** Bytes of an export request: the receipt of a site of a million blobs. */
const largestRequest = 128 * 1024 * 1024;

/**
 * The part of the admin API that carries images out and in: `POST /export/plan` says what a bundle would hold,
 * `POST /export` answers with its bytes, `POST /import` takes an uncompressed tar archive as its body and answers with
 * one event a line, the last of which is `done` or `failed`. All of it takes the right to the whole server.
 */
export function bundleRoutes(deps: BundleDeps, options: AdminOptions): Hono {
  const { exporter, importer, log } = deps;
  const { app, route } = adminRouter({ log }, options);

  const plan = async (c: Context, signal: AbortSignal): Promise<ExportPlan> => {
    const request = exportRequest(await jsonBody(c, largestRequest), deps.images, options);
    return exporter.plan(request, signal).catch((error: unknown) => {
      throw error instanceof BundleError
        ? new OciError('MANIFEST_UNKNOWN', error.message, { cause: error })
        : error;
    });
  };

  // Who may not do it need not wait until a long request was read.
  route('POST', '/export/plan', (c, signal) => ({
    images: [],
    run: async () => {
      const planned = await plan(c, signal);
      planned.release();
      return planSummary(planned);
    },
  }));

  app.on('POST', '/api/v1/export', async (c) => {
    await permit(c, undefined, options);
    const { signal } = c.req.raw;
    const planned = await plan(c, signal);
    log.info({ images: planned.contents.images.length, bytes: planned.size }, 'export');
    return new Response(ReadableStream.from(loggingFailure(released(exporter, planned, signal), log)), {
      status: statuses.ok,
      headers: {
        'Content-Type': 'application/x-tar',
        'Content-Length': String(planned.size),
        'Cache-Control': 'no-store',
      },
    });
  });

  route('POST', '/import', (c, signal) => {
    const { name, verifyKey } = stringsOf(c.req.query(), [], ['name', 'verifyKey']);
    if (!/^application\/x-tar\s*(?:;|$)/i.test(c.req.header('content-type') ?? '')) {
      throw invalid('the request body must be declared as Content-Type: application/x-tar');
    }
    const request = {
      name: name === undefined ? undefined : imageOf(name, options),
      verifyKey: verifyKey === undefined ? undefined : keyOf(verifyKey),
    };
    const archive = c.req.raw.body;
    if (archive === null) throw invalid('the request body must be a tar archive');
    return {
      images: [],
      stream: () =>
        eventStream<ImportEvent>(async (emit, own) => {
          emit(await imported(importer.run(piecesOf(archive), request, emit, own), log));
          // Who is still sending would meet a closed connection, and not read the answer.
          for await (const _ of piecesOf(archive)) own.throwIfAborted();
        }, signal),
    };
  });
  return app;
}

/** The rest of a body. Leaving the loop before its end does not cancel the body. */
function piecesOf(body: ReadableStream<Uint8Array>): AsyncIterable<Uint8Array> {
  return { [Symbol.asyncIterator]: () => body.values({ preventCancel: true }) };
}

/** The event that an import ends with. The user is told what is wrong with the archive; other failures are thrown. */
async function imported(run: ReturnType<Importer['run']>, log: Log): Promise<ImportEvent> {
  try {
    const summary = await run;
    const { stored, present, bytes } = summary;
    const images = summary.images.map(({ image, digest }) => `${image}@${digest}`);
    log.info({ images, stored, present, bytes, signedBy: summary.signedBy }, 'imported');
    return { kind: 'done', ...summary };
  } catch (error) {
    if (!(error instanceof BundleError)) throw error;
    log.warn({ code: error.code, cause: error.message }, 'import failed');
    return { kind: 'failed', code: error.code, message: error.message };
  }
}

/** The bytes of a bundle. What the plan holds is released when they end, whoever ends them. */
async function* released(
  exporter: Exporter,
  plan: ExportPlan,
  signal: AbortSignal,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* exporter.bytes(plan, signal);
  } finally {
    plan.release();
  }
}

/** Logs why an export failed. Its status has been sent by then, so that the client only sees the archive break off. */
async function* loggingFailure(
  pieces: AsyncIterable<Uint8Array>,
  log: Log,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    yield* pieces;
  } catch (error) {
    log.error({ cause: error instanceof Error ? error.message : String(error) }, 'export failed');
    throw error;
  }
}

function exportRequest(value: unknown, images: Images, options: AdminOptions): ExportRequest {
  const body = objectOf(value, ['images', 'platforms', 'since']);
  const { since } = body;
  const receipt = since === undefined ? undefined : parseReceipt(since);
  if (since !== undefined && receipt === undefined) {
    throw invalid('since is no receipt that an import has written, or it was changed');
  }
  const platforms = platformsOf('platforms', body['platforms'] ?? []);
  if (body['images'] === 'all') return { images: 'all', platforms, since: receipt };
  const names = textsOf('images', body['images']);
  if (names.length === 0) throw invalid('images must name at least one');
  const targets = [...new Set(names)].map((text) => images.find(imageOf(text, options)));
  return { images: targets, platforms, since: receipt };
}

function keyOf(text: string) {
  try {
    return readVerifyKey(text);
  } catch (error) {
    throw invalid(`verifyKey: ${(error as Error).message}`, error);
  }
}
