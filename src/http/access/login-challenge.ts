import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Action } from '../../policy/access.ts';
import { tokenService } from '../../policy/tokens.ts';

const host = /^(?:[a-z0-9](?:[a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$/i;
const repositoryName = /^[a-z0-9][a-z0-9._:/-]*$/;

/** What a token must cover, as a `scope` names it: whoever may push must also read what is there. */
const scopeActions = {
  pull: 'pull',
  push: 'pull,push',
  delete: 'delete',
  admin: undefined,
} as const satisfies Record<Action, string | undefined>;

/** The `Host` header when it has the form `host[:port]`, so that it may stand in an answer. */
function hostOf(incoming: IncomingMessage): string | undefined {
  const { host: value } = incoming.headers;
  return value !== undefined && value.length <= 255 && host.test(value) ? value : undefined;
}

/** What a challenge asks for. */
export type LoginChallenge = {
  /** The URL of the token route; `undefined`: at the host that the client used. */
  readonly realm: string | undefined;
  /** `bearer` alone, `basic` alone, or both, of which clients take the first that they know. */
  readonly schemes: 'bearer' | 'basic' | 'both';
  readonly scope?: { readonly name: string; readonly action: Action } | undefined;
  /** RFC 6750, section 3.1: what was wrong with the token that was sent. */
  readonly error?: 'invalid_token' | 'insufficient_scope' | undefined;
};

/**
 * Puts the `WWW-Authenticate` fields of a 401 on a response (RFC 9110, section 11.6.1), one field a challenge.
 * Where the request names no usable host there is no realm to name, and the challenge is Basic.
 */
export function setChallenge(
  { incoming, outgoing }: { incoming: IncomingMessage; outgoing: ServerResponse },
  { realm, schemes, scope, error }: LoginChallenge,
): void {
  const url = realm ?? ownRealm(incoming);
  const fields: string[] = [];
  if (schemes !== 'basic' && url !== undefined) {
    const params = [`realm="${url}"`, `service="${tokenService}"`];
    const actions = scope && scopeActions[scope.action];
    if (scope !== undefined && actions !== undefined && repositoryName.test(scope.name)) {
      params.push(`scope="repository:${scope.name}:${actions}"`);
    }
    if (error !== undefined) params.push(`error="${error}"`);
    fields.push(`Bearer ${params.join(',')}`);
  }
  if (schemes !== 'bearer' || fields.length === 0)
    fields.push(`Basic realm="${tokenService}", charset="UTF-8"`);
  outgoing.setHeader('WWW-Authenticate', fields);
}

function ownRealm(incoming: IncomingMessage): string | undefined {
  const own = hostOf(incoming);
  if (own === undefined) return undefined;
  // A proxy before us may have ended TLS. Its word is only taken for more protection of the login, never for less.
  const secure = 'encrypted' in incoming.socket || incoming.headers['x-forwarded-proto'] === 'https';
  return `${secure ? 'https' : 'http'}://${own}/token`;
}
