import { expect, test, vi } from 'vitest';
import { repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { makeJumpingClock } from '../helpers/manual-clock.ts';
import { patience } from '../helpers/patience.ts';
import { pull } from '../helpers/pull.ts';
import { startProxy } from '../helpers/start-proxy.ts';

const image = `ghcr.io/${repository}`;
const day = 24 * 3_600_000;

async function scene(options: { allowFills?: boolean } = {}) {
  const upstream = await startFakeUpstream();
  upstream.add(repository, makeImage({ seed: '1' }), '1.0.0');
  const clock = makeJumpingClock();
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstream },
    sync: [{ image, newest: 1, schedule: '@daily' }],
    clock,
    ...options,
  });
  const causes = () => {
    const runs = proxy.logs.lines.filter(({ message }) => /^sync ended/.test(message));
    return runs.map(({ fields }) => fields['cause']);
  };
  const ran = (count: number) => vi.waitUntil(() => causes().length >= count, { timeout: patience });
  return { upstream, proxy, clock, causes, ran };
}

test('a server that was down when a sync was due makes up for it once, soon after its start', async () => {
  const { upstream, proxy, clock, causes, ran } = await scene();
  await ran(1);
  await proxy.close();
  const next = makeImage({ seed: '2' });
  upstream.add(repository, next, '2.0.0');
  clock.advance(3 * day);
  await proxy.restart();
  await ran(2);
  await upstream.refuse();
  expect((await pull(proxy.url, { repository, reference: '2.0.0' })).digest).toBe(next.manifest.digest);
  await upstream.accept();
  expect(causes()).toEqual(['missed', 'missed']);
  // Three days were missed; the day after is the next.
  clock.advance(day);
  await ran(3);
  expect(causes()).toEqual(['missed', 'missed', 'schedule']);
});

test('a restart in between makes up for nothing', async () => {
  const { upstream, proxy, clock, causes, ran } = await scene();
  await ran(1);
  upstream.journal.clear();
  await proxy.restart();
  await proxy.restart();
  // Whatever was begun at a start would be seen before what is begun a day later.
  clock.advance(day);
  await ran(2);
  expect(causes()).toEqual(['missed', 'schedule']);
  expect(upstream.journal.count({ kind: 'tags' })).toBe(1);
});

test('a run that a stop broke off is made up for', async () => {
  const { upstream, proxy, clock, causes, ran } = await scene({ allowFills: true });
  await ran(1);
  const big = makeImage({ seed: 'big', layers: [500_000] });
  upstream.add(repository, big, '3.0.0');
  const hold = upstream.script({ match: { kind: 'blob' }, hold: true });
  clock.advance(day);
  await hold.reached();
  await proxy.close();
  expect(causes()).toEqual(['missed']);
  hold.release();
  upstream.heal();
  await proxy.restart();
  await ran(2);
  expect(causes()).toEqual(['missed', 'missed']);
  await upstream.refuse();
  expect((await pull(proxy.url, { repository, reference: '3.0.0' })).digest).toBe(big.manifest.digest);
});
