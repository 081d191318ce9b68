import { OciError } from '../oci/errors.ts';
import { isIndexMediaType } from '../oci/media-types.ts';
import { referenceText } from '../oci/reference.ts';
import { parseRoute, type Route } from '../oci/route.ts';
import type { PolicyDecision, TagRules } from '../policy/tag-rules.ts';
import { isDerivedTag } from '../pull/freshness.ts';
import type { PullListings } from '../pull/listings.ts';
import type { ManifestAnswer, PullManifests } from '../pull/manifests.ts';
import type { Namespaces } from '../pull/namespaces.ts';
import type { PullTimes } from '../pull/pull-times.ts';
import { imageName, type ResolvedRepository } from '../pull/registry.ts';
import type { BlobEndpoint } from './blob-endpoint.ts';
import { etagOf, noneMatch } from './conditions.ts';
import { type Exchange, header } from './exchange.ts';
import { type Headers, sendNotModified, sendWhole, serverTiming } from './respond.ts';

/** Characters of a warning: enough for a reason, little enough for any client's header limit. */
const longestWarning = 300;

/** What the API stands on. */
type RegistryApiDeps = {
  namespaces: Namespaces;
  manifests: PullManifests;
  blobs: BlobEndpoint;
  listings: PullListings;
  rules: TagRules;
  pullTimes: PullTimes;
  now(): number;
};

/** The distribution-spec's pull API (version 1.1), over what the pull room offers. */
export class RegistryApi {
  readonly #deps: RegistryApiDeps;

  constructor(deps: RegistryApiDeps) {
    this.#deps = deps;
  }

  /**
   * Answers one request below `/v2/`, or below a mirror path (`/docker.io/v2/`).
   * @throws OciError for whatever the client must be told
   */
  async handle(exchange: Exchange): Promise<void> {
    const { incoming, facts } = exchange;
    const route = parseRoute(incoming.url ?? '');
    facts.route = route.kind;
    if (incoming.method !== 'GET' && incoming.method !== 'HEAD') throw notWritable();
    switch (route.kind) {
      case 'base':
        sendWhole(exchange, { 'Content-Type': 'application/json' }, '{}');
        return;
      case 'manifest':
        return this.#manifest(exchange, route);
      case 'blob': {
        const target = this.#resolve(exchange, route);
        facts.reference = route.digest;
        require(this.#deps.rules.repository(imageName(target)));
        return this.#deps.blobs.send(exchange, target, route.digest, namespaceHeader(route));
      }
      case 'tags':
        return this.#tags(exchange, route);
      case 'referrers':
        return this.#referrers(exchange, route);
      case 'upload':
        throw new OciError('BLOB_UPLOAD_UNKNOWN', 'there are no uploads here: this mirror only serves pulls');
      case 'invalid':
        throw new OciError(route.code, route.message);
      case 'unknown':
        throw new OciError(
          'NAME_UNKNOWN',
          'no such endpoint: see the distribution-spec for the paths of a registry',
        );
      default:
        route satisfies never;
    }
  }

  #resolve(exchange: Exchange, route: { address: Parameters<Namespaces['resolve']>[0] }): ResolvedRepository {
    const target = this.#deps.namespaces.resolve(route.address, header(exchange.incoming, 'host'));
    exchange.facts.image = imageName(target);
    return target;
  }

