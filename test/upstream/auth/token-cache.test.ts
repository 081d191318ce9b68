import { expect, it } from 'vitest';
import { TokenCache } from '../../../src/upstream/auth/token-cache.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';

const never = new AbortController().signal;

function openCache() {
  let asked = 0;
  const clock = makeManualClock();
  const cache = new TokenCache({ clock }, async (key) => {
    asked++;
    if (key === 'refused') return { kind: 'denied', upstream: 'r.test', status: 401 };
    return { kind: 'token', token: `${key}${asked}`, lifetime: 100 };
  });
  return { cache, clock, asked: () => asked };
}

it('forgets the token that was refused, but not the one that replaced it', async () => {
  const { cache } = openCache();
  expect(await cache.get('a', never)).toMatchObject({ token: 'a1' });
  cache.forget('a', 'a0');
  expect(await cache.get('a', never)).toMatchObject({ token: 'a1' });
  cache.forget('a', 'a1');
  expect(await cache.get('a', never)).toMatchObject({ token: 'a2' });
});

it('remembers no refusal', async () => {
  const { cache, asked } = openCache();
  expect(await cache.get('refused', never)).toMatchObject({ kind: 'denied' });
  expect(await cache.get('refused', never)).toMatchObject({ kind: 'denied' });
  expect(asked()).toBe(2);
});

it('remembers a bounded number of tokens', async () => {
  const { cache, asked } = openCache();
  for (let n = 0; n <= 1000; n++) await cache.get(`r${n}`, never);
  await cache.get('r1000', never);
  expect(asked()).toBe(1001);
  await cache.get('r0', never);
  expect(asked()).toBe(1002);
});
