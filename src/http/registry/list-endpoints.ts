import type { Allowed, Denied } from '../../pull/admission/admission.ts';
import type { Admit } from '../../pull/admission/admit.ts';
import type { ShownTags } from '../../pull/admission/shown-tags.ts';
import type { PullListings } from '../../pull/listings/listings.ts';
import type { HowListed } from '../../pull/listings/pages.ts';
import { askOf, type Exchange } from '../exchange.ts';
import { type Headers, sendWhole } from '../respond.ts';
import type { ContentRequest, ContentRoute, Endpoint } from './endpoint.ts';
import { staleWarning } from './stale-warning.ts';
import { namespaceHeader } from './traffic.ts';

type TagsRoute = Extract<ContentRoute, { kind: 'tags' }>;
type ReferrersRoute = Extract<ContentRoute, { kind: 'referrers' }>;

/** Serves the tags of a repository, as far as policy lets them be shown. */
export class TagsEndpoint implements Endpoint<TagsRoute, Allowed> {
  readonly #deps: { readonly admit: Admit; readonly shownTags: ShownTags };

  constructor(deps: { admit: Admit; shownTags: ShownTags }) {
    this.#deps = deps;
  }

  admit({ exchange, target }: ContentRequest<TagsRoute>): Allowed | Denied | Promise<Allowed | Denied> {
    return this.#deps.admit.repository(askOf(exchange, target, undefined));
  }

  /** @throws OciError as `ShownTags.page` does */
  async send({ exchange, route, target }: ContentRequest<TagsRoute>): Promise<void> {
    const ask = askOf(exchange, target, undefined);
    const { tags, more, ...how } = await this.#deps.shownTags.page(ask, route);
    const body = JSON.stringify({ name: route.address.name, tags });
    const headers = {
      'Content-Type': 'application/json',
      Link: more ? nextPage({ exchange, route, target }, tags.at(-1) ?? '') : undefined,
      ...told(exchange, how),
      ...namespaceHeader(route, target),
    };
    sendWhole(exchange, headers, body);
  }
}

/** Serves the list of what refers to a digest, where policy lets the digest be served. */
export class ReferrersEndpoint implements Endpoint<ReferrersRoute, Allowed> {
  readonly #deps: { readonly admit: Admit; readonly listings: PullListings };

  constructor(deps: { admit: Admit; listings: PullListings }) {
    this.#deps = deps;
  }

  admit(request: ContentRequest<ReferrersRoute>): Allowed | Denied | Promise<Allowed | Denied> {
    const { exchange, route, target } = request;
    return this.#deps.admit.content(askOf(exchange, target, { kind: 'digest', digest: route.digest }));
  }

  /** @throws OciError as `PullListings.referrers` does */
  async send({ exchange, route, target }: ContentRequest<ReferrersRoute>): Promise<void> {
    const ask = askOf(exchange, target, { kind: 'digest', digest: route.digest } as const);
    const answer = await this.#deps.listings.referrers(ask, route.artifactType);
    const headers = {
      'Content-Type': answer.mediaType,
      'OCI-Filters-Applied': answer.filtersApplied,
      ...told(exchange, answer),
      ...namespaceHeader(route, target),
    };
    sendWhole(exchange, headers, answer.body);
  }
}

/** The `Link` header that leads to what follows `last`. */
function nextPage({ exchange, route, target }: ContentRequest<TagsRoute>, last: string): string {
  const path = (exchange.incoming.url ?? '').split('?', 1)[0];
  const query = new URLSearchParams({ ...(route.n !== undefined && { n: String(route.n) }), last });
  if (route.address.ns !== undefined) query.set('ns', target.registry.name);
  return `<${path}?${query}>; rel="next"`;
}

/** Tells the log and the client how a list was come by. Lists change, so that no cache may keep one unasked. */
function told({ facts }: Exchange, { outcome, staleBecause }: HowListed): Headers {
  facts.outcome = outcome;
  facts.because = staleBecause;
  return { 'Cache-Control': 'no-cache', 'X-Cache': outcome, Warning: staleWarning(staleBecause) };
}
