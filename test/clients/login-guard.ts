import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

/** The one account of a registry. */
export type Login = { readonly username: string; readonly password: string };

/** What stops a request. */
type Stop = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
};

/** Demands a bearer token, and gives one to who has the login (distribution's "Token Authentication Specification"). */
export class LoginGuard {
  readonly #basic: string;
  readonly #tokens = new Set<string>();

  constructor({ username, password }: Login) {
    this.#basic = `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
  }

  /** The answer to a request that may not pass, or that asks for a token; `undefined` lets it pass. */
  judge({ url = '', headers: { authorization, host } }: IncomingMessage): Stop | undefined {
    if (url.startsWith('/token?')) {
      if (authorization !== this.#basic) return stop(401, { errors: [{ code: 'UNAUTHORIZED' }] });
      const token = randomUUID();
      this.#tokens.add(token);
      return stop(200, { token, expires_in: 300 });
    }
    const [scheme, token = ''] = authorization?.split(' ') ?? [];
    if (scheme === 'Bearer' && this.#tokens.has(token)) return undefined;
    const repository = /^\/v2\/(.+)\/(?:manifests|blobs)\//.exec(url)?.[1];
    const scope = repository === undefined ? '' : `,scope="repository:${repository}:pull"`;
    const challenge = `Bearer realm="http://${host}/token",service="guarded"${scope}`;
    return stop(401, { errors: [{ code: 'UNAUTHORIZED' }] }, { 'www-authenticate': challenge });
  }
}

function stop(status: number, body: unknown, headers: Readonly<Record<string, string>> = {}): Stop {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}
