import type { Clock } from '../../lib/clock.ts';
import { redactUrl } from '../http/redact.ts';
import { parseRetryAfter } from '../http/retry-after.ts';
import type { SmallAnswer, SmallHttp, SmallRequest } from '../http/small-http.ts';
import { SmallHttpError } from '../http/small-http-error.ts';
import { UpstreamError, type UpstreamErrorReason, type UpstreamRefusal } from '../result.ts';
import type { Credential } from './credential.ts';
import type { TokenAnswer } from './token-cache.ts';

const maxTokenAnswer = 256 * 1024;
const tokenPattern = /^[\x21-\x7e]{1,16384}$/;

/** The lifetime of a token that does not name one, in seconds (distribution's token specification). */
const defaultLifetime = 60;

/**
 * Asks a token endpoint once, following nothing. `url` holds service and scope in its query. An identity token is
 * traded in by POST (RFC 6749, section 6), a password goes as Basic; the realm was judged before.
 */
export async function requestToken(
  { http, clock }: { http: SmallHttp; clock: Clock },
  upstream: string,
  url: URL,
  credential: Credential | undefined,
  signal: AbortSignal,
): Promise<TokenAnswer> {
  const unavailable = (reason: UpstreamErrorReason, message: string, cause?: unknown): UpstreamRefusal => {
    const error = new UpstreamError(message, { upstream, op: 'token', reason, cause });
    return { kind: 'unavailable', upstream, cause: error };
  };
  const endpoint = `its token endpoint ${redactUrl(url)}`;
  let answer: SmallAnswer;
  try {
    answer = await http.send(tokenRequest(url, credential), signal);
  } catch (error) {
    if (!(error instanceof SmallHttpError)) throw error;
    return unavailable(error.reason, `${endpoint} failed: ${error.message}`, error);
  }
  const { status } = answer;
  if (status === 401 || status === 403) return { kind: 'denied', upstream, status };
  // So OAuth 2.0 says that a refresh token has expired (RFC 6749, section 5.2).
  if (status === 400 && credential?.kind === 'identity-token') {
    return { kind: 'denied', upstream, status: 401 };
  }
  if (status === 429) {
    return {
      kind: 'limited',
      upstream,
      retryAfter: parseRetryAfter(answer.headers['retry-after'], clock.now()),
    };
  }
  if (status !== 200) return unavailable('status', `${endpoint} answered ${status}`);
  return readToken(answer.body) ?? unavailable('content', `${endpoint} sent no token`);
}

/** The `Authorization` value for a password. */
export function basicHeader(credential: Credential | undefined): string | undefined {
  if (credential?.kind !== 'password') return undefined;
  return `Basic ${Buffer.from(`${credential.username}:${credential.password}`).toString('base64')}`;
}

function tokenRequest(url: URL, credential: Credential | undefined): SmallRequest {
  const accept = 'application/json';
  if (credential?.kind !== 'identity-token') {
    const authorization = basicHeader(credential);
    const headers = { accept, ...(authorization !== undefined && { authorization }) };
    return { method: 'GET', url, headers, maxBytes: maxTokenAnswer };
  }
  const target = new URL(url);
  const form = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'entrepot' });
  for (const name of ['service', 'scope']) {
    const value = target.searchParams.get(name);
    if (value !== null) form.set(name, value);
    target.searchParams.delete(name);
  }
  form.set('refresh_token', credential.token);
  const headers = { accept, 'content-type': 'application/x-www-form-urlencoded' };
  return { method: 'POST', url: target, headers, body: form.toString(), maxBytes: maxTokenAnswer };
}

function readToken(body: Buffer): TokenAnswer | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
  if (typeof parsed !== 'object' || parsed === null) return undefined;
  const { token, access_token, expires_in } = parsed as Readonly<Record<string, unknown>>;
  const text = typeof token === 'string' && token !== '' ? token : access_token;
  if (typeof text !== 'string' || !tokenPattern.test(text)) return undefined;
  const named = typeof expires_in === 'number' && expires_in > 0 && Number.isFinite(expires_in);
  return { kind: 'token', token: text, lifetime: named ? expires_in : defaultLifetime };
}
