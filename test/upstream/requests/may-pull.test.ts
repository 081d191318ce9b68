import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { registry } from '../auth/token-registry.ts';
import { never, openClient, tag } from '../open-client.ts';

const header = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`;
const ours = { username: 'entrepot', password: 'our-secret' };
const alice = header('alice:pä:ss');

/** A registry with tokens that lets alice pull `team/app`. */
function bearerRegistry() {
  return registry({
    valid: (given) => given === 'Bearer t-alice',
    token: (_n, { authorization }) => {
      if (authorization === alice) return { body: { token: 't-alice' } };
      return authorization === header('entrepot:our-secret')
        ? { body: { token: 't-ours' } }
        : { status: 401 };
    },
  });
}

describe('mayPull', () => {
  it("lets a client's own login decide, by way of the token endpoint", async () => {
    const upstream = await bearerRegistry();
    const { client, observed } = openClient(upstream.origin, ours);
    expect(await client.mayPull('team/app', tag, alice, never)).toEqual({
      kind: 'ok',
      value: true,
      upstream: upstream.host,
    });
    expect(upstream.seen()).toEqual([
      'HEAD /v2/team/app/manifests/v1 -',
      `GET /token?a=b&service=the+service&scope=repository%3Ateam%2Fapp%3Apull ${alice}`,
      'HEAD /v2/team/app/manifests/v1 Bearer t-alice',
    ]);
    expect(observed).toEqual(['token ok', 'may-pull ok']);
  });

  it('keeps nothing of it: neither for us, nor for the next client', async () => {
    const upstream = await bearerRegistry();
    const { client } = openClient(upstream.origin, ours);
    await client.mayPull('team/app', tag, alice, never);
    expect(await client.getManifest('team/app', tag, 1000, never)).toMatchObject({ kind: 'denied' });
    expect(await client.mayPull('team/app', tag, header('bob:guess'), never)).toMatchObject({
      kind: 'denied',
      status: 401,
    });
    const sent = upstream.journal.slice(3).map(({ headers }) => headers.authorization);
    expect(sent).not.toContain(alice);
    expect(sent).not.toContain('Bearer t-alice');
    expect(sent.at(-1)).toBe(header('bob:guess'));
  });

  it('uses none of what we are known by', async () => {
    const upstream = await registry({
      challenge: () => 'Basic realm="x"',
      valid: (given) => given === alice,
    });
    const { client } = openClient(upstream.origin, ours);
    expect(await client.mayPull('a', tag, alice, never)).toMatchObject({ kind: 'ok' });
    expect(await client.mayPull('a', tag, header('bob:guess'), never)).toMatchObject({ kind: 'denied' });
    expect(upstream.journal.map(({ headers }) => headers.authorization)).toEqual([
      undefined,
      alice,
      undefined,
      header('bob:guess'),
    ]);
  });

  it('is no for an upstream that asks nobody for a login', async () => {
    const upstream = await registry({ valid: () => true });
    const { client } = openClient(upstream.origin);
    expect(await client.mayPull('a', tag, alice, never)).toMatchObject({ kind: 'denied', status: 401 });
  });

  it.each([
    '',
    'Bearer abc',
    'Basic',
    'Basic !!',
    header('no-colon'),
    header(':empty'),
    header('x'.repeat(9000)),
  ])('asks nobody about %j', async (authorization) => {
    const upstream = await bearerRegistry();
    const { client } = openClient(upstream.origin);
    expect(await client.mayPull('a', tag, authorization, never)).toMatchObject({ kind: 'denied' });
    expect(upstream.journal).toHaveLength(0);
  });

  it('passes on that there is no such image, and what else the upstream says', async () => {
    let status = 404;
    const upstream = await registry({ valid: () => false, refusal: () => status });
    const { client } = openClient(upstream.origin);
    const ask = () => client.mayPull('a', tag, alice, never);
    expect(await ask()).toMatchObject({ kind: 'missing' });
    status = 403;
    expect(await ask()).toMatchObject({ kind: 'denied', status: 403 });
    status = 429;
    expect(await ask()).toMatchObject({ kind: 'limited' });
    // What limits the client's account is none of our budget.
    expect(client.health.exclusionFor('tags')).toBeUndefined();
    status = 500;
    for (let n = 0; n < 5; n++) expect(await ask()).toMatchObject({ kind: 'unavailable' });
    expect(client.health.state).toBe('closed');
  });

  it('waits for no upstream that is known to be down', async () => {
    const upstream = await bearerRegistry();
    const { client } = openClient(upstream.origin);
    for (let n = 0; n < 3; n++) client.health.observeFailure('timeout');
    expect(await client.mayPull('a', tag, alice, never)).toMatchObject({ kind: 'unavailable' });
    expect(upstream.journal).toHaveLength(0);
  });

  it("sends nothing to a realm elsewhere, and tells nothing of the client's login", async () => {
    const upstream = await registry({ challenge: () => 'Bearer realm="https://sso.evil.test/token"' });
    const { client, logged } = openClient(upstream.origin);
    const result = await client.mayPull('a', tag, alice, never);
    expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'auth' } });
    const shown = inspect([result, logged, client], { depth: 12, showHidden: true });
    expect(shown).not.toContain('pä:ss');
    expect(shown).not.toContain(alice.slice(6));
  });

  it('ends with its signal', async () => {
    const controller = new AbortController();
    const upstream = await registry({
      token: () => {
        controller.abort(new Error('left'));
        return new Promise(() => {});
      },
    });
    const { client } = openClient(upstream.origin);
    await expect(client.mayPull('a', tag, alice, controller.signal)).rejects.toThrow('left');
  });
});