  async #manifest(exchange: Exchange, route: Extract<Route, { kind: 'manifest' }>): Promise<void> {
    const { incoming, outgoing, facts } = exchange;
    const { reference } = route;
    const { manifests, rules, pullTimes, now } = this.#deps;
    const target = this.#resolve(exchange, route);
    facts.reference = referenceText(reference);
    // Signatures follow the image that they are about: their tags are no versions.
    const byTag = reference.kind === 'tag' && !isDerivedTag(reference.tag);
    require(byTag ? rules.tag(imageName(target), reference.tag) : rules.repository(imageName(target)));
    const answer =
      manifests.hot(target, reference) ?? (await manifests.pull(target, reference, exchange.signal));
    const { manifest, outcome } = answer;
    facts.outcome = outcome;
    facts.upstream = answer.upstream;
    facts.because = answer.staleBecause;
    pullTimes.note({
      registry: target.registry.name,
      repository: target.repository,
      digest: manifest.digest,
      tag: reference.kind === 'tag' ? reference.tag : undefined,
      at: now(),
    });
    const etag = etagOf(manifest.digest);
    const headers: Headers = {
      'Content-Type': manifest.mediaType,
      'Docker-Content-Digest': manifest.digest,
      ETag: etag,
      'Cache-Control': reference.kind === 'tag' ? 'no-cache' : 'max-age=31536000, immutable',
      'X-Cache': outcome,
      'X-Upstream': answer.upstream,
      'Server-Timing': serverTiming(exchange.startedAt, outcome),
      'OCI-Namespace': route.address.ns,
      Warning: warning(answer),
    };
    if (noneMatch(header(incoming, 'if-none-match'), etag)) {
      sendNotModified(outgoing, headers);
      return;
    }
    facts.bytes = incoming.method === 'HEAD' ? 0 : manifest.bytes.length;
    if (isIndexMediaType(manifest.mediaType)) facts.route = 'index';
    sendWhole(exchange, headers, manifest.bytes);
  }

  async #tags(exchange: Exchange, route: Extract<Route, { kind: 'tags' }>): Promise<void> {
    const target = this.#resolve(exchange, route);
    const { rules, listings } = this.#deps;
    const image = imageName(target);
    require(rules.repository(image));
    const allows = (tag: string) => rules.tag(image, tag).kind === 'allow';
    const { tags, more, outcome } = await listings.tags(target, route, allows, exchange.signal);
    exchange.facts.outcome = outcome;
    const last = tags.at(-1);
    const path = (exchange.incoming.url ?? '').split('?', 1)[0];
    const query = new URLSearchParams({
      ...(route.n !== undefined && { n: String(route.n) }),
      last: last ?? '',
    });
    if (route.address.ns !== undefined) query.set('ns', route.address.ns);
    const body = JSON.stringify({ name: route.address.name, tags });
    const link = more ? `<${path}?${query}>; rel="next"` : undefined;
    const headers = { 'Content-Type': 'application/json', Link: link, 'X-Cache': outcome };
    sendWhole(exchange, { ...headers, ...namespaceHeader(route) }, body);
  }

  async #referrers(exchange: Exchange, route: Extract<Route, { kind: 'referrers' }>): Promise<void> {
    const target = this.#resolve(exchange, route);
    exchange.facts.reference = route.digest;
    require(this.#deps.rules.repository(imageName(target)));
    const { digest, artifactType } = route;
    const answer = await this.#deps.listings.referrers(target, digest, artifactType, exchange.signal);
    exchange.facts.outcome = answer.outcome;
    const headers = {
      'Content-Type': answer.mediaType,
      'OCI-Filters-Applied': answer.filtersApplied,
      'X-Cache': answer.outcome,
    };
    sendWhole(exchange, { ...headers, ...namespaceHeader(route) }, answer.body);
  }
}

function require(decision: PolicyDecision): void {
  if (decision.kind === 'deny') throw new OciError('DENIED', decision.message);
}

function notWritable(): OciError {
  return new OciError(
    'UNSUPPORTED',
    'this mirror only serves pulls: push to the registry itself, then pull the new version through here',
  );
}

function namespaceHeader(route: { address: { ns: string | undefined } }): Headers {
  return { 'OCI-Namespace': route.address.ns };
}

/** The one warning that some clients print (RFC 7234, section 5.5.7), kept to what a quoted string may hold. */
function warning({ staleBecause }: ManifestAnswer): string | undefined {
  if (staleBecause === undefined) return undefined;
  const text = `stale: ${staleBecause}`.replace(/[^\x20-\x7e]/g, '?').replace(/["\\]/g, "'");
  return `299 - "${text.slice(0, longestWarning)}"`;
}
