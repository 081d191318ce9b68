import type { Hash } from 'node:crypto';
import path from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { neverAborted } from '../../src/lib/abort.ts';
import { silentLog } from '../../src/lib/log.ts';
import { DigestThread } from '../../src/store/disk/digest-thread.ts';
import { DiskBlobStore } from '../../src/store/disk/disk-blob-store.ts';
import { storageLayout } from '../../src/store/disk/layout.ts';
import { Scrub } from '../../src/transfer/images/scrub.ts';
import { nobody } from '../helpers/facts.ts';
import { blobsOf, makeImage, seededBytes } from '../helpers/image.ts';
import { dockerSave, tarOf } from './bundle/archives.ts';
import { openSite, temporaryFolder } from './bundle/bundle-scene.ts';

const hashed = vi.hoisted(() => ({ bytes: 0 }));

// In this thread alone: worker threads run the real module.
vi.mock('node:crypto', async (original) => {
  const real = await original<typeof import('node:crypto')>();
  const counted: typeof real.createHash = (...args) => {
    const hash = real.createHash(...args);
    const update = hash.update.bind(hash) as (...given: unknown[]) => Hash;
    hash.update = (...given: unknown[]) => {
      hashed.bytes += (given[0] as string | Uint8Array).length;
      return update(...given);
    };
    return hash;
  };
  return { ...real, createHash: counted };
});

/** What a list of contents, a receipt and some manifests come to, and far less than a layer. */
const small = 64 * 1024;

const name = 'docker.io/library/app:1.0';
const image = makeImage({ layers: [3_000_000, 2_000_000] });

/** How many bytes this thread hashes while something is done. */
async function hashedHere(work: () => Promise<unknown>): Promise<number> {
  hashed.bytes = 0;
  await work();
  return hashed.bytes;
}

async function siteWithImage() {
  const site = await openSite(path.join(await temporaryFolder(), 'a'));
  await site.putImage(name, image);
  return site;
}

test('an export hashes its blobs in another thread, and notices one that was changed', async () => {
  const site = await siteWithImage();
  expect(await hashedHere(() => site.export([name]))).toBeLessThan(small);
  const [layer] = image.layers;
  if (layer === undefined) throw new Error('it has layers');
  await site.putBlob({ ...layer, bytes: Buffer.from(layer.bytes).fill(0, 0, 1) });
  await expect(site.export([name])).rejects.toMatchObject({ code: 'NOT_STORED' });
});

test('an import hashes what it brings in another thread', async () => {
  const bundle = await (await siteWithImage()).export([name]);
  const site = await openSite(path.join(await temporaryFolder(), 'b'));
  expect(await hashedHere(() => site.import(bundle))).toBeLessThan(small);
  expect(await site.whole(name)).toBe(true);
});

test('an import unpacks compressed layers of docker save, and hashes them in another thread', async () => {
  const layers = [seededBytes('one', 2_000_000), seededBytes('two', 1_000_000)];
  const { members } = dockerSave({ tags: ['app:1.0'], gzip: true, layers });
  const site = await openSite(path.join(await temporaryFolder(), 'c'));
  expect(await hashedHere(() => site.import(tarOf(members)))).toBeLessThan(small);
  expect(await site.whole(name)).toBe(true);
});

test('a scrub hashes all that is stored in another thread', async () => {
  const { metadata, blobs, root } = await siteWithImage();
  const digests = new DigestThread();
  onTestFinished(() => digests.close());
  const clock = { now: () => 1 };
  const scrub = new Scrub({
    metadata,
    blobs,
    bytes: new DiskBlobStore(storageLayout(root)),
    digests,
    clock,
    log: silentLog,
    facts: nobody,
  });
  const bytes = blobsOf(image).reduce((sum, blob) => sum + blob.bytes.length, 0);
  const run = async () =>
    expect(await scrub.run({ rate: 0 }, () => undefined, neverAborted)).toEqual({
      checked: 4,
      bytes,
      wrong: 0,
    });
  expect(await hashedHere(run)).toBe(0);
});
