import { jwtVerify, SignJWT } from 'jose';
import type { Clock } from '../lib/clock.ts';
import { Remembered } from '../lib/remembered.ts';
import type { Action, Identity, TokenAccess } from './access.ts';

/** Who issues the tokens, and for whom: also the `service` of a challenge. */
export const tokenService = 'entrepot';

/** Seconds for which a token is good. */
const tokenLifetime = 300;

const algorithm = 'HS256';

/** Longer texts are not looked at: node bounds headers, but the cache keeps what it is asked for. */
const longestToken = 8192;

/** Verified tokens remembered at once. */
const mostVerified = 2_000;

/** A token's holder: `bearer`, as {@link Tokens.verify} finds it. */
type Bearer = Extract<Identity, { kind: 'bearer' }>;

/** Short-lived signed tokens (distribution's "Token Authentication Specification"), valid here only. */
export class Tokens {
  readonly #clock: Clock;
  readonly #key: Uint8Array;
  readonly #verified: Remembered<Bearer>;

  /**
   * @param options.key 32 random bytes; tokens of another key are invalid
   * @throws TypeError for a key of another length
   */
  constructor(deps: { clock: Clock }, options: { key: Uint8Array }) {
    if (options.key.length !== 32) throw new TypeError('the key of tokens has 32 bytes');
    this.#clock = deps.clock;
    this.#key = options.key;
    this.#verified = new Remembered(deps, { most: mostVerified });
  }

  /**
   * Issues a token. What it is for is taken as asked: the user's grants are looked at whenever it is used.
   * @param name the user; `undefined` for a client that did not log in
   */
  async issue(
    name: string | undefined,
    access: readonly TokenAccess[],
  ): Promise<{ readonly token: string; readonly issuedAt: Date; readonly lifetime: number }> {
    const seconds = Math.floor(this.#clock.now() / 1000);
    const claims = access.map((entry) => ({ type: 'repository', ...entry }));
    const jwt = new SignJWT({ access: claims })
      .setProtectedHeader({ alg: algorithm, typ: 'JWT' })
      .setIssuer(tokenService)
      .setAudience(tokenService)
      .setIssuedAt(seconds)
      .setExpirationTime(seconds + tokenLifetime);
    if (name !== undefined) jwt.setSubject(name);
    return {
      token: await jwt.sign(this.#key),
      issuedAt: new Date(seconds * 1000),
      lifetime: tokenLifetime,
    };
  }

  /** Whom a token belongs to, at once when it was verified before; `undefined` when it is not valid (any more). */
  verify(text: string): Bearer | undefined | Promise<Bearer | undefined> {
    const known = this.#verified.get(text);
    if (known !== undefined) return known;
    return text.length > longestToken ? undefined : this.#verify(text);
  }

  async #verify(text: string): Promise<Bearer | undefined> {
    try {
      const { payload } = await jwtVerify(text, this.#key, {
        algorithms: [algorithm],
        typ: 'JWT',
        issuer: tokenService,
        audience: tokenService,
        requiredClaims: ['iat', 'exp', 'access'],
        currentDate: new Date(this.#clock.now()),
      });
      const bearer: Bearer = { kind: 'bearer', name: payload.sub, access: readAccess(payload['access']) };
      this.#verified.set(text, bearer, (payload.exp ?? 0) * 1000);
      return bearer;
    } catch {
      // Whatever is wrong with it, the client's next step is the same: to ask for another.
      return undefined;
    }
  }
}

const inTokens: ReadonlySet<string> = new Set<Action>(['pull', 'push', 'delete']);

/** Whether an action may be part of a token. */
export function isTokenAction(text: unknown): text is Action {
  return typeof text === 'string' && inTokens.has(text);
}

function readAccess(claim: unknown): readonly TokenAccess[] {
  if (!Array.isArray(claim)) return [];
  return claim.flatMap((entry: { type?: unknown; name?: unknown; actions?: unknown } | null) => {
    if (entry?.type !== 'repository' || typeof entry.name !== 'string' || !Array.isArray(entry.actions))
      return [];
    return [{ name: entry.name, actions: entry.actions.filter(isTokenAction) }];
  });
}
