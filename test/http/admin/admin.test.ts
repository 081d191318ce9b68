import { createServer, request as httpRequest } from 'node:http';
import type { AddressInfo } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import { Hono } from 'hono';
import { describe, expect, onTestFinished, test } from 'vitest';
import { adminRoutes } from '../../../src/http/admin/admin.ts';
import type { AdminOptions } from '../../../src/http/admin/router.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { digestOf, scriptedOperations } from './admin-scene.ts';

function adminScene(options: Partial<AdminOptions> = {}) {
  const { operations, asked } = scriptedOperations();
  const logs = captureLog();
  const names = { defaultRegistry: 'docker.io', registries: ['docker.io', 'ghcr.io', 'local'] };
  const routes = adminRoutes({ operations, log: logs.log }, { ...names, ...options });
  const ask = async (method: string, path: string, body?: unknown, type = 'application/json') => {
    const sent = typeof body === 'string' ? body : JSON.stringify(body);
    const response = await routes.fetch(
      new Request(`http://control${path}`, {
        method,
        ...(body !== undefined && { body: sent, headers: { 'Content-Type': type } }),
      }),
    );
    return { status: response.status, body: (await response.json()) as unknown };
  };
  /** `status CODE`, or the status alone. */
  const outcome = async (...args: Parameters<typeof ask>) => {
    const { status, body } = await ask(...args);
    const { errors } = body as { errors?: { code: string }[] };
    return errors === undefined ? String(status) : `${status} ${errors[0]?.code}`;
  };
  return { routes, ask, outcome, asked, logs };
}

describe('history', () => {
  test('tells what became of an image, with dates that people read', async () => {
    const { ask, asked } = adminScene();
    const { status, body } = await ask('GET', '/api/v1/history?image=python&tag=3.12');
    expect(status).toBe(200);
    expect(asked).toEqual(['history docker.io library/python 3.12']);
    expect(body).toEqual({
      image: 'docker.io/library/python',
      moves: [
        {
          at: '2026-07-01T08:30:00.000Z',
          tag: '3.12',
          old: digestOf('a'),
          new: digestOf('b'),
          upstream: 'registry-1.docker.io',
          action: 'moved',
        },
        { at: '1970-01-01T00:00:00.000Z', tag: '3.12', new: digestOf('a'), upstream: '', action: 'locked' },
      ],
    });
  });

  test('knows registries that do not look like hosts', async () => {
    const { ask, asked } = adminScene();
    await ask('GET', '/api/v1/history?image=local/team/app');
    expect(asked).toEqual(['history local team/app -']);
  });

  test.each([
    ['', '400 NAME_INVALID'],
    ['?tag=1', '400 NAME_INVALID'],
    ['?image=Python', '400 NAME_INVALID'],
    ['?image=python:3.12', '400 NAME_INVALID'],
    [`?image=python@${digestOf('a')}`, '400 NAME_INVALID'],
    ['?image=python&tag=a/b', '400 NAME_INVALID'],
    ['?image=python&tags=3', '400 NAME_INVALID'],
  ])('of "%s" is answered %s', async (query, expected) => {
    const { outcome, asked } = adminScene();
    expect(await outcome('GET', `/api/v1/history${query}`)).toBe(expected);
    expect(asked).toEqual([]);
  });
});

describe('rollback and release', () => {
  test('set a tag to a digest, and leave it to upstream again', async () => {
    const { ask, asked, logs } = adminScene();
    const image = 'docker.io/library/python';
    const rollback = { image: 'python', tag: '3.12', digest: digestOf('a') };
    expect(await ask('POST', '/api/v1/rollback', rollback)).toEqual({
      status: 200,
      body: { ...rollback, image },
    });
    const release = { image: 'python', tag: '3.12' };
    expect(await ask('DELETE', '/api/v1/pins', release)).toEqual({
      status: 200,
      body: { ...release, image },
    });
    expect(asked).toEqual([
      `rollback docker.io library/python 3.12 ${digestOf('a')}`,
      'release docker.io library/python 3.12',
    ]);
    expect(logs.lines.map(({ message }) => message)).toEqual(['tag rolled back', 'tag released']);
  });

  test('tell what the operation refuses, and hide what went wrong inside', async () => {
    const { ask, logs } = adminScene();
    const refused = await ask('POST', '/api/v1/rollback', {
      image: 'python',
      tag: '3',
      digest: digestOf('f'),
    });
    const entry = { code: 'MANIFEST_UNKNOWN', message: 'that manifest is not stored here' };
    expect(refused).toEqual({ status: 404, body: { errors: [entry] } });
    const failed = await ask('DELETE', '/api/v1/pins', { image: 'python', tag: 'broken' });
    expect(failed.status).toBe(500);
    expect(JSON.stringify(failed.body)).not.toContain('secret detail');
    expect(logs.text()).toContain('secret detail');
  });

  test.each([
    ['a digest that is cut', { image: 'python', tag: '3', digest: 'sha256:abc' }, '400 DIGEST_INVALID'],
    ['a missing tag', { image: 'python', digest: digestOf('a') }, '400 NAME_INVALID'],
    [
      'an unknown key',
      { image: 'python', tag: '3', digest: digestOf('a'), force: 'yes' },
      '400 NAME_INVALID',
    ],
    ['a number for a tag', { image: 'python', tag: 3, digest: digestOf('a') }, '400 NAME_INVALID'],
    ['a list', [], '400 NAME_INVALID'],
    ['null', null, '400 NAME_INVALID'],
    ['no JSON', '{', '400 NAME_INVALID'],
    ['inherited keys', '{"__proto__": {"image": "python", "tag": "3", "digest": "x"}}', '400 NAME_INVALID'],
    ['too much', `"${'x'.repeat(1024 * 1024)}"`, '400 SIZE_INVALID'],
  ])('refuse %s', async (_what, body, expected) => {
    const { outcome, asked } = adminScene();
    expect(await outcome('POST', '/api/v1/rollback', body)).toBe(expected);
    expect(asked).toEqual([]);
  });

  test('take nothing that a web page could send without asking first', async () => {
    const { outcome, asked } = adminScene();
    const body = JSON.stringify({ image: 'python', tag: '3', digest: digestOf('a') });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonp']) {
      expect(await outcome('POST', '/api/v1/rollback', body, type)).toBe('400 NAME_INVALID');
    }
    expect(await outcome('POST', '/api/v1/rollback')).toBe('400 NAME_INVALID');
    expect(asked).toEqual([]);
  });
});

