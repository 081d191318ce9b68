import type { Exchange } from './exchange.ts';

/** What becomes known while requests are answered. */
export type RequestFact =
  /** Policy denied what was asked for, by its tag or by a digest. */
  | {
      readonly kind: 'request-denied';
      readonly exchange: Exchange;
      readonly image: string;
      readonly byTag: boolean;
    }
  /** An answer has gone out, or its client has; `ms` since the request. */
  | { readonly kind: 'request-ended'; readonly exchange: Exchange; readonly ms: number };
