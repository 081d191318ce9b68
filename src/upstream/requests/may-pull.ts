import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { manifestAccept } from '../../oci/media-types.ts';
import { type Reference, referenceText } from '../../oci/reference.ts';
import { type Observe, UpstreamAuth } from '../auth/auth.ts';
import type { Credential } from '../auth/credential.ts';
import { fixedCredentials } from '../auth/credentials.ts';
import { UpstreamHealth } from '../health/health.ts';
import type { SmallHttp } from '../http/small-http.ts';
import { UpstreamError, type UpstreamResult } from '../result.ts';
import { RegistryRequests } from './registry-requests.ts';

/** Longer `Authorization` values are not looked at. */
const longest = 8192;

/** What a client's own login is tried with: the connections of an upstream's client, and nothing else of it. */
export type PassthroughDeps = {
  readonly http: SmallHttp;
  readonly clock: Clock;
  readonly log: Log;
  readonly observe: Observe;
  /** The health of the upstream; only read, since what is answered here is about the client's account. */
  readonly health: UpstreamHealth;
};

/** A client's `Authorization`, and what it is to pull with it. */
export type ClientLogin = {
  readonly repository: string;
  readonly reference: Reference;
  readonly authorization: string;
};

/**
 * Asks whether a client's own login may pull a manifest: see `UpstreamClient.mayPull`. Authentication, tokens and
 * budgets of requests are all of this one call.
 */
export async function mayPull(
  deps: PassthroughDeps,
  upstream: { name: string; url: URL; base: string; trustedRealms: readonly string[] },
  wanted: ClientLogin,
  signal: AbortSignal,
): Promise<UpstreamResult<true>> {
  const { name, url, trustedRealms } = upstream;
  const denied = { kind: 'denied', upstream: name, status: 401 } as const;
  const credential = parseBasic(wanted.authorization);
  if (credential === undefined) return denied;
  const exclusion = deps.health.exclusionFor('tags');
  if (exclusion?.kind === 'open') {
    const cause = new UpstreamError(`it is not asked now (${exclusion.reason})`, {
      upstream: name,
      op: 'may-pull',
      reason: 'unreachable',
    });
    return { kind: 'unavailable', upstream: name, cause };
  }
  const { http, clock, log, observe } = deps;
  const auth = new UpstreamAuth(
    { http, clock, log, observe },
    { name, url, trustedRealms, credentials: fixedCredentials(credential) },
  );
  const health = new UpstreamHealth({ clock, random: Math.random });
  const requests = new RegistryRequests({ http, auth, clock, health, observe }, upstream);
  const path = `manifests/${referenceText(wanted.reference)}`;
  try {
    const result = await requests.small(
      'may-pull',
      wanted.repository,
      { method: 'HEAD', path, accept: manifestAccept, maxBytes: 0 },
      () => ({ kind: 'value', value: true as const }),
      signal,
    );
    // An upstream that asked for no login has judged none.
    return result.kind === 'ok' && !auth.wasAsked ? denied : result;
  } finally {
    auth.close();
  }
}

function parseBasic(authorization: string): Credential | undefined {
  if (authorization.length > longest) return undefined;
  const [, encoded = ''] = /^basic +([a-z0-9+/]+={0,2})$/i.exec(authorization) ?? [];
  const [, username, password] =
    /^([^:]+):(.*)$/s.exec(Buffer.from(encoded, 'base64').toString('utf8')) ?? [];
  return username === undefined || password === undefined
    ? undefined
    : { kind: 'password', username, password };
}
