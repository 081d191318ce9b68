import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { manifestAccept, mediaTypes } from '../oci/media-types.ts';
import { type Reference, referenceText } from '../oci/reference.ts';
import { UpstreamAuth } from './auth.ts';
import { UpstreamHealth } from './health.ts';
import { isReferrersType, mergeReferrers, readTagPage } from './listing-page.ts';
import { manifestHeadType, manifestType } from './manifest-type.ts';
import { proxyFor } from './proxy-choice.ts';
import { type ProbeOutcome, type Reading, RegistryRequests } from './registry-requests.ts';
import {
  type BlobRange,
  type BlobTransfer,
  type BodyHop,
  type ManifestBody,
  type ManifestHead,
  type ReferrersBody,
  UpstreamError,
  type UpstreamResult,
} from './result.ts';
import { declaredLength, SmallHttp } from './small-http.ts';
import { parseUpstreamUrl, type UpstreamOptions } from './upstream-options.ts';
import type { WireRequest } from './wire.ts';

/**
 * What a client works with. `observe` is told of each operation (an `UpstreamOp`, token requests included), how it
 * came out (the result's kind, or `aborted`), and how many milliseconds it took. `health` is told how requests
 * went; without it the client has one of its own.
 */
export type UpstreamDeps = {
  readonly log: Log;
  readonly clock: Clock;
  readonly health?: UpstreamHealth;
  observe(op: string, outcome: string, ms: number): void;
};

/** The longest page of a list of tags, in bytes. */
const maxTagPage = 4 * 1024 * 1024;

/**
 * The client of one upstream: it authenticates, follows redirects by hand, judges media types, and says in plain
 * values what the upstream said. It verifies no digest, keeps no content and decides no policy. Every method
 * rejects with the signal's reason on abort, and otherwise resolves to an {@link UpstreamResult}.
 */
export class UpstreamClient {
  /** Host, port and base path of the URL: what users are shown as the upstream's name. */
  readonly name: string;
  /** Scheme, host and port of its URL. */
  readonly origin: string;
  /** Whether it may be asked what a tag means. */
  readonly tags: boolean;
  /** How many connections one blob may use on it at once. */
  readonly maxConnections: number;
  /** Bytes a second below which a connection counts as stalled. */
  readonly minSpeed: number;
  /** How it does, by the requests of this client and what callers add. */
  readonly health: UpstreamHealth;
  readonly #options: UpstreamOptions;
  readonly #http: SmallHttp;
  readonly #auth: UpstreamAuth;
  readonly #requests: RegistryRequests;

  /** Throws a `TypeError` for a URL that is not https (or http with `insecure`), or holds credentials or a query. */
  constructor(deps: UpstreamDeps, options: UpstreamOptions) {
    const { url, base } = parseUpstreamUrl(options);
    const { clock, log } = deps;
    const observe = deps.observe.bind(deps);
    this.name = `${url.host}/${base}`.replace(/\/$/, '');
    this.origin = url.origin;
    this.tags = options.tags;
    this.maxConnections = options.maxConnections ?? 1;
    this.minSpeed = options.minSpeed ?? 0;
    this.health = deps.health ?? new UpstreamHealth({ clock, random: Math.random });
    this.#options = options;
    this.#http = new SmallHttp(options);
    this.#auth = new UpstreamAuth(
      { http: this.#http, clock, log, observe },
      {
        name: this.name,
        url,
        trustedRealms: options.trustedRealms ?? [],
        ...(options.username !== undefined && { username: options.username }),
        ...(options.password !== undefined && { password: options.password }),
      },
    );
    this.#requests = new RegistryRequests(
      { http: this.#http, auth: this.#auth, clock, health: this.health, observe },
      { name: this.name, url, base },
    );
  }

