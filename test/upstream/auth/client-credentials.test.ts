import { inspect } from 'node:util';
import { describe, expect, it, vi } from 'vitest';
import { patience } from '../../helpers/patience.ts';
import { never, openClient, tag } from '../open-client.ts';
import { answering, programFolder } from './helper-programs.ts';
import { registry } from './token-registry.ts';

const header = (pair: string) => `Basic ${Buffer.from(pair).toString('base64')}`;
const challenge = () => 'Basic realm="registry"';

type Client = ReturnType<typeof openClient>['client'];
const get = (client: Client) => client.getManifest('a', tag, 1000, never);

/** A helper named `test` that says what the file `secret` says. */
function helper(username = 'AWS') {
  const programs = programFolder();
  programs.write('secret', 'first\n');
  programs.helper('test', answering(username, programs.path('secret')));
  return { ...programs, change: (secret: string) => programs.write('secret', `${secret}\n`) };
}

describe('a credential helper', () => {
  it('is asked once the upstream demands a login, and not again', async () => {
    const programs = helper();
    let open = true;
    const upstream = await registry({
      challenge,
      valid: (given) => open || given === header('AWS:first'),
    });
    const { client } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect((await get(client)).kind).toBe('ok');
    expect(programs.asked()).toEqual([]);
    open = false;
    const results = await Promise.all([get(client), get(client), get(client)]);
    expect(results.map(({ kind }) => kind)).toEqual(['ok', 'ok', 'ok']);
    expect((await get(client)).kind).toBe('ok');
    expect(programs.asked()).toEqual([`get ${upstream.host}`]);
  });

  it.each([401, 403])('is asked again when what it said is refused with %s', async (refusal) => {
    const programs = helper();
    let password = 'first';
    let status = 401;
    const upstream = await registry({
      challenge,
      valid: (given) => given === header(`AWS:${password}`),
      refusal: () => status,
    });
    const { client } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect((await get(client)).kind).toBe('ok');
    password = 'second';
    status = refusal;
    programs.change('second');
    expect((await get(client)).kind).toBe('ok');
    expect((await get(client)).kind).toBe('ok');
    expect(programs.asked()).toHaveLength(2);
    expect(upstream.journal.slice(2).map(({ headers }) => headers.authorization)).toEqual([
      header('AWS:first'),
      header('AWS:second'),
      header('AWS:second'),
    ]);
  });

  it('is asked again when the token endpoint refuses what it said', async () => {
    const programs = helper();
    let password = 'first';
    const upstream = await registry({
      token: (n, { authorization }) => {
        return authorization === header(`AWS:${password}`) ? { body: { token: `t${n}` } } : { status: 401 };
      },
    });
    const { client, clock } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect((await get(client)).kind).toBe('ok');
    password = 'second';
    programs.change('second');
    clock.time += 3_600_000;
    expect((await get(client)).kind).toBe('ok');
    expect(programs.asked()).toHaveLength(2);
  });

  it('that says the same again is left alone for a minute', async () => {
    const programs = helper();
    const upstream = await registry({ challenge, valid: () => false });
    const { client, clock } = openClient(upstream.origin, { credentialHelper: 'test' });
    for (let n = 0; n < 4; n++) expect(await get(client)).toMatchObject({ kind: 'denied', status: 401 });
    expect(programs.asked()).toHaveLength(2);
    clock.time += 60_000;
    expect(await get(client)).toMatchObject({ kind: 'denied' });
    expect(await get(client)).toMatchObject({ kind: 'denied' });
    expect(programs.asked()).toHaveLength(3);
  });

  it('that fails makes the upstream unavailable, without a word of what it said', async () => {
    const programs = programFolder();
    programs.helper('test', 'echo SECRET; echo SECRET >&2; exit 1');
    const upstream = await registry({});
    const { client, clock, logged } = openClient(upstream.origin, { credentialHelper: 'test' });
    const result = await get(client);
    expect(result).toMatchObject({
      kind: 'unavailable',
      cause: {
        reason: 'auth',
        message: 'its credentials cannot be had: docker-credential-test failed with exit code 1',
      },
    });
    expect(inspect([result, logged], { depth: 12, showHidden: true })).not.toContain('SECRET');
    expect(upstream.seen()).toEqual(['GET /v2/a/manifests/v1 -']);
    await get(client);
    expect(programs.asked()).toHaveLength(1);
    clock.time += 10_000;
    await get(client);
    expect(programs.asked()).toHaveLength(2);
    expect(client.health.state).toBe('closed');
  });

  it('that knows nothing is no reason to go on without a login', async () => {
    programFolder().helper('test', 'echo "credentials not found in native keychain"; exit 1');
    const upstream = await registry({});
    const { client } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect(await get(client)).toMatchObject({
      kind: 'unavailable',
      cause: { message: expect.stringContaining(`knows no credentials for ${upstream.host}`) },
    });
  });

  it('is not asked for the sake of a realm elsewhere', async () => {
    const programs = helper();
    const upstream = await registry({ challenge: () => 'Bearer realm="https://sso.evil.test/token"' });
    const { client } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect(await get(client)).toMatchObject({ kind: 'unavailable', cause: { reason: 'auth' } });
    expect(programs.asked()).toEqual([]);
  });

  it('ends with the client', async () => {
    const programs = programFolder();
    programs.helper('test', '/bin/sleep 60');
    const upstream = await registry({ challenge });
    const { client } = openClient(upstream.origin, { credentialHelper: 'test' });
    const ending = expect(get(client)).rejects.toThrow('closed');
    await vi.waitFor(() => expect(programs.asked()).toHaveLength(1), { timeout: patience });
    await client.close();
    await ending;
  });
});

