import { expect, onTestFinished, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { OciError } from '../../../src/oci/errors.ts';
import type { Reference } from '../../../src/oci/reference.ts';
import { PullManifests } from '../../../src/pull/manifests/manifests.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { freely, type TagTerms } from '../../../src/pull/manifests/tag-terms.ts';
import { keyOf } from '../../../src/pull/repository.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import type { TagEvent } from '../../../src/store/tag-records.ts';
import { UpstreamError } from '../../../src/upstream/result.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { makeGate, within } from '../../helpers/gate.ts';
import { makeImage, type TestManifest } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { mustTag } from '../../helpers/stored.ts';
import { bodyOf, headOf, ok, refusals, scriptedUpstream, targetOf } from '../scripted-upstream.ts';
import { byDigest, fresh, old, tagTtl } from './manifest-scene.ts';

const tag = mustTag('v1');
const v1: Reference = { kind: 'tag', tag };
const newest = makeImage({ seed: 'newest' }).manifest;
const day = 24 * 3600_000;
const pinned: TagTerms = { ...freely, pin: true };
const aged: TagTerms = { ...freely, minAge: 3 * day };
const lockedTo = ({ digest }: TestManifest): TagTerms => ({ ...freely, locked: digest });

/** What upstream says of the tag, and of every digest. */
function naming(manifest: TestManifest) {
  const all = [old, fresh, newest];
  return {
    headManifest: async () => headOf(manifest),
    getManifest: async (_name: string, reference: Reference) => {
      if (reference.kind === 'tag') return bodyOf(manifest);
      const found = all.find(({ digest }) => digest === reference.digest);
      return found === undefined ? refusals.missing : bodyOf(found);
    },
  };
}

/** The room on an index of its own, before one upstream that names `old`. */
async function scene() {
  const metadata = metadataUnderTest(SqliteMetadata.open(`${await temporaryDirectory()}/index.db`));
  onTestFinished(() => metadata.close());
  const upstream = scriptedUpstream(naming(old));
  const clock = makeManualClock();
  const moves: TagEvent[] = [];
  const waiters: (() => void)[] = [];
  const facts = pullFacts();
  facts.on('tag-moved', ({ move }) => {
    moves.push(move);
    for (const check of waiters) check();
  });
  const store = new ManifestStore({ metadata, facts });
  const room = new PullManifests(
    { store, clock, log: captureLog().log, random: () => 0.999 },
    { manifestSize: 1_000_000 },
  );
  onTestFinished(() => room.close());
  const target = targetOf([upstream]);
  const key = keyOf(target);
  return {
    metadata,
    store,
    upstream,
    clock,
    key,
    moves,
    /** Waits until upstream was noticed to have moved the tag so often. */
    async moved(count: number): Promise<void> {
      const { promise, resolve } = Promise.withResolvers<void>();
      const check = () => {
        if (moves.length >= count) resolve();
      };
      waiters.push(check);
      check();
      await within(promise, `${count} moves`);
    },
    record: () => metadata.tags.get(key, tag),
    hot: (terms: TagTerms) =>
      room.hot({ target, reference: v1, signal: neverAborted }, terms)?.manifest.digest,
    pull: (terms: TagTerms = freely, reference: Reference = v1) =>
      room.pull({ target, reference, signal: neverAborted }, terms),
    async told(terms: TagTerms = freely, reference: Reference = v1): Promise<string> {
      try {
        const { outcome, manifest } = await room.pull({ target, reference, signal: neverAborted }, terms);
        return `${outcome} ${nameOf(manifest.digest)}`;
      } catch (error) {
        if (error instanceof OciError) return error.code;
        throw error;
      }
    },
  };
}

function nameOf(digest: Digest | undefined): string {
  const names = { old, fresh, newest };
  return Object.entries(names).find(([, manifest]) => manifest.digest === digest)?.[0] ?? '?';
}

function told(moves: readonly TagEvent[]): readonly string[] {
  return moves.map((move) => `${move.action} ${nameOf(move.old)} -> ${nameOf(move.new)}`);
}

/** Upstream's answer to a HEAD that does not say the digest. */
const headWithoutDigest = async () => ok({ digest: undefined, mediaType: '', size: 1 });

test('a pinned tag is served as what it was first, at once, while a move upstream is noted behind', async () => {
  const { told: pull, upstream, clock, moved, moves, record, hot } = await scene();
  expect(await pull(pinned)).toBe('miss old');
  clock.advance(tagTtl);
  const gate = makeGate();
  upstream.answers = {
    headManifest: async () => {
      await gate.opened;
      return headOf(fresh);
    },
  };
  // Upstream has not answered yet, and the manifest itself is not fetched.
  expect(await pull(pinned)).toBe('hit old');
  gate.open();
  await moved(1);
  expect(told(moves)).toEqual(['moved old -> fresh']);
  expect(await record()).toMatchObject({
    digest: old.digest,
    checkedAt: clock.now(),
    candidate: { digest: fresh.digest },
  });
  expect(hot(pinned)).toBe(undefined);
  expect(await pull(pinned)).toBe('hit old');
  expect(hot(pinned)).toBe(old.digest);
});

test('a pinned tag’s move is recorded once, however often it is looked at, and so is each further one', async () => {
  const { told: pull, upstream, clock, moved, moves, metadata, key } = await scene();
  await pull(pinned);
  for (const [seen, count] of [
    [fresh, 1],
    [fresh, 1],
    [newest, 2],
    [old, 3],
  ] as const) {
    clock.advance(tagTtl);
    upstream.answers = naming(seen);
    upstream.asked.length = 0;
    expect(await pull(pinned)).toBe('hit old');
    await moved(count);
    await settled();
    expect(upstream.asked).toEqual(['headManifest']);
  }
  expect(told(moves)).toEqual(['moved old -> fresh', 'moved fresh -> newest', 'moved newest -> old']);
  expect(await metadata.tags.history(key, tag)).toHaveLength(4);
});

test('a pinned tag is looked at once for all who pull it, and not again before its time', async () => {
  const { told: pull, upstream, clock } = await scene();
  await pull(pinned);
  clock.advance(tagTtl);
  upstream.asked.length = 0;
  await Promise.all([pull(pinned), pull(pinned), pull(pinned)]);
  await settled();
  await pull(pinned);
  expect(upstream.asked).toEqual(['headManifest']);
});

test.each(['missing', 'denied', 'limited', 'unavailable'] as const)(
  'a pinned tag is served on when upstream answers "%s", and upstream is left alone for a while',
  async (kind) => {
    const { told: pull, upstream, clock, record } = await scene();
    await pull(pinned);
    clock.advance(tagTtl);
    upstream.answers = { headManifest: async () => refusals[kind] };
    upstream.asked.length = 0;
    for (let count = 0; count < 3; count += 1) {
      expect(await pull(pinned)).toBe('hit old');
      await settled();
    }
    expect(upstream.asked).toEqual(['headManifest']);
    expect(await record()).toMatchObject({ digest: old.digest });
    clock.advance(10_000);
    upstream.answers = naming(old);
    await pull(pinned);
    await settled();
    expect(await record()).toMatchObject({ checkedAt: clock.now() });
  },
);

test('a pin that is lifted lets the tag go on with upstream', async () => {
  const { told: pull, upstream, clock } = await scene();
  await pull(pinned);
  clock.advance(tagTtl);
  upstream.answers = naming(fresh);
  expect(await pull(freely)).toBe('miss fresh');
});

test('a locked tag is fetched by its digest, is the tag from then on, and what upstream names is noted', async () => {
  const { told: pull, upstream, moved, moves, record, metadata, key } = await scene();
  upstream.answers = naming(fresh);
  expect(await pull(lockedTo(old))).toBe('miss old');
  await moved(1);
  expect(told(moves)).toEqual(['moved old -> fresh']);
  expect(await record()).toMatchObject({ digest: old.digest, pinned: false });
  expect((await metadata.tags.history(key, tag)).map(({ action }) => action)).toEqual(['moved', 'locked']);
  expect(await pull(lockedTo(old))).toBe('hit old');
});

test('a tag is served as the lock says at once, although another digest is fresh, and as the next lock says', async () => {
  const { told: pull, upstream, hot, metadata, key } = await scene();
  upstream.answers = naming(fresh);
  expect(await pull(freely)).toBe('miss fresh');
  expect(hot(lockedTo(old))).toBeUndefined();
  expect(await pull(lockedTo(old))).toBe('miss old');
  expect(await pull(lockedTo(newest))).toBe('miss newest');
  expect(await pull(lockedTo(newest))).toBe('hit newest');
  const history = (await metadata.tags.history(key, tag)).map(
    ({ action, new: to }) => `${action} ${nameOf(to)}`,
  );
  expect(history).toEqual(['locked newest', 'locked old', 'moved fresh']);
});

test('a lock that upstream does not have is told as such, and changes nothing', async () => {
  const { told: pull, upstream, record } = await scene();
  await pull(freely);
  upstream.answers = { ...naming(old), getManifest: async () => refusals.missing };
  expect(await pull(lockedTo(fresh))).toBe('MANIFEST_UNKNOWN');
  expect(await record()).toMatchObject({ digest: old.digest });
});

test('a tag that was rolled back stays there until it is released, and then follows upstream again', async () => {
  const { told: pull, upstream, clock, store, key, moves, metadata } = await scene();
  await pull();
  clock.advance(tagTtl);
  upstream.answers = naming(fresh);
  expect(await pull()).toBe('miss fresh');
  const back = { digest: old.digest, action: 'rolled back', at: clock.now() } as const;
  expect(await store.setTag(key, tag, back)).toBe(true);
  expect(await pull()).toBe('hit old');
  clock.advance(2 * tagTtl);
  expect(await pull()).toBe('hit old');
  await settled();
  // Upstream still says what it said before the rollback: no move.
  expect(told(moves)).toEqual(['moved old -> fresh']);
  expect(await store.releaseTag(key, tag, clock.now())).toBe(true);
  expect(await pull()).toBe('miss fresh');
  expect((await metadata.tags.history(key, tag)).map(({ action }) => action)).toEqual([
    'released',
    'rolled back',
    'moved',
    'moved',
  ]);
});

test('a new digest is served only when it has been known long enough, the previous one until then', async () => {
  const { told: pull, upstream, clock, moves, record } = await scene();
  expect(await pull(aged)).toBe('miss old');
  clock.advance(tagTtl);
  upstream.answers = naming(fresh);
  expect(await pull(aged)).toBe('revalidated old');
  const since = clock.now();
  expect(await record()).toMatchObject({ candidate: { digest: fresh.digest, since } });
  clock.advance(3 * day - 1);
  expect(await pull(aged)).toBe('revalidated old');
  // Fresh for a while yet.
  clock.advance(tagTtl - 1);
  expect(await pull(aged)).toBe('hit old');
  clock.advance(1);
  expect(await pull(aged)).toBe('miss fresh');
  expect(await pull(aged)).toBe('hit fresh');
  expect(told(moves)).toEqual(['moved old -> fresh']);
});

test('the time begins anew with each digest, and one that upstream took back is never served', async () => {
  const { told: pull, upstream, clock, moves } = await scene();
  await pull(aged);
  for (const [seen, wait] of [
    [fresh, 2 * day],
    [newest, 2 * day],
    [old, 2 * day],
    [newest, 2 * day],
  ] as const) {
    upstream.answers = naming(seen);
    clock.advance(tagTtl);
    expect(await pull(aged)).toMatch(/^revalidated old$/);
    clock.advance(wait);
    expect(await pull(aged)).toMatch(/^revalidated old$/);
  }
  expect(told(moves)).toHaveLength(4);
  clock.advance(day);
  expect(await pull(aged)).toBe('miss newest');
});

test('a tag that moves on while its aged digest is fetched is not served as something younger', async () => {
  const { told: pull, upstream, clock } = await scene();
  await pull(aged);
  upstream.answers = naming(fresh);
  clock.advance(tagTtl);
  await pull(aged);
  clock.advance(3 * day);
  upstream.answers = { ...naming(newest), headManifest: async () => headOf(fresh) };
  expect(await pull(aged)).toBe('miss fresh');
});

test('a first digest is served at once: there is no previous one', async () => {
  const { told: pull } = await scene();
  expect(await pull(aged)).toBe('miss old');
});

test('an upstream that names no digest on HEAD is asked for the manifest, whose age counts', async () => {
  const { told: pull, upstream, clock, record, metadata, key } = await scene();
  await pull(aged);
  upstream.answers = { ...naming(fresh), headManifest: headWithoutDigest };
  upstream.asked.length = 0;
  clock.advance(tagTtl);
  expect(await pull(aged)).toBe('revalidated old');
  expect(upstream.asked).toEqual(['headManifest', 'getManifest']);
  expect(await record()).toMatchObject({ digest: old.digest, candidate: { digest: fresh.digest } });
  // It was fetched, but no tag led to it yet.
  const steps = await metadata.links.stepsUp(key, [{ digest: fresh.digest }], { current: false });
  expect(steps).toMatchObject([{ tags: [] }]);
  clock.advance(3 * day);
  expect(await pull(aged)).toBe('miss fresh');
});

test.each([
  ['names no digest on HEAD', headWithoutDigest],
  [
    'knows no HEAD',
    async () => {
      const because = { upstream: 'up', op: 'head-manifest', reason: 'method' } as const;
      return { kind: 'unavailable', upstream: 'up', cause: new UpstreamError('405', because) } as const;
    },
  ],
])('a pinned tag’s move is noted although upstream %s', async (_what, headManifest) => {
  const { told: pull, upstream, clock, moved, moves, record } = await scene();
  await pull(pinned);
  clock.advance(tagTtl);
  upstream.answers = { ...naming(fresh), headManifest };
  expect(await pull(pinned)).toBe('hit old');
  await moved(1);
  clock.advance(tagTtl);
  expect(await pull(pinned)).toBe('hit old');
  await settled();
  expect(told(moves)).toEqual(['moved old -> fresh']);
  expect(await record()).toMatchObject({ digest: old.digest, candidate: { digest: fresh.digest } });
});

test('a digest is served whatever holds a tag', async () => {
  const { told: pull } = await scene();
  await pull(pinned);
  expect(await pull(pinned, byDigest(fresh))).toBe('miss fresh');
});

test('an aged tag is served stale when upstream cannot tell', async () => {
  const { pull, upstream, clock } = await scene();
  await pull(aged);
  clock.advance(tagTtl);
  upstream.answers = { headManifest: async () => refusals.unavailable };
  expect(await pull(aged)).toMatchObject({ outcome: 'stale', manifest: { digest: old.digest } });
});

/** Lets what goes on behind a pull end: scripted upstreams and the index answer without timers. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
}
