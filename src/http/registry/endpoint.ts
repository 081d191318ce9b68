import type { Route } from '../../oci/route.ts';
import type { Denied } from '../../pull/admission/admission.ts';
import type { ResolvedRepository } from '../../pull/repository.ts';
import type { Exchange } from '../exchange.ts';

/** A route that leads to content of a repository. */
export type ContentRoute = Extract<Route, { kind: 'manifest' | 'blob' | 'tags' | 'referrers' }>;

/** A request for content of a repository, from a client that may ask for it. */
export type ContentRequest<R extends ContentRoute = ContentRoute> = {
  readonly exchange: Exchange;
  readonly route: R;
  readonly target: ResolvedRepository;
};

/** Answers the requests of one kind of content. */
export type Endpoint<R extends ContentRoute, A extends { readonly kind: 'allow' }> = {
  /** Asks the policy about what is asked for. */
  admit(request: ContentRequest<R>): A | Denied | Promise<A | Denied>;
  /**
   * Answers what the policy allows.
   * @throws OciError before the first byte of the answer
   */
  send(request: ContentRequest<R>, admitted: A): void | Promise<void>;
};
