import { expect, onTestFinished, test } from 'vitest';
import { KnownHealth } from '../../../src/pull/asking/known-health.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { holdableMetadata } from '../../helpers/wrapped-metadata.ts';

async function scene() {
  const index = SqliteMetadata.open(`${await temporaryDirectory()}/index.db`);
  onTestFinished(() => index.close());
  const { metadata, hold } = holdableMetadata(index);
  const deps = { metadata, clock: makeManualClock(), random: () => 0.5 };
  return { hold, index, open: () => new KnownHealth(deps) };
}

test('what is known of upstreams is there again after a restart, by registry and name', async () => {
  const { open } = await scene();
  const before = open();
  await before.load();
  before.of('ghcr.io', 'up').observeFailure('stall');
  expect(before.of('ghcr.io', 'up')).toBe(before.of('ghcr.io', 'up'));
  await before.save();
  const after = open();
  await after.load();
  expect(after.of('ghcr.io', 'up').snapshot()).toEqual(before.of('ghcr.io', 'up').snapshot());
  expect(after.of('quay.io', 'up').snapshot()).not.toEqual(before.of('ghcr.io', 'up').snapshot());
});

test('what was known later is what is kept, though an earlier write is slow', async () => {
  const { open, hold, index } = await scene();
  const known = open();
  known.of('ghcr.io', 'up');
  const write = hold('journal.putUpstreamHealth', 'effect');
  const first = known.save();
  await write.reached;
  known.of('ghcr.io', 'other');
  const second = known.save();
  write.release();
  await Promise.all([first, second]);
  const stored = await index.journal.upstreamHealth();
  expect(stored.map(({ upstream }) => upstream).sort()).toEqual(['other', 'up']);
});
