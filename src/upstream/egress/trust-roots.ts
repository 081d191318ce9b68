import { createSecureContext, getCACertificates, type SecureContext } from 'node:tls';

/** What TLS connections trust, worked out once for each set of further authorities: that takes milliseconds. */
export class TrustRoots {
  readonly #contexts = new Map<string, SecureContext>();

  /** Node's default roots and the given PEM certificates; `undefined`, for the default roots alone, without any. */
  context(ca: string | undefined): SecureContext | undefined {
    if (ca === undefined) return undefined;
    let context = this.#contexts.get(ca);
    if (context === undefined) {
      context = createSecureContext({ ca: [...getCACertificates('default'), ca] });
      this.#contexts.set(ca, context);
    }
    return context;
  }
}
