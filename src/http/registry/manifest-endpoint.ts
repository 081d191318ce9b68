import type { Tell } from '../../lib/facts.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { isIndexMediaType } from '../../oci/media-types.ts';
import { isDerivedTag, type Reference, referenceText } from '../../oci/reference.ts';
import type { Route } from '../../oci/route.ts';
import type { DeniedManifest, DeniedManifests } from '../../policy/denied-manifest.ts';
import type { Admission, Admitted } from '../../pull/admission/admission.ts';
import type { ManifestAnswer } from '../../pull/manifests/answer.ts';
import type { PullManifests } from '../../pull/manifests/manifests.ts';
import type { PullTimes } from '../../pull/manifests/pull-times.ts';
import type { PullFact } from '../../pull/pull-facts.ts';
import { imageName, type ResolvedRepository } from '../../pull/repository.ts';
import { askOf, type Exchange, header } from '../exchange.ts';
import type { RequestFact } from '../request-facts.ts';
import { type Headers, sendNotModified, sendWhole, serverTiming } from '../respond.ts';
import { etagOf, noneMatch } from './conditions.ts';
import { staleWarning } from './stale-warning.ts';
import { isMirrorTraffic, namespaceHeader } from './traffic.ts';

type ManifestRoute = Extract<Route, { kind: 'manifest' }>;

/** What the endpoint stands on. */
type ManifestEndpointDeps = {
  manifests: PullManifests;
  admission: Admission;
  denials: DeniedManifests;
  pullTimes: PullTimes;
  now(): number;
  /** Told of each manifest that a client got whole, and of each that policy denies. */
  facts: Tell<PullFact | RequestFact>;
};

/** Serves manifests, as far as policy lets it. */
export class ManifestEndpoint {
  readonly #deps: ManifestEndpointDeps;
  readonly #failClosed: boolean;

  /** @param options.failClosed whether clients of a mirror get a manifest that stops them in place of a denial */
  constructor(deps: ManifestEndpointDeps, options: { failClosed: boolean }) {
    this.#deps = deps;
    this.#failClosed = options.failClosed;
  }

  /**
   * Answers a GET or HEAD of a manifest.
   * @throws OciError `DENIED` by policy, or as `PullManifests.pull` does
   */
  async send(exchange: Exchange, route: ManifestRoute, target: ResolvedRepository): Promise<void> {
    const { manifests, denials } = this.#deps;
    const { facts } = exchange;
    const { reference } = route;
    facts.reference = referenceText(reference);
    if (reference.kind === 'digest' && this.#failClosed) {
      const standIn = denials.manifest(imageName(target), reference.digest);
      if (standIn !== undefined) return sendStandIn(exchange, route, target, standIn);
    }
    const asked = this.#judge(exchange, target, reference);
    const admitted = asked instanceof Promise ? await asked : asked;
    if (admitted.kind === 'deny') return this.#deny(exchange, route, target, admitted.message);
    const { terms } = admitted;
    const ask = askOf(exchange, target, reference);
    const answer = manifests.hot(ask, terms) ?? (await manifests.pull(ask, terms));
    if (!admitted.certain || (reference.kind === 'digest' && answer.outcome !== 'hit')) {
      // Only now is it known what the tag names, or what the manifest refers to.
      const final = await this.#judge(exchange, target, reference, answer.manifest.digest);
      if (final.kind === 'deny') return this.#deny(exchange, route, target, final.message);
    }
    this.#sendAnswer(exchange, route, target, answer);
  }

  #judge(
    { signal }: Exchange,
    target: ResolvedRepository,
    reference: Reference,
    named?: Digest,
  ): Admitted | Promise<Admitted> {
    const { admission } = this.#deps;
    return reference.kind === 'tag'
      ? admission.tag(target, reference.tag, named, signal)
      : admission.digest(target, named ?? reference.digest, signal);
  }

  #deny(exchange: Exchange, route: ManifestRoute, target: ResolvedRepository, message: string): void {
    const { reference } = route;
    const image = imageName(target);
    this.#deps.facts.tell({ kind: 'request-denied', exchange, image, byTag: reference.kind === 'tag' });
    const version = reference.kind === 'tag' && !isDerivedTag(reference.tag);
    const agent = header(exchange.incoming, 'user-agent');
    if (!this.#failClosed || !version || !isMirrorTraffic(route, target, agent)) {
      throw new OciError('DENIED', message);
    }
    exchange.facts.error = 'DENIED';
    exchange.facts.because = message;
    sendStandIn(exchange, route, target, this.#deps.denials.make(image, message));
  }

  #sendAnswer(
    exchange: Exchange,
    route: ManifestRoute,
    target: ResolvedRepository,
    answer: ManifestAnswer,
  ): void {
    const { incoming, outgoing, facts } = exchange;
    const { reference } = route;
    const { manifest, outcome } = answer;
    facts.outcome = outcome;
    facts.upstream = answer.upstream;
    facts.because = answer.staleBecause;
    this.#deps.pullTimes.note({
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

function sendStandIn(
  exchange: Exchange,
  route: ManifestRoute,
  target: ResolvedRepository,
  { digest, mediaType, bytes }: DeniedManifest,
): void {
  const headers = {
    'Content-Type': mediaType,
    'Docker-Content-Digest': digest,
    'Cache-Control': 'no-store',
    ...namespaceHeader(route, target),
  };
  sendWhole(exchange, headers, bytes);
}
