import { randomUUID } from 'node:crypto';
import { type Answer, errorAnswer, jsonAnswer } from './fake-answer.ts';
import type { JournalEntry } from './journal.ts';

/** How a fake registry asks who is there. Without a username anybody gets a token. */
export type FakeAuthOptions =
  | {
      readonly kind: 'bearer';
      readonly username?: string;
      readonly password?: string;
      /** Where the challenge sends clients; this registry's own `/token` by default. */
      readonly realm?: string;
      /** The `expires_in` announced, in seconds. */
      readonly expiresIn?: number;
    }
  | { readonly kind: 'basic'; readonly username: string; readonly password: string };

/** The doorkeeper of a fake registry, and its token endpoint. */
export class FakeAuth {
  #options: FakeAuthOptions;
  #origin: () => string;
  #scopes = new Map<string, string>();

  constructor(options: FakeAuthOptions, origin: () => string) {
    this.#options = options;
    this.#origin = origin;
  }

  /** Declares all tokens given out so far expired. */
  expireTokens(): void {
    this.#scopes.clear();
  }

  /** The answer that stops this request, or `undefined` when it may pass. */
  check(entry: JournalEntry): Answer | undefined {
    const given = entry.headers.authorization;
    if (this.#options.kind === 'basic') {
      if (given === basicOf(this.#options)) return undefined;
      return this.#challenge('Basic realm="fake registry"');
    }
    const scope = entry.repository ? `repository:${entry.repository}:pull` : '';
    const granted = given?.startsWith('Bearer ') ? this.#scopes.get(given.slice(7)) : undefined;
    if (granted !== undefined && (scope === '' || granted.split(' ').includes(scope))) return undefined;
    const realm = this.#options.realm ?? `${this.#origin()}/token`;
    const wanted = scope === '' ? '' : `,scope="${scope}"`;
    return this.#challenge(`Bearer realm="${realm}",service="fake.registry"${wanted}`);
  }

  /** Answers `GET /token` (distribution's token authentication specification). */
  token(entry: JournalEntry): Answer {
    if (this.#options.kind === 'basic') return errorAnswer(404, 'NAME_UNKNOWN');
    if (this.#options.username !== undefined && entry.headers.authorization !== basicOf(this.#options)) {
      return errorAnswer(401, 'UNAUTHORIZED');
    }
    const token = `token-${randomUUID()}`;
    this.#scopes.set(token, entry.query['scope'] ?? '');
    return jsonAnswer(200, { token, access_token: token, expires_in: this.#options.expiresIn ?? 300 });
  }

  #challenge(value: string): Answer {
    return { ...errorAnswer(401, 'UNAUTHORIZED', { 'www-authenticate': value }), beforeFaults: true };
  }
}

function basicOf(options: { username?: string; password?: string }): string {
  const pair = `${options.username ?? ''}:${options.password ?? ''}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}
