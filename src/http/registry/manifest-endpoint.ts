import type { Tell } from '../../lib/facts.ts';
import { isIndexMediaType } from '../../oci/media-types.ts';
import type { Denied } from '../../pull/admission/admission.ts';
import type { Admit, AdmittedManifest } from '../../pull/admission/admit.ts';
import type { PullFact } from '../../pull/pull-facts.ts';
import type { PullTimes } from '../../pull/pull-times.ts';
import { askOf, header } from '../exchange.ts';
import { type Headers, sendNotModified, sendWhole, serverTiming } from '../respond.ts';
import { etagOf, noneMatch } from './conditions.ts';
import type { ContentRequest, ContentRoute, Endpoint } from './endpoint.ts';
import { staleWarning } from './stale-warning.ts';
import { namespaceHeader } from './traffic.ts';

type ManifestRoute = Extract<ContentRoute, { kind: 'manifest' }>;
type AllowedManifest = Extract<AdmittedManifest, { kind: 'allow' }>;

/** What the endpoint stands on. */
type ManifestEndpointDeps = {
  admit: Admit;
  pullTimes: PullTimes;
  now(): number;
  /** Told of each manifest that a client got whole. */
  facts: Tell<PullFact>;
};

/** Serves manifests. */
export class ManifestEndpoint implements Endpoint<ManifestRoute, AllowedManifest> {
  readonly #deps: ManifestEndpointDeps;

  constructor(deps: ManifestEndpointDeps) {
    this.#deps = deps;
  }

  /** @throws OciError as `Admit.manifest` does */
  admit({
    exchange,
    route,
    target,
  }: ContentRequest<ManifestRoute>): AllowedManifest | Denied | Promise<AllowedManifest | Denied> {
    return this.#deps.admit.manifest(askOf(exchange, target, route.reference));
  }

  send({ exchange, route, target }: ContentRequest<ManifestRoute>, { answer }: AllowedManifest): void {
    const { incoming, outgoing, facts } = exchange;
    const { reference } = route;
    const { manifest, outcome } = answer;
    facts.outcome = outcome;
    facts.upstream = answer.upstream;
    facts.because = answer.staleBecause;
    this.#deps.pullTimes.note({
      kind: 'manifest',
      registry: target.registry.name,
      repository: target.repository,
      digest: manifest.digest,
      tag: reference.kind === 'tag' ? reference.tag : undefined,
      at: this.#deps.now(),
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
      ...namespaceHeader(route, target),
      Warning: staleWarning(answer.staleBecause),
    };
    if (noneMatch(header(incoming, 'if-none-match'), etag)) {
      sendNotModified(outgoing, headers);
      return;
    }
    facts.bytes = incoming.method === 'HEAD' ? 0 : manifest.bytes.length;
    if (isIndexMediaType(manifest.mediaType)) facts.route = 'index';
    sendWhole(exchange, headers, manifest.bytes);
    if (incoming.method !== 'HEAD') this.#deps.facts.tell({ kind: 'manifest-served', target, manifest });
  }
}
