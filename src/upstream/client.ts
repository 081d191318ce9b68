import type { LookupFunction } from 'node:net';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { manifestAccept } from '../oci/media-types.ts';
import { type Reference, referenceText } from '../oci/reference.ts';
import { UpstreamAuth } from './auth/auth.ts';
import { type CredentialSource, credentialSource } from './auth/credentials.ts';
import { type EgressRule, egressRule } from './egress/egress.ts';
import { proxyFor } from './egress/proxy-choice.ts';
import { UpstreamHealth } from './health/health.ts';
import { declaredLength, SmallHttp } from './http/small-http.ts';
import { listReferrers, listTags } from './requests/all-pages.ts';
import type { BlobRequest } from './requests/blob-request.ts';
import { manifestHeadType, manifestType } from './requests/manifest-type.ts';
import { type ClientLogin, mayPull } from './requests/may-pull.ts';
import { type ProbeOutcome, type Reading, RegistryRequests } from './requests/registry-requests.ts';
import type { BlobRange, ManifestBody, ManifestHead, ReferrersBody, UpstreamResult } from './result.ts';
import { parseUpstreamUrl, type UpstreamOptions } from './upstream-options.ts';
import type { WireRequest } from './wire/messages.ts';

/**
 * What a client works with. `observe` is told of each operation (an `UpstreamOp`, token requests included), how it
 * came out (the result's kind, or `aborted`), and how many milliseconds it took. `health` is told how requests
 * went. `lookup` is the system's name lookup unless given.
 */
export type UpstreamDeps = {
  readonly log: Log;
  readonly clock: Clock;
  /** The health of an upstream of this name; a client without has a health of its own. */
  readonly health?: (name: string) => UpstreamHealth;
  readonly lookup?: LookupFunction;
  observe(op: string, outcome: string, ms: number): void;
};

/**
 * The client of one upstream: it authenticates, follows redirects by hand, judges media types, and says in plain
 * values what the upstream said. It verifies no digest, keeps no content and decides no policy. Every method
 * that takes a signal rejects with its reason on abort, and otherwise resolves to an {@link UpstreamResult}.
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
  /** The memories of the bandwidth limits that its connections for blobs keep. */
  readonly bandwidths: readonly SharedArrayBuffer[];
  /** What is known of its speed, limits and failures: from this client's requests, and from what callers add. */
  readonly health: UpstreamHealth;
  readonly #options: UpstreamOptions;
  readonly #http: SmallHttp;
  readonly #auth: UpstreamAuth;
  readonly #requests: RegistryRequests;
  readonly #egress: EgressRule;
  readonly #credentials: CredentialSource | undefined;
  readonly #mayPull: (wanted: ClientLogin, signal: AbortSignal) => Promise<UpstreamResult<true>>;

  /**
   * Throws a `TypeError` for a URL that is not https (or http with `insecure`), or holds credentials or a query, and
   * for more than one source of credentials.
   */
  constructor(deps: UpstreamDeps, options: UpstreamOptions) {
    const { url, base } = parseUpstreamUrl(options);
    const { clock, log } = deps;
    const observe = deps.observe.bind(deps);
    this.name = `${url.host}/${base}`.replace(/\/$/, '');
    this.origin = url.origin;
    this.tags = options.tags;
    this.maxConnections = options.maxConnections ?? 1;
    this.minSpeed = options.minSpeed ?? 0;
    this.bandwidths = options.bandwidths ?? [];
    this.health = deps.health?.(this.name) ?? new UpstreamHealth({ clock, random: Math.random });
    this.#options = options;
    const { name, health } = this;
    const { trustedRealms = [] } = options;
    this.#egress = egressRule(url, trustedRealms);
    this.#http = new SmallHttp({ lookup: deps.lookup }, { ...options, egress: this.#egress });
    this.#credentials = credentialSource({ clock }, url, options);
    const tools = { http: this.#http, clock, log, observe, health };
    this.#auth = new UpstreamAuth(tools, { name, url, trustedRealms, credentials: this.#credentials });
    this.#mayPull = (wanted, signal) => mayPull(tools, { name, url, base, trustedRealms }, wanted, signal);
    this.#requests = new RegistryRequests({ ...tools, auth: this.#auth }, { name, url, base });
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
   * A request for a blob's bytes from `start` up to but not including `end`, or to the blob's end. It says what to send
   * and is told what became of it; nothing is sent here.
   */
  getBlob(repository: string, digest: Digest, { start, end }: BlobRange): BlobRequest {
    const range =
      start > 0 || end !== undefined ? { range: `bytes=${start}-${end === undefined ? '' : end - 1}` } : {};
    const headers = { 'user-agent': this.#options.userAgent, accept: '*/*', ...range };
    const path = `blobs/${digest}`;
    return this.#requests.blob(repository, { path, headers }, (url, own) => this.#wireRequest(url, own));
  }

  /** Lists tags, at most `limit` of them, page by page within the upstream's origin; what is no tag is left out. */
  listTags(
    repository: string,
    limit: number,
    signal: AbortSignal,
  ): Promise<UpstreamResult<readonly string[]>> {
    return listTags(this.#requests, repository, limit, signal);
  }

  /** Lists the referrers of a digest; 404 (`missing`) is how an upstream without the referrers API answers. */
  listReferrers(
    repository: string,
    digest: Digest,
    artifactType: string | undefined,
    maxBytes: number,
    signal: AbortSignal,
  ): Promise<UpstreamResult<ReferrersBody>> {
    return listReferrers(this.#requests, repository, { digest, artifactType, maxBytes }, signal);
  }

  /**
   * Asks whether a client's own login may pull a manifest, by a HEAD with it. `authorization` is the client's Basic
   * header; it is sent to the upstream, or to its judged token realm, and kept nowhere. `denied` when it is
   * no such header, and when the upstream asks nobody for a login: then none was judged.
   */
  mayPull(
    repository: string,
    reference: Reference,
    authorization: string,
    signal: AbortSignal,
  ): Promise<UpstreamResult<true>> {
    return this.#mayPull({ repository, reference, authorization }, signal);
  }

  /**
   * Asks whether it is there, with `GET /v2/` and no credentials, unless its health forbids it: 200 or 401 is
   * `alive`. Health is told the outcome.
   */
  probe(signal: AbortSignal): Promise<ProbeOutcome> {
    return this.#requests.probe(signal);
  }

  /** Ends everything that is under way here. Requests for blobs are ended by whoever sends them. */
  async close(): Promise<void> {
    this.#auth.close();
    this.#credentials?.close();
    await this.#http.close();
  }

  #wireRequest(url: URL, headers: Readonly<Record<string, string>>): WireRequest {
    const { ca, connectTimeout, headersTimeout, stallTimeout } = this.#options;
    const proxy = proxyFor(url, this.#options.proxy);
    return {
      url: url.href,
      headers,
      egress: this.#egress,
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
