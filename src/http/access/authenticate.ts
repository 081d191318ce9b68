import type { IncomingMessage } from 'node:http';
import { settle } from '../../lib/settle.ts';
import { anonymous, type Identity } from '../../policy/access.ts';
import type { Passwords } from '../../policy/passwords.ts';
import type { Tokens } from '../../policy/tokens.ts';

/** What an `Authorization` header holds (RFC 7617 and RFC 6750); nothing of it is ever logged. */
type Credentials =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic'; readonly name: string; readonly password: string }
  | { readonly kind: 'bearer'; readonly token: string }
  | { readonly kind: 'malformed' };

/**
 * Who asks, or why that is not known. `foreign`: a name that no user has, with the header as it was sent; only
 * told apart where an upstream may know it.
 */
export type Identified =
  | { readonly kind: 'identity'; readonly identity: Identity }
  | { readonly kind: 'invalid'; readonly scheme: 'basic' | 'bearer' }
  | { readonly kind: 'foreign'; readonly authorization: string }
  | { readonly kind: 'limited'; readonly retryAfter: number };

/**
 * Reads an `Authorization` header. Basic with an empty name and an empty password counts as none: podman sends
 * that (`Basic Og==`) when it has no login.
 */
function parseAuthorization(header: string | undefined): Credentials {
  if (header === undefined) return { kind: 'none' };
  const [, scheme = '', value = ''] = /^([A-Za-z]+) +([A-Za-z0-9._~+/-]+=*)[ \t]*$/.exec(header) ?? [];
  switch (scheme.toLowerCase()) {
    case 'basic': {
      const text = Buffer.from(value, 'base64').toString('utf8');
      const colon = text.indexOf(':');
      if (colon < 0) return { kind: 'malformed' };
      if (text === ':') return { kind: 'none' };
      return { kind: 'basic', name: text.slice(0, colon), password: text.slice(colon + 1) };
    }
    case 'bearer':
      return { kind: 'bearer', token: value };
    default:
      return { kind: 'malformed' };
  }
}

/** The address that failed logins of a request are counted for. */
export function clientOf(incoming: IncomingMessage): string {
  return incoming.socket.remoteAddress ?? 'unknown';
}

const nobody: Identified = { kind: 'identity', identity: anonymous };
const invalidPassword: Identified = { kind: 'invalid', scheme: 'basic' };
const invalidToken: Identified = { kind: 'invalid', scheme: 'bearer' };

/** Finds out who a request is from. */
export class Authenticator {
  readonly #passwords: Passwords;
  readonly #tokens: Tokens;
  readonly #passthrough: boolean;

  /** @param options.passthrough whether names that no user has are left to an upstream to judge */
  constructor(deps: { passwords: Passwords; tokens: Tokens }, options: { passthrough: boolean }) {
    this.#passwords = deps.passwords;
    this.#tokens = deps.tokens;
    this.#passthrough = options.passthrough;
  }

  /** Whether anybody can log in; where nobody can, credentials mean nothing and are not looked at. */
  get enabled(): boolean {
    return this.#passthrough || this.#passwords.any;
  }

  /** Whether an upstream may judge a login that is no user's here. */
  get passthrough(): boolean {
    return this.#passthrough;
  }

  /** Who sent a request, by its `Authorization` header; at once for what was found out a moment ago. */
  identify(incoming: IncomingMessage): Identified | Promise<Identified> {
    if (!this.enabled) return nobody;
    const { authorization } = incoming.headers;
    const credentials = parseAuthorization(authorization);
    switch (credentials.kind) {
      case 'none':
        return nobody;
      case 'malformed':
        return invalidPassword;
      case 'bearer':
        return this.#bearer(credentials.token);
      case 'basic': {
        const { name, password } = credentials;
        if (this.#passthrough && authorization !== undefined && !this.#passwords.knows(name)) {
          return { kind: 'foreign', authorization };
        }
        return this.password(name, password, clientOf(incoming));
      }
      default:
        return credentials satisfies never;
    }
  }

  /** Whether a user's password is right: an `identity`, `invalid` or `limited`. */
  password(name: string, password: string, client: string): Identified | Promise<Identified> {
    const verdict = this.#passwords.check(name, password, client);
    return settle(verdict, (reached): Identified => {
      if (reached.kind === 'right') return { kind: 'identity', identity: { kind: 'user', name } };
      return reached.kind === 'limited' ? reached : invalidPassword;
    });
  }

  #bearer(token: string): Identified | Promise<Identified> {
    const verdict = this.#tokens.verify(token);
    return settle(verdict, (bearer): Identified => {
      // A token outlives neither its user nor, by more than minutes, a change of password.
      const gone = bearer?.name !== undefined && !this.#passwords.knows(bearer.name);
      return bearer === undefined || gone ? invalidToken : { kind: 'identity', identity: bearer };
    });
  }
}
