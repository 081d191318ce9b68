import type { Tell } from '../../lib/facts.ts';
import { OciError } from '../../oci/errors.ts';
import { isDerivedTag } from '../../oci/reference.ts';
import type { DeniedManifest, DeniedManifests } from '../../policy/denied-manifest.ts';
import { imageName } from '../../pull/repository.ts';
import { header } from '../exchange.ts';
import type { RequestFact } from '../request-facts.ts';
import { sendWhole } from '../respond.ts';
import type { ContentRequest } from './endpoint.ts';
import { isMirrorTraffic, namespaceHeader } from './traffic.ts';

/**
 * Answers what policy denies: with an error, or, where policy fails closed, with a manifest that stands in for the
 * denied image and that no engine can run. Clients that use a mirror take every error for a reason to ask the registry
 * itself.
 */
export class Refusals {
  readonly #denials: DeniedManifests;
  readonly #facts: Tell<RequestFact>;
  readonly #failClosed: boolean;

  /** @param options.failClosed whether clients of a mirror get a manifest that stops them in place of a denial */
  constructor(
    deps: {
      denials: DeniedManifests;
      /** Told of each manifest, blob and list of referrers that is denied. */
      facts: Tell<RequestFact>;
    },
    options: { failClosed: boolean },
  ) {
    this.#denials = deps.denials;
    this.#facts = deps.facts;
    this.#failClosed = options.failClosed;
  }

  /**
   * Answers a request for a stand-in manifest by its digest. Says whether it was one.
   * @throws OciError `DENIED` for a stand-in manifest's config
   */
  standsIn(request: ContentRequest): boolean {
    const { route, target } = request;
    if (route.kind === 'blob') {
      const reason = this.#denials.reason(imageName(target), route.digest);
      if (reason !== undefined) throw new OciError('DENIED', reason);
    }
    if (route.kind !== 'manifest' || route.reference.kind !== 'digest' || !this.#failClosed) return false;
    const manifest = this.#denials.manifest(imageName(target), route.reference.digest);
    if (manifest === undefined) return false;
    sendStandIn(request, manifest);
    return true;
  }

  /**
   * Answers a request that policy denies.
   * @throws OciError `DENIED`, unless a stand-in manifest is the answer
   */
  deny(request: ContentRequest, message: string): void {
    const { exchange, route, target } = request;
    const image = imageName(target);
    const reference = route.kind === 'manifest' ? route.reference : undefined;
    if (route.kind !== 'tags') {
      this.#facts.tell({ kind: 'request-denied', exchange, image, byTag: reference?.kind === 'tag' });
    }
    const version = reference?.kind === 'tag' && !isDerivedTag(reference.tag);
    const agent = header(exchange.incoming, 'user-agent');
    if (!this.#failClosed || !version || !isMirrorTraffic(route, target, agent)) {
      throw new OciError('DENIED', message);
    }
    exchange.facts.error = 'DENIED';
    exchange.facts.because = message;
    sendStandIn(request, this.#denials.make(image, message));
  }
}

function sendStandIn(
  { exchange, route, target }: ContentRequest,
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
