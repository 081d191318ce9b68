import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { PullBlobs } from '../../../src/pull/blobs/blobs.ts';
import type { ResolvedRepository } from '../../../src/pull/repository.ts';
import { FillFiles } from '../../../src/store/disk/fill-files.ts';
import { startFakeUpstream } from '../../helpers/fake-upstream.ts';
import { makeGate } from '../../helpers/gate.ts';
import { makeBlob } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { mustKey } from '../../helpers/stored.ts';
import { fillScene } from '../fill/fill-scene.ts';
import { readRange } from '../fill/reading.ts';

const blob = makeBlob('blob', 100_000);
const { digest, bytes } = blob;

/** Blobs of a repository that its upstream lacks for now, whose memory is by a clock that the test moves. */
async function begin() {
  const upstream = await startFakeUpstream();
  const { fills, store, metadata, target, allow } = await fillScene([upstream.url]);
  const clock = makeManualClock();
  const blobs = new PullBlobs({ blobs: store, metadata, fills, clock });
  const code = (error: unknown) => (error as { code?: string }).code;
  return {
    upstream,
    clock,
    fills,
    metadata,
    target,
    allow,
    blobs,
    ttl: target.registry.negativeTtl,
    other: { ...target, repository: mustKey('ghcr.io', 'org/other').repository },
    asked: () => upstream.journal.entries.map(({ method, kind }) => `${method} ${kind}`),
    /** What a GET comes to: its outcome, or the code of its failure. */
    async pull(from: ResolvedRepository = target): Promise<string | undefined> {
      try {
        const content = await blobs.open(from, digest, neverAborted);
        const read = readRange(content.read, { start: 0, end: content.size }, 30_000, neverAborted);
        const { failure } = await read.finally(() => content.close());
        return failure === undefined ? content.outcome : code(failure);
      } catch (error) {
        return code(error);
      }
    },
    async stat(): Promise<string | undefined> {
      return blobs.stat(target, digest, neverAborted).then(({ outcome }) => outcome, code);
    },
  };
}

const refusals = [
  [404, 'BLOB_UNKNOWN'],
  [403, 'DENIED'],
] as const;

test.each(refusals)(
  'an upstream’s %i about a blob that no manifest names is remembered for its time',
  async (status, code) => {
    const { pull, stat, asked, clock, upstream, ttl } = await begin();
    upstream.script({ match: { kind: 'blob' }, status });
    expect(await pull()).toBe(code);
    clock.advance(ttl - 1);
    expect([await pull(), await stat()]).toEqual([code, code]);
    expect(asked()).toEqual(['HEAD blob']);
    clock.advance(1);
    expect(await stat()).toBe(code);
    expect(asked()).toEqual(['HEAD blob', 'HEAD blob']);
  },
);

test.each(refusals)(
  'an upstream’s %i about a blob that a manifest names is remembered for its time',
  async (status, code) => {
    const { pull, stat, asked, clock, upstream, allow, ttl } = await begin();
    upstream.script({ match: { kind: 'blob' }, status });
    await allow(digest, bytes.length);
    expect(await pull()).toBe(code);
    const once = asked().length;
    clock.advance(ttl - 1);
    expect([await pull(), await stat(), await pull()]).toEqual([code, code, code]);
    expect(asked()).toHaveLength(once);
    clock.advance(1);
    upstream.heal();
    upstream.content.addBlob('org/app', blob);
    expect(await pull()).toBe('miss');
  },
);

test('an upstream that is down is asked again after a second', async () => {
  const { pull, asked, clock, upstream } = await begin();
  upstream.script({ match: { kind: 'blob' }, status: 503 });
  expect(await pull()).toBe('UNAVAILABLE');
  clock.advance(999);
  expect(await pull()).toBe('UNAVAILABLE');
  expect(asked()).toEqual(['HEAD blob']);
  clock.advance(1);
  upstream.heal();
  upstream.content.addBlob('org/app', blob);
  expect(await pull()).toBe('miss');
});

test('a download that fails for another reason than absence may be tried again at once', async () => {
  const { pull, upstream, allow } = await begin();
  await allow(digest, bytes.length);
  upstream.content.addBlob('org/app', blob);
  upstream.script({ match: { kind: 'blob' }, status: 400 });
  expect(await pull()).toBe('UNAVAILABLE');
  upstream.heal();
  expect(await pull()).toBe('miss');
});

test('a manifest that names the blob ends what was remembered from before', async () => {
  const { pull, upstream, allow } = await begin();
  expect(await pull()).toBe('BLOB_UNKNOWN');
  upstream.content.addBlob('org/app', blob);
  await allow(digest, bytes.length);
  expect(await pull()).toBe('miss');
});

test('what one repository lacks another may have, though both wait for one download', async () => {
  const { pull, other, upstream, metadata, target, blobs } = await begin();
  upstream.content.addBlob('org/other', blob);
  const held = upstream.script({ match: { kind: 'blob', method: 'GET' }, hold: true, times: 1 });
  for (const { repository } of [target, other]) {
    await metadata.links.put({ registry: 'ghcr.io', repository }, digest, bytes.length);
  }
  const first = pull();
  await held.reached();
  const content = await blobs.open(other, digest, neverAborted);
  held.release();
  expect(await first).toBe('BLOB_UNKNOWN');
  await content.close();
  expect(await pull()).toBe('BLOB_UNKNOWN');
  expect(await pull(other)).toBe('miss');
  // Now that it is here, it is served where a manifest names it.
  expect(await pull()).toBe('hit');
});

test('a download that was begun ahead is remembered too, as soon as a client is told of its end', async () => {
  const { pull, asked, upstream, allow, blobs, target } = await begin();
  await allow(digest, bytes.length);
  const held = upstream.script({ match: { kind: 'blob' }, hold: true, status: 404 });
  const ahead = blobs.begin(target, digest, neverAborted).catch(() => undefined);
  await held.reached();
  const joined = pull();
  held.release();
  expect(await joined).toBe('BLOB_UNKNOWN');
  const before = asked().length;
  expect(await pull()).toBe('BLOB_UNKNOWN');
  await ahead;
  expect(await pull()).toBe('BLOB_UNKNOWN');
  expect(asked()).toHaveLength(before);
});

test('a download that nobody reads is remembered', async () => {
  const { pull, asked, allow, blobs, target } = await begin();
  await allow(digest, bytes.length);
  await expect(blobs.begin(target, digest, neverAborted)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  const once = asked().length;
  expect(await pull()).toBe('BLOB_UNKNOWN');
  await expect(blobs.begin(target, digest, neverAborted)).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  expect(asked()).toHaveLength(once);
});

test('the time counts from when the first client is told, however long the cleaning up takes', async () => {
  const { pull, stat, asked, clock, allow, fills, ttl } = await begin();
  await allow(digest, bytes.length);
  const gate = makeGate();
  const removing = vi.spyOn(FillFiles.prototype, 'remove').mockImplementation(() => gate.opened);
  onTestFinished(() => removing.mockRestore());
  expect(await pull()).toBe('BLOB_UNKNOWN');
  const failed = fills.find(digest);
  const once = asked().length;
  clock.advance(ttl - 1);
  expect([await stat(), await pull()]).toEqual(['BLOB_UNKNOWN', 'BLOB_UNKNOWN']);
  expect(asked()).toHaveLength(once);
  gate.open();
  await expect(failed?.done).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' });
  removing.mockRestore();
  clock.advance(1);
  await pull();
  expect(asked().length).toBeGreaterThan(once);
});
