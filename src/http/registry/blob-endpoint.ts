import type { Clock } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { parseRange, resolveRange } from '../../oci/range.ts';
import type { Allowed, Denied } from '../../pull/admission/admission.ts';
import type { Admit } from '../../pull/admission/admit.ts';
import type { PullBlobs } from '../../pull/blobs/blobs.ts';
import type { BlobContent } from '../../pull/fill/content.ts';
import type { PullTimes } from '../../pull/pull-times.ts';
import { askOf, type Exchange, header } from '../exchange.ts';
import { type Headers, sendBlobHead, sendNotModified, serverTiming } from '../respond.ts';
import type { BufferPool } from './buffer-pool.ts';
import { etagOf, noneMatch, rangeInForce } from './conditions.ts';
import type { ContentRequest, ContentRoute, Endpoint } from './endpoint.ts';
import { layOutMultipart } from './multipart.ts';
import { type BodyPiece, sendBody } from './send-body.ts';
import { namespaceHeader } from './traffic.ts';

const contentType = 'application/octet-stream';

type BlobRoute = Extract<ContentRoute, { kind: 'blob' }>;

/** Serves blobs: whole or in ranges, from disk or from a fill under way, the same to the client. */
export class BlobEndpoint implements Endpoint<BlobRoute, Allowed> {
  readonly #admit: Admit;
  readonly #blobs: PullBlobs;
  readonly #pool: BufferPool;
  readonly #pullTimes: PullTimes;
  readonly #clock: Clock;
  readonly #stall: number;

  /** @param options.writeStallTimeout milliseconds after which a client that takes no byte is cut off */
  constructor(
    deps: { admit: Admit; blobs: PullBlobs; pool: BufferPool; pullTimes: PullTimes; clock: Clock },
    options: { writeStallTimeout: number },
  ) {
    this.#admit = deps.admit;
    this.#blobs = deps.blobs;
    this.#pool = deps.pool;
    this.#pullTimes = deps.pullTimes;
    this.#clock = deps.clock;
    this.#stall = options.writeStallTimeout;
  }

  /** @throws OciError as `Admit.content` does */
  admit({
    exchange,
    route,
    target,
  }: ContentRequest<BlobRoute>): Allowed | Denied | Promise<Allowed | Denied> {
    return this.#admit.content(askOf(exchange, target, { kind: 'digest', digest: route.digest }));
  }

  /** @throws OciError before the first byte; afterwards a failure breaks the connection */
  async send({ exchange, route, target }: ContentRequest<BlobRoute>): Promise<void> {
    const { digest } = route;
    const { incoming, outgoing, facts, signal } = exchange;
    const etag = etagOf(digest);
    const headers = {
      'Content-Type': contentType,
      'Docker-Content-Digest': digest,
      ETag: etag,
      'Accept-Ranges': 'bytes',
      'Cache-Control': 'max-age=31536000, immutable',
      ...namespaceHeader(route, target),
    };
    const head = incoming.method === 'HEAD';
    if (head || noneMatch(header(incoming, 'if-none-match'), etag)) {
      const { size, outcome } = await this.#blobs.stat(target, digest, signal);
      facts.outcome = outcome;
      const described = { ...headers, 'X-Cache': outcome };
      if (!head) this.#pulled(digest);
      if (noneMatch(header(incoming, 'if-none-match'), etag)) sendNotModified(outgoing, described);
      else sendBlobHeadOnly(exchange, size, described);
      return;
    }
    const content = await this.#blobs.open(target, digest, signal);
    try {
      facts.outcome = content.outcome;
      await this.#sendContent(exchange, content, etag, headers);
    } finally {
      facts.upstream = content.upstream;
      facts.upstreams = content.origin?.upstreams;
      facts.because ??= content.origin?.because;
      if (outgoing.headersSent) this.#pulled(digest);
      await content.close();
    }
  }

  #pulled(digest: Digest): void {
    this.#pullTimes.note({ kind: 'blob', digest, at: this.#clock.now() });
  }

  async #sendContent(
    exchange: Exchange,
    content: BlobContent,
    etag: string,
    headers: Headers,
  ): Promise<void> {
    const { incoming, outgoing, facts, signal } = exchange;
    const { size } = content;
    const asked = rangeInForce(header(incoming, 'range'), header(incoming, 'if-range'), etag);
    const resolved = resolveRange(parseRange(asked), size);
    let pieces: readonly BodyPiece[];
    let shape: Parameters<typeof sendBlobHead>[2];
    switch (resolved.kind) {
      case 'unsatisfiable':
        throw new OciError('RANGE_INVALID', `the range lies outside the blob's ${size} bytes`, {
          detail: { size },
        });
      case 'full':
        pieces = [{ kind: 'range', range: { start: 0, end: size } }];
        shape = { kind: 'full' };
        break;
      case 'single':
        pieces = [{ kind: 'range', range: resolved.range }];
        shape = resolved;
        break;
      case 'multiple': {
        const multipart = layOutMultipart(resolved.ranges, size, contentType);
        pieces = multipart.pieces;
        shape = { kind: 'multiple', type: multipart.type, length: multipart.length };
        break;
      }
      default:
        resolved satisfies never;
        return;
    }
    const begin = () => {
      const described = {
        ...headers,
        'X-Cache': content.outcome,
        'X-Upstream': content.upstream,
        'Server-Timing': serverTiming(exchange.startedAt, content.outcome, content.firstByteMs),
      };
      sendBlobHead(outgoing, size, shape, described);
    };
    const sent = (bytes: number) => {
      facts.bytes += bytes;
    };
    await sendBody({ outgoing, content, pool: this.#pool }, pieces, begin, {
      stall: this.#stall,
      signal,
      sent,
    });
  }
}

/** The head alone: its `Content-Length` is the blob's, though no byte follows. */
function sendBlobHeadOnly({ outgoing }: Exchange, size: number, headers: Headers): void {
  sendBlobHead(outgoing, size, { kind: 'full' }, headers);
  outgoing.end();
}