  /** Asks what a reference means now. A generic content type is passed on as it is; HTML is `unavailable`. */
  headManifest(
    repository: string,
    reference: Reference,
    signal: AbortSignal,
  ): Promise<UpstreamResult<ManifestHead>> {
    const plan = {
      method: 'HEAD',
      path: manifestPath(reference),
      accept: manifestAccept,
      maxBytes: 0,
    } as const;
    return this.#requests.small(
      'head-manifest',
      repository,
      plan,
      ({ headers }): Reading<ManifestHead> => {
        const type = manifestHeadType(headers['content-type']);
        if (type.kind === 'refused') return type;
        const digest = parseDigest(headers['docker-content-digest'] ?? '');
        return { kind: 'value', value: { digest, mediaType: type.value, size: declaredLength(headers) } };
      },
      signal,
    );
  }

  /**
   * Fetches a manifest. More than `maxBytes`, HTML, or a generic content type on a body that does not name its own
   * media type is `unavailable`; schema 1 types are passed on.
   */
  getManifest(
    repository: string,
    reference: Reference,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<UpstreamResult<ManifestBody>> {
    const plan = { method: 'GET', path: manifestPath(reference), accept: manifestAccept, maxBytes } as const;
    return this.#requests.small(
      'get-manifest',
      repository,
      plan,
      ({ headers, body }): Reading<ManifestBody> => {
        const type = manifestType(headers['content-type'], body);
        if (type.kind === 'refused') return type;
        const digestHint = parseDigest(headers['docker-content-digest'] ?? '');
        return { kind: 'value', value: { bytes: body, mediaType: type.value, digestHint } };
      },
      signal,
    );
  }

  /** Asks whether a blob exists. A storage host that a redirect leads to and that refuses HEAD does not mean no. */
  async headBlob(
    repository: string,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<UpstreamResult<{ size: number | undefined }>> {
    const result = await this.#requests.small(
      'head-blob',
      repository,
      { method: 'HEAD', path: `blobs/${digest}`, accept: '*/*', maxBytes: 0 },
      ({ headers }) => ({ kind: 'value', value: { size: declaredLength(headers) } }),
      signal,
    );
    // Signed storage URLs are often signed for GET alone.
    const signedForGet = result.kind === 'unavailable' && result.cause.reason === 'redirect-denied';
    return signedForGet ? { kind: 'ok', value: { size: undefined }, upstream: this.name } : result;
  }

  /**
   * Transfers a blob's bytes from `start` up to but not including `end`, or to the blob's end. `hop` is run once for
   * each request on the way, with this call's signal, and follows nothing. A transfer that broke off is `ok` with
   * `ending: 'broken'`.
   */
  getBlob(
    repository: string,
    digest: Digest,
    { start, end }: BlobRange,
    hop: BodyHop,
    signal: AbortSignal,
  ): Promise<UpstreamResult<BlobTransfer>> {
    const range =
      start > 0 || end !== undefined ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {};
    const headers = { 'user-agent': this.#options.userAgent, accept: '*/*', ...range };
    const plan = { path: `blobs/${digest}`, headers, offset: start };
    return this.#requests.blob(repository, plan, (url, own) => this.#wireRequest(url, own), hop, signal);
  }

  /** Lists tags, at most `limit` of them, page by page within the upstream's origin; what is no tag is left out. */
  async listTags(
    repository: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<UpstreamResult<readonly string[]>> {
    const path = this.#requests.endpoint(repository, 'tags/list');
    path.searchParams.set('n', String(Math.max(1, Math.min(limit, 1000))));
    const tags = new Set<string>();
    const result = await this.#requests.pages(
      'list-tags',
      repository,
      { path, accept: 'application/json', maxBytes: maxTagPage },
      ({ body }) => {
        const found = readTagPage(body);
        if (!found) return { kind: 'refused', reason: 'its list of tags is malformed' };
        for (const tag of found) if (tags.size < limit) tags.add(tag);
        return { kind: 'value', value: tags.size < limit ? 'more' : 'enough' };
      },
      signal,
    );
    return result.kind === 'ok' ? { ...result, value: [...tags] } : result;
  }

  /** Lists the referrers of a digest; 404 (`missing`) is how an upstream without the referrers API answers. */
  async listReferrers(
    repository: string,
    digest: Digest,
    artifactType: string | undefined,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<UpstreamResult<ReferrersBody>> {
    const path = this.#requests.endpoint(repository, `referrers/${digest}`);
    if (artifactType !== undefined) path.searchParams.set('artifactType', artifactType);
    const bodies: Buffer[] = [];
    let filtersApplied: string | undefined;
    let left = maxBytes;
    const result = await this.#requests.pages(
      'list-referrers',
      repository,
      { path, accept: mediaTypes.ociIndex, maxBytes },
      ({ headers, body }) => {
        left -= body.length;
        if (left < 0) return { kind: 'refused', reason: `its list of referrers exceeds ${maxBytes} bytes` };
        if (!isReferrersType(headers['content-type'])) {
          return { kind: 'refused', reason: 'it sent something else where a list of referrers was due' };
        }
        filtersApplied ??= headers['oci-filters-applied'];
        bodies.push(body);
        return { kind: 'value', value: 'more' };
      },
      signal,
    );
    if (result.kind !== 'ok') return result;
    const bytes = mergeReferrers(bodies);
    if (bytes) return { ...result, value: { bytes, mediaType: mediaTypes.ociIndex, filtersApplied } };
    const cause = new UpstreamError('its list of referrers is malformed', {
      upstream: this.name,
      op: 'list-referrers',
    });
    return { kind: 'unavailable', upstream: this.name, cause };
  }

  /**
   * Asks whether it is there, with `GET /v2/` and no credentials, unless its health forbids it: 200 or 401 is
   * `alive`. Health is told the outcome.
   */
  probe(signal: AbortSignal): Promise<ProbeOutcome> {
    return this.#requests.probe(signal);
  }

  /** Ends everything that is under way here; hops are ended by their signals. */
  async close(): Promise<void> {
    this.#auth.close();
    await this.#http.close();
  }

  #wireRequest(url: URL, headers: Readonly<Record<string, string>>): WireRequest {
    const { ca, connectTimeout, headersTimeout, stallTimeout } = this.#options;
    const proxy = proxyFor(url, this.#options.proxy);
    return {
      url: url.href,
      headers,
      ...(ca !== undefined && { ca }),
      ...(proxy !== undefined && { proxy: { url: proxy } }),
      connectTimeout,
      headersTimeout,
      stallTimeout,
    };
  }
}

function manifestPath(reference: Reference): string {
  return `manifests/${referenceText(reference)}`;
}
