import { describe, expect, test } from 'vitest';
import { OciError } from '../../../src/oci/errors.ts';
import { referenceText } from '../../../src/oci/reference.ts';
import type { MayPull, PassthroughAnswer } from '../../../src/pull/asking/client-logins.ts';
import { imageName } from '../../../src/pull/repository.ts';
import { ociError, outcome } from '../../helpers/request.ts';
import { basic, openGateScene } from './gate-scene.ts';

const users = { alice: [{ images: ['local/**'], actions: ['pull'] as const }] };
const digest = `sha256:${'a'.repeat(64)}`;
const path = '/v2/ghcr.io/org/app/manifests/1';

/** An upstream that knows some logins, and what it was asked. */
function upstream(answers: Readonly<Record<string, PassthroughAnswer>>) {
  const asked: string[] = [];
  const mayPull: MayPull = async (target, authorization, reference) => {
    const [name = ''] = Buffer.from(authorization.slice(6), 'base64').toString().split(':');
    asked.push(`${imageName(target)} ${reference === undefined ? '-' : referenceText(reference)} ${name}`);
    return answers[name] ?? 'no';
  };
  return { mayPull, asked };
}

describe('with passthrough', () => {
  test('a login that is not ours is left to the upstream, once for a repository', async () => {
    const { mayPull, asked } = upstream({ hubuser: 'yes' });
    const { ask, atOnce, clock } = await openGateScene({ users, mayPull });
    expect((await ask(path, { as: 'hubuser' })).status).toBe(200);
    expect((await ask(`/v2/ghcr.io/org/app/blobs/${digest}`, { as: 'hubuser' })).status).toBe(200);
    expect((await ask('/ghcr.io/v2/org/app/manifests/2', { as: 'hubuser' })).status).toBe(200);
    expect(asked).toEqual(['ghcr.io/org/app 1 hubuser']);
    expect(atOnce).toEqual([false, true, true]);
    expect((await ask('/v2/ghcr.io/org/other/manifests/1', { as: 'hubuser' })).status).toBe(200);
    clock.advance(300_000);
    expect((await ask(path, { as: 'hubuser' })).status).toBe(200);
    expect(asked).toHaveLength(3);
  });

  test('its no is answered as a wrong login, or as absence to a mirror, and is remembered for a while', async () => {
    const { mayPull, asked } = upstream({});
    const { ask, clock } = await openGateScene({ users, mayPull });
    const answer = await ask(path, { as: 'stranger' });
    expect(outcome(answer)).toBe('401 UNAUTHORIZED');
    expect(answer.headers['www-authenticate']).toBe('Basic realm="entrepot", charset="UTF-8"');
    expect(outcome(await ask('/ghcr.io/v2/org/app/manifests/1', { as: 'stranger' }))).toBe(
      '404 NAME_UNKNOWN',
    );
    expect(asked).toHaveLength(1);
    clock.advance(60_000);
    await ask(path, { as: 'stranger' });
    expect(asked).toHaveLength(2);
  });

  test('another password is another login', async () => {
    const mayPull: MayPull = async (_, authorization) => (authorization === basic('hubuser') ? 'yes' : 'no');
    const { ask } = await openGateScene({ users, mayPull });
    expect((await ask(path, { as: 'hubuser' })).status).toBe(200);
    const guess = await ask(path, { headers: { authorization: basic('hubuser', 'guess') } });
    expect(guess.status).toBe(401);
  });

  test('what the upstream cannot tell is a no that is not remembered', async () => {
    const { mayPull, asked } = upstream({ hubuser: 'unknown' });
    const { ask } = await openGateScene({ users, mayPull });
    for (let turn = 0; turn < 12; turn++) expect((await ask(path, { as: 'hubuser' })).status).toBe(401);
    expect(asked).toHaveLength(12);
  });

  test('our own users are never shown to an upstream, nor is anybody for a push or without need', async () => {
    const { mayPull, asked } = upstream({ hubuser: 'yes', alice: 'yes' });
    const anonymous = [{ images: ['docker.io/library/**'], actions: ['pull'] as const }];
    const { ask } = await openGateScene({ anonymous, users, mayPull });
    expect(outcome(await ask(path, { as: 'alice' }))).toBe('403 DENIED');
    expect((await ask('/v2/local/app/manifests/1', { as: 'alice' })).status).toBe(200);
    expect(outcome(await ask(path, { as: 'hubuser', method: 'PUT' }))).toBe('401 UNAUTHORIZED');
    expect((await ask('/v2/docker.io/library/nginx/manifests/1', { as: 'hubuser' })).status).toBe(200);
    expect(outcome(await ask(path))).toBe('401 UNAUTHORIZED');
    expect(outcome(await ask(path, { headers: { authorization: basic('alice', 'wrong') } }))).toBe(
      '401 UNAUTHORIZED',
    );
    expect(asked).toEqual([]);
  });

  test('guesses are limited, and many requests of one login are one guess', async () => {
    const { mayPull, asked } = upstream({ hubuser: 'yes' });
    const { ask } = await openGateScene({ users, mayPull });
    const many = Array.from({ length: 20 }, () => ask(path, { as: 'hubuser' }));
    expect(new Set((await Promise.all(many)).map(({ status }) => status))).toEqual(new Set([200]));
    expect(asked).toHaveLength(1);
    const guesses = Array.from({ length: 13 }, (_, index) => ask(path, { as: `stranger${index}` }));
    const outcomes = (await Promise.all(guesses)).map(outcome).sort();
    expect(outcomes).toEqual([
      ...Array<string>(10).fill('401 UNAUTHORIZED'),
      ...Array<string>(3).fill('429 TOOMANYREQUESTS'),
    ]);
    expect(asked).toHaveLength(11);
    expect(outcome(await ask('/ghcr.io/v2/org/app/manifests/1', { as: 'late' }))).toBe('404 NAME_UNKNOWN');
  });

  test('an upstream that is down is told as such and counts against nobody', async () => {
    const mayPull: MayPull = async () => {
      throw new OciError('UNAVAILABLE', 'ghcr.io cannot be reached: try again', { retryAfter: 5 });
    };
    const { ask } = await openGateScene({ users, mayPull });
    for (let turn = 0; turn < 12; turn++) {
      expect(outcome(await ask(path, { as: `user${turn}` }))).toBe('503 UNAVAILABLE');
    }
  });

  test('/v2/ at a login host asks for Basic, and takes a login that it cannot judge', async () => {
    const { mayPull } = upstream({});
    const { ask } = await openGateScene({ users, mayPull, loginHosts: ['login.test'] });
    const answer = await ask('/v2/', { host: 'login.test' });
    expect(ociError(answer).code).toBe('UNAUTHORIZED');
    expect(answer.headers['www-authenticate']).toBe('Basic realm="entrepot", charset="UTF-8"');
    expect((await ask('/v2/', { host: 'login.test', as: 'hubuser' })).status).toBe(200);
    const wrong = { authorization: basic('alice', 'wrong') };
    expect((await ask('/v2/', { host: 'login.test', headers: wrong })).status).toBe(401);
  });

  test('a login that is not ours gets no token', async () => {
    const { mayPull } = upstream({ hubuser: 'yes' });
    const { ask } = await openGateScene({ users, mayPull });
    expect(outcome(await ask('/token', { as: 'hubuser' }))).toBe('401 UNAUTHORIZED');
  });
});