describe('lock', () => {
  test('asks for each image once, however it is written', async () => {
    const { ask, asked } = adminScene();
    const images = ['python:3', 'docker.io/library/python:3', 'ghcr.io/org/app:plain'];
    const { body } = await ask('POST', '/api/v1/lock', { images });
    expect(asked).toEqual(['lock docker.io/library/python:3 ghcr.io/org/app:plain']);
    expect(body).toEqual({
      images: [
        {
          image: 'docker.io/library/python',
          tag: '3',
          digest: digestOf('c'),
          platforms: { 'linux/amd64': digestOf('d') },
        },
        { image: 'ghcr.io/org/app', tag: 'plain', digest: digestOf('c') },
      ],
    });
  });

  test.each([
    [{ images: [] }],
    [{ images: 'python:3' }],
    [{ images: ['python'] }],
    [{ images: ['python:3', 7] }],
    [{ images: [`python:3@${digestOf('a')}`] }],
    [{ images: Array.from({ length: 10_001 }, () => 'a:1') }],
    [{}],
  ])('refuses %j', async (body) => {
    const { outcome, asked } = adminScene();
    expect(await outcome('POST', '/api/v1/lock', body)).toBe('400 NAME_INVALID');
    expect(asked).toEqual([]);
  });
});

test('what is no admin route is not found', async () => {
  const { outcome } = adminScene();
  expect(await outcome('GET', '/api/v1/lock')).toBe('404 NAME_UNKNOWN');
  expect(await outcome('GET', '/api/v1/whatever')).toBe('404 NAME_UNKNOWN');
});

describe('on the main listener', () => {
  /** The admin routes mounted among others, over a connection; alice may steer python, root everything. */
  async function mounted() {
    const { routes, asked } = adminScene({
      authorize: ({ incoming, outgoing }, image) => {
        const { authorization } = incoming.headers;
        if (authorization === 'Basic alice' && image === 'docker.io/library/python') return;
        if (authorization === 'Basic root') return;
        outgoing.setHeader('WWW-Authenticate', 'Basic realm="entrepot"');
        throw new OciError('UNAUTHORIZED');
      },
    });
    const app = new Hono().get('/livez', (c) => c.text('ok')).route('/', routes);
    app.notFound((c) => c.text('elsewhere', 404));
    const server = createServer(getRequestListener(app.fetch, { overrideGlobalObjects: false }));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => {
      server.close();
    });
    const { port } = server.address() as AddressInfo;
    const send = (path: string, body: unknown, headers: Record<string, string>) => {
      return new Promise<{ status: number | undefined; challenge: string | undefined }>((resolve, reject) => {
        const method = body === undefined ? 'GET' : 'POST';
        const outgoing = httpRequest(
          { host: '127.0.0.1', port, path, method, headers, agent: false },
          (response) => {
            response.resume();
            const challenge = response.headers['www-authenticate'];
            response.once('end', () => resolve({ status: response.statusCode, challenge }));
          },
        );
        outgoing.once('error', reject);
        outgoing.end(body === undefined ? undefined : JSON.stringify(body));
      });
    };
    const ask = (path: string, headers: Record<string, string> = {}) => send(path, undefined, headers);
    return { ask, send, asked, routes };
  }

  test('every route is behind the permission, and the others are not', async () => {
    const { ask, asked } = await mounted();
    const refused = { status: 401, challenge: 'Basic realm="entrepot"' };
    expect(await ask('/api/v1/history?image=python')).toEqual(refused);
    expect(await ask('/api/v1/whatever')).toEqual(refused);
    expect(asked).toEqual([]);
    expect((await ask('/livez')).status).toBe(200);
    expect((await ask('/elsewhere')).status).toBe(404);
    const alice = { authorization: 'Basic alice' };
    expect((await ask('/api/v1/history?image=python', alice)).status).toBe(200);
    expect(asked).toEqual(['history docker.io library/python -']);
    expect(await ask('/api/v1/history?image=perl', alice)).toEqual(refused);
    expect(await ask('/api/v1/whatever', alice)).toEqual(refused);
    expect((await ask('/api/v1/whatever', { authorization: 'Basic root' })).status).toBe(404);
  });

  test('each image of a request takes the permission', async () => {
    const { send, asked } = await mounted();
    const alice = { authorization: 'Basic alice', 'content-type': 'application/json' };
    expect((await send('/api/v1/lock', { images: ['python:3'] }, alice)).status).toBe(200);
    expect((await send('/api/v1/lock', { images: ['python:3', 'perl:5'] }, alice)).status).toBe(401);
    expect((await send('/api/v1/lock', { images: ['perl:5', 'python:3'] }, alice)).status).toBe(401);
    expect(asked).toEqual(['lock docker.io/library/python:3']);
  });

  test('a request without a connection to judge is refused', async () => {
    const { routes, asked } = await mounted();
    const response = await routes.fetch(new Request('http://control/api/v1/history?image=python'));
    expect([response.status, asked]).toEqual([403, []]);
  });
});
