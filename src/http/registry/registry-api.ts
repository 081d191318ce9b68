import type { Tell } from '../../lib/facts.ts';
import { OciError } from '../../oci/errors.ts';
import { parseRoute, type Route } from '../../oci/route.ts';
import { actionOf } from '../../policy/access.ts';
import type { DeniedManifests } from '../../policy/denied-manifest.ts';
import type { Admission, Admitted } from '../../pull/admission/admission.ts';
import type { PullListings } from '../../pull/listings/listings.ts';
import type { HowListed } from '../../pull/listings/pages.ts';
import type { Namespaces } from '../../pull/namespaces.ts';
import { imageName, type ResolvedRepository } from '../../pull/repository.ts';
import type { Gatekeeper } from '../access/gatekeeper.ts';
import { type Exchange, header } from '../exchange.ts';
import type { RequestFact } from '../request-facts.ts';
import { type Headers, sendWhole } from '../respond.ts';
import type { BlobEndpoint } from './blob-endpoint.ts';
import type { ManifestEndpoint } from './manifest-endpoint.ts';
import { staleWarning } from './stale-warning.ts';
import { namespaceHeader } from './traffic.ts';

/** What the API stands on. */
type RegistryApiDeps = {
  namespaces: Namespaces;
  gatekeeper: Gatekeeper;
  admission: Admission;
  denials: DeniedManifests;
  manifests: ManifestEndpoint;
  blobs: BlobEndpoint;
  listings: PullListings;
  /** Told of each blob, and each list of referrers, that policy denies. */
  facts: Tell<RequestFact>;
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
    const { gatekeeper, manifests } = this.#deps;
    const route = parseRoute(incoming.url ?? '');
    facts.route = route.kind;
    const action = actionOf(incoming.method ?? '');
    if (action !== 'pull') throw notWritable();
    switch (route.kind) {
      case 'base': {
        const greeted = gatekeeper.base(exchange);
        if (greeted !== undefined) await greeted;
        sendWhole(exchange, { 'Content-Type': 'application/json' }, '{}');
        return;
      }
      case 'manifest': {
        const target = this.#resolve(exchange, route);
        const entered = gatekeeper.require(exchange, route, target, action);
        if (entered !== undefined) await entered;
        return manifests.send(exchange, route, target);
      }
      case 'blob':
        return this.#blob(exchange, route);
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

  async #blob(exchange: Exchange, route: Extract<Route, { kind: 'blob' }>): Promise<void> {
    const { gatekeeper, admission, denials, blobs } = this.#deps;
    const target = this.#resolve(exchange, route);
    const { digest } = route;
    exchange.facts.reference = digest;
    const entered = gatekeeper.require(exchange, route, target, 'pull');
    if (entered !== undefined) await entered;
    const standIn = denials.reason(imageName(target), digest);
    if (standIn !== undefined) throw new OciError('DENIED', standIn);
    const judged = admission.digest(target, digest, exchange.signal);
    const admitted = judged instanceof Promise ? await judged : judged;
    if (admitted.kind === 'deny') {
      this.#denied(exchange, target);
      throw new OciError('DENIED', admitted.message);
    }
    return blobs.send(exchange, target, digest, namespaceHeader(route, target));
  }

  async #tags(exchange: Exchange, route: Extract<Route, { kind: 'tags' }>): Promise<void> {
    const target = this.#resolve(exchange, route);
    const { admission, listings } = this.#deps;
    await this.#enter(exchange, route, target, () => admission.repository(target));
    const allows = (tag: string) => admission.lists(target, tag);
    const { tags, more, ...how } = await listings.tags(target, route, allows, exchange.signal);
    const last = tags.at(-1);
    const path = (exchange.incoming.url ?? '').split('?', 1)[0];
    const query = new URLSearchParams({
      ...(route.n !== undefined && { n: String(route.n) }),
      last: last ?? '',
    });
    if (route.address.ns !== undefined) query.set('ns', target.registry.name);
    const body = JSON.stringify({ name: route.address.name, tags });
    const link = more ? `<${path}?${query}>; rel="next"` : undefined;
    const headers = { 'Content-Type': 'application/json', Link: link, ...told(exchange, how) };
    sendWhole(exchange, { ...headers, ...namespaceHeader(route, target) }, body);
  }

  async #referrers(exchange: Exchange, route: Extract<Route, { kind: 'referrers' }>): Promise<void> {
    const target = this.#resolve(exchange, route);
    const { digest, artifactType } = route;
    exchange.facts.reference = digest;
    await this.#enter(exchange, route, target, () =>
      this.#deps.admission.digest(target, digest, exchange.signal),
    );
    const answer = await this.#deps.listings.referrers(target, digest, artifactType, exchange.signal);
    const headers = {
      'Content-Type': answer.mediaType,
      'OCI-Filters-Applied': answer.filtersApplied,
      ...told(exchange, answer),
    };
    sendWhole(exchange, { ...headers, ...namespaceHeader(route, target) }, answer.body);
  }

  #denied(exchange: Exchange, target: ResolvedRepository): void {
    this.#deps.facts.tell({ kind: 'request-denied', exchange, image: imageName(target), byTag: false });
  }

  async #enter(
    exchange: Exchange,
    route: Extract<Route, { kind: 'tags' | 'referrers' }>,
    target: ResolvedRepository,
    judge: () => Admitted | Promise<Admitted>,
  ): Promise<void> {
    await this.#deps.gatekeeper.require(exchange, route, target, 'pull');
    const admitted = await judge();
    if (admitted.kind === 'allow') return;
    if (route.kind === 'referrers') this.#denied(exchange, target);
    throw new OciError('DENIED', admitted.message);
  }
}

function notWritable(): OciError {
  return new OciError(
    'UNSUPPORTED',
    'this mirror only serves pulls: push to the registry itself, then pull the new version through here',
  );
}

/** Tells the log and the client how a listing was come by. Lists change, so that no cache may keep one unasked. */
function told({ facts }: Exchange, { outcome, staleBecause }: HowListed): Headers {
  facts.outcome = outcome;
  facts.because = staleBecause;
  return { 'Cache-Control': 'no-cache', 'X-Cache': outcome, Warning: staleWarning(staleBecause) };
}