describe('an identity token', () => {
  it('is traded in for access tokens, and sent to the token endpoint alone', async () => {
    helper('<token>');
    const forms: string[] = [];
    const upstream = await registry({
      token: (n, { form, authorization }) => {
        forms.push(`${form} ${authorization}`);
        return { body: { access_token: `t${n}`, expires_in: 300, refresh_token: 'ignored' } };
      },
    });
    const { client } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect((await get(client)).kind).toBe('ok');
    expect(upstream.seen()).toEqual([
      'GET /v2/a/manifests/v1 -',
      'POST /token?a=b -',
      'GET /v2/a/manifests/v1 Bearer t1',
    ]);
    expect(forms).toEqual([
      'grant_type=refresh_token&client_id=entrepot&service=the+service&scope=repository%3Aa%3Apull&refresh_token=first ',
    ]);
  });

  it.each([400, 401])('that is refused with %s is fetched again', async (status) => {
    const programs = helper('<token>');
    let good = 'second';
    const upstream = await registry({
      token: (n, { form }) => {
        const given = form.get('refresh_token');
        return given === good ? { body: { access_token: `t${n}` } } : { status };
      },
    });
    const { client, clock } = openClient(upstream.origin, { credentialHelper: 'test' });
    expect(await get(client)).toMatchObject({ kind: 'denied', status: 401 });
    clock.time += 60_000;
    programs.change('second');
    expect((await get(client)).kind).toBe('ok');
    good = 'none';
    clock.time += 60_000;
    expect(await get(client)).toMatchObject({ kind: 'denied', status: 401 });
  });

  it('is no answer to a Basic challenge, and shows in no failure', async () => {
    helper('<token>').change('SECRET');
    const asking = await registry({ challenge });
    const { client } = openClient(asking.origin, { credentialHelper: 'test' });
    expect(await get(client)).toMatchObject({ kind: 'denied', status: 401 });
    for (const reply of [
      { status: 500 },
      { status: 302, headers: { location: '/token?x' } },
      { body: 'x' },
    ]) {
      const upstream = await registry({ token: () => reply });
      const other = openClient(upstream.origin, { credentialHelper: 'test' });
      const shown = inspect([await get(other.client), other.logged], { depth: 12, showHidden: true });
      expect(shown).not.toContain('SECRET');
      expect(upstream.journal).toHaveLength(2);
    }
  });
});

describe('a Docker config.json', () => {
  const entry = (pair: string) => ({ auth: Buffer.from(pair).toString('base64') });

  it("is read for the upstream's own host, and again when that was refused", async () => {
    const programs = programFolder();
    let password = 'first';
    const upstream = await registry({ challenge, valid: (given) => given === header(`me:${password}`) });
    const write = (pair: string) => {
      const auths = {
        [`${upstream.host}.evil.test`]: entry('you:other'),
        [`127.0.0.1:${upstream.port - 1}`]: entry('you:other'),
        [upstream.host]: entry(pair),
        '127.0.0.1': entry('you:other'),
      };
      programs.write('config.json', JSON.stringify({ auths }));
    };
    write('me:first');
    const { client } = openClient(upstream.origin, { dockerConfig: programs.path('config.json') });
    expect((await get(client)).kind).toBe('ok');
    password = 'second';
    write('me:second');
    expect((await get(client)).kind).toBe('ok');
    const sent = upstream.journal.map(({ headers }) => headers.authorization);
    expect(sent).toEqual([undefined, header('me:first'), header('me:first'), header('me:second')]);
  });

  it('without an entry for it means no login, until there is one', async () => {
    const programs = programFolder();
    programs.write('config.json', '{"auths":{}}');
    const upstream = await registry({ challenge, valid: (given) => given === header('me:first') });
    const { client, clock } = openClient(upstream.origin, { dockerConfig: programs.path('config.json') });
    expect(await get(client)).toMatchObject({ kind: 'denied', status: 401 });
    programs.write('config.json', JSON.stringify({ auths: { [upstream.host]: entry('me:first') } }));
    clock.time += 60_000;
    expect((await get(client)).kind).toBe('ok');
  });

  it('that is not there makes the upstream unavailable', async () => {
    const { path } = programFolder();
    const upstream = await registry({});
    const { client } = openClient(upstream.origin, { dockerConfig: path('config.json') });
    expect(await get(client)).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'auth', message: expect.stringContaining('cannot be read (ENOENT)') },
    });
  });
});

it('an upstream has one source of credentials', () => {
  const login = { username: 'me', password: 'x' };
  const open = (more: Parameters<typeof openClient>[1]) => () => openClient('http://127.0.0.1:1', more);
  expect(open({ ...login, dockerConfig: '/x' })).toThrow(TypeError);
  expect(open({ ...login, credentialHelper: 'x' })).toThrow(TypeError);
  expect(open({ dockerConfig: '/x', credentialHelper: 'x' })).toThrow(TypeError);
});
