import { settle } from '../../lib/settle.ts';
import { OciError } from '../../oci/errors.ts';
import { referenceText } from '../../oci/reference.ts';
import { parseRoute } from '../../oci/route.ts';
import { actionOf } from '../../policy/access.ts';
import type { Namespaces } from '../../pull/namespaces.ts';
import { imageName } from '../../pull/repository.ts';
import type { Gatekeeper } from '../access/gatekeeper.ts';
import { type Exchange, header } from '../exchange.ts';
import { sendWhole } from '../respond.ts';
import type { BlobEndpoint } from './blob-endpoint.ts';
import type { ContentRoute, Endpoint } from './endpoint.ts';
import type { ReferrersEndpoint, TagsEndpoint } from './list-endpoints.ts';
import type { ManifestEndpoint } from './manifest-endpoint.ts';
import type { Refusals } from './refusals.ts';

/** What the API stands on. */
type RegistryApiDeps = {
  namespaces: Namespaces;
  gatekeeper: Gatekeeper;
  refusals: Refusals;
  manifests: ManifestEndpoint;
  blobs: BlobEndpoint;
  tags: TagsEndpoint;
  referrers: ReferrersEndpoint;
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
    const { gatekeeper, manifests, blobs, tags, referrers } = this.#deps;
    const route = parseRoute(incoming.url ?? '');
    facts.route = route.kind;
    if (actionOf(incoming.method ?? '') !== 'pull') throw notWritable();
    switch (route.kind) {
      case 'base':
        return settle(gatekeeper.base(exchange), () => {
          sendWhole(exchange, { 'Content-Type': 'application/json' }, '{}');
        });
      case 'manifest':
        return this.#serve(exchange, route, manifests);
      case 'blob':
        return this.#serve(exchange, route, blobs);
      case 'tags':
        return this.#serve(exchange, route, tags);
      case 'referrers':
        return this.#serve(exchange, route, referrers);
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

  /** The one way to content: which registry is meant, who asks, what policy says, then the answer. */
  #serve<R extends ContentRoute, A extends { readonly kind: 'allow' }>(
    exchange: Exchange,
    route: R,
    endpoint: Endpoint<R, A>,
  ): void | Promise<void> {
    const { namespaces, gatekeeper, refusals } = this.#deps;
    const target = namespaces.resolve(route.address, header(exchange.incoming, 'host'));
    exchange.facts.image = imageName(target);
    exchange.facts.reference = referenceOf(route);
    const request = { exchange, route, target };
    return settle(gatekeeper.require(exchange, route, target, 'pull'), () => {
      if (refusals.standsIn(request)) return;
      return settle(endpoint.admit(request), (admitted) => {
        if (admitted.kind === 'deny') return refusals.deny(request, admitted.message);
        return endpoint.send(request, admitted);
      });
    });
  }
}

function referenceOf(route: ContentRoute): string | undefined {
  switch (route.kind) {
    case 'manifest':
      return referenceText(route.reference);
    case 'blob':
    case 'referrers':
      return route.digest;
    case 'tags':
      return undefined;
    default:
      return route satisfies never;
  }
}

function notWritable(): OciError {
  return new OciError(
    'UNSUPPORTED',
    'this mirror only serves pulls: push to the registry itself, then pull the new version through here',
  );
}
