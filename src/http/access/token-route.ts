import type { IncomingMessage } from 'node:http';
import type { HttpBindings } from '@hono/node-server';
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response';
import { Hono } from 'hono';
import type { Log } from '../../lib/log.ts';
import { readUpTo } from '../../lib/read-bytes.ts';
import { OciError } from '../../oci/errors.ts';
import type { Access, TokenAccess } from '../../policy/access.ts';
import { isTokenAction, type Tokens } from '../../policy/tokens.ts';
import { beginExchange, type Exchange } from '../exchange.ts';
import { sendError, sendWhole } from '../respond.ts';
import { tooManyLogins, wrongLogin } from './access-errors.ts';
import { type Authenticator, clientOf, type Identified } from './authenticate.ts';
import { setChallenge } from './login-challenge.ts';

/** Bytes that the form of a token request may have. */
const longestForm = 16_384;

/** Scopes that one token may be for. */
const mostScopes = 32;

const longestName = 512;

type Deps = { access: Access; authenticator: Authenticator; tokens: Tokens; log: Log };

/** What a token request asks for. */
type TokenRequest = { readonly scopes: readonly string[]; readonly identified: Identified };

/**
 * The route `/token` (distribution's "Token Authentication Specification" and its OAuth 2 form): GET with Basic, or
 * POST of a form with `grant_type=password`. A login becomes a short-lived token; without a login there is one for
 * what anonymous may do. A token is never traded for another, or it would never end.
 */
export function tokenRoutes(deps: Deps): Hono<{ Bindings: HttpBindings }> {
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.on(['GET', 'POST'], '/token', async (c) => {
    const exchange = beginExchange(c.env.incoming as IncomingMessage, c.env.outgoing as Exchange['outgoing']);
    try {
      await answer(exchange, deps);
    } catch (error) {
      fail(exchange, error, deps.log);
    }
    return RESPONSE_ALREADY_SENT;
  });
  return app;
}

async function answer(exchange: Exchange, { access, authenticator, tokens }: Deps): Promise<void> {
  const { scopes, identified } = await readRequest(exchange, authenticator);
  if (identified.kind === 'limited') throw tooManyLogins(identified.retryAfter);
  const identity = identified.kind === 'identity' ? identified.identity : undefined;
  if (identity === undefined || identity.kind === 'bearer') refuse(exchange, wrongLogin());
  if (identity.kind === 'anonymous' && !access.opensSomething('pull'))
    refuse(exchange, new OciError('UNAUTHORIZED', 'log in to get a token'));
  const name = identity.kind === 'user' ? identity.name : undefined;
  const { token, issuedAt, lifetime } = await tokens.issue(name, parseScopes(scopes));
  const body = { token, access_token: token, expires_in: lifetime, issued_at: issuedAt.toISOString() };
  sendWhole(
    exchange,
    { 'Content-Type': 'application/json', 'Cache-Control': 'no-store' },
    JSON.stringify(body),
  );
}

async function readRequest(exchange: Exchange, authenticator: Authenticator): Promise<TokenRequest> {
  const { incoming } = exchange;
  if (incoming.method !== 'POST') {
    const query = new URLSearchParams(incoming.url?.split('?', 2)[1] ?? '');
    return { scopes: query.getAll('scope'), identified: await authenticator.identify(incoming) };
  }
  const form = new URLSearchParams(await readForm(exchange));
  const scopes = form.getAll('scope');
  const grant = form.get('grant_type');
  if (grant !== null && grant !== 'password') {
    throw new OciError('UNSUPPORTED', 'the only grant_type here is password: use GET with Basic instead');
  }
  const name = form.get('username') ?? '';
  const password = form.get('password') ?? '';
  if (name === '' && password === '') return { scopes, identified: await authenticator.identify(incoming) };
  return { scopes, identified: await authenticator.password(name, password, clientOf(incoming)) };
}

async function readForm({ incoming, outgoing }: Exchange): Promise<string> {
  const [type = ''] = (incoming.headers['content-type'] ?? '').split(';');
  if (type.trim().toLowerCase() !== 'application/x-www-form-urlencoded') {
    throw new OciError('UNSUPPORTED', 'a token is asked for with a form, or with GET and Basic');
  }
  const { bytes, whole } = await readUpTo(incoming, longestForm);
  if (whole) return bytes.toString('utf8');
  outgoing.setHeader('Connection', 'close');
  throw new OciError('SIZE_INVALID', `the form is longer than ${longestForm} bytes`);
}

/**
 * Reads scopes such as `repository:library/nginx:pull,push`, several of which may stand in one value, separated by
 * spaces. What is not about repositories, or no action that a token can carry, is left out; `*` is every such action.
 */
export function parseScopes(values: readonly string[]): readonly TokenAccess[] {
  const words = values.flatMap((value) => value.split(' ')).slice(0, mostScopes);
  return words.flatMap((word) => {
    const [, name = '', list = ''] = /^repository(?:\([^()]*\))?:(.+):([a-z*,]*)$/.exec(word) ?? [];
    if (name === '' || name.length > longestName) return [];
    const asked = list.split(',');
    const actions = asked.includes('*') ? (['pull', 'push', 'delete'] as const) : asked.filter(isTokenAction);
    return actions.length === 0 ? [] : [{ name, actions: [...new Set(actions)] }];
  });
}

function refuse(exchange: Exchange, error: OciError): never {
  setChallenge(exchange, { realm: undefined, schemes: 'basic' });
  throw error;
}

function fail(exchange: Exchange, error: unknown, log: Log): void {
  if (exchange.outgoing.destroyed) return;
  if (error instanceof OciError) {
    sendError(exchange, error);
    return;
  }
  const cause = error instanceof Error ? (error.stack ?? error.message) : String(error);
  log.error({ route: 'token', cause }, 'request failed');
  sendError(exchange, new OciError('UNKNOWN', 'the mirror failed; its log says why', { cause: error }));
}
