import { generateKeyPairSync } from 'node:crypto';
import path from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { decompressed, zstdCompressed } from '../../../src/transfer/bundle/codec.ts';
import { signatureSize, signed } from '../../../src/transfer/bundle/signature.ts';
import { makeImage, makeIndex } from '../../helpers/image.ts';
import { howOften } from '../../helpers/runs.ts';
import { openSite, piecesOf, type Site, temporaryFolder } from './bundle-scene.ts';

const old = makeImage({ seed: 'old', layers: [700] });
const next = makeIndex({ seed: 'new', layers: [900, 1_500] });
const name = 'docker.io/library/app:1.0';

const [mine, theirs] = [generateKeyPairSync('ed25519'), generateKeyPairSync('ed25519')];

async function siteWithOld(folder: string): Promise<Site> {
  const site = await openSite(path.join(folder, 'b'));
  await site.putImage(name, old);
  return site;
}

async function makeBundle(folder: string): Promise<Buffer> {
  const a = await openSite(path.join(folder, 'a'));
  await a.putIndex(name, next);
  return a.export('all');
}

async function whole(pieces: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

describe('a damaged bundle', () => {
  test('with any byte changed is refused, what was there stays, and the whole one imports afterwards', async () => {
    const folder = await temporaryFolder();
    const bundle = await makeBundle(folder);
    const signedBundle = await whole(signed(piecesOf(bundle, 999), mine.privateKey));
    expect(signedBundle.length).toBe(bundle.length + signatureSize);
    const b = await siteWithOld(folder);
    const before = await b.visible();
    await fc.assert(
      fc.asyncProperty(
        fc.boolean(),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        async (sign, spot, change) => {
          const changed = Buffer.from(sign ? signedBundle : bundle);
          const at = spot % changed.length;
          changed[at] = (changed[at] ?? 0) ^ change;
          await expect(b.import(changed)).rejects.toMatchObject({
            name: 'BundleError',
            code: expect.stringMatching(/^BUNDLE_|^NO_SPACE$/),
          });
          expect(await b.visible()).toEqual(before);
          expect(b.leftovers()).toEqual([]);
          // Otherwise a part that was right in an earlier run is not read again.
          for (const { blobs } of [await reset(b)]) expect(blobs).toBe(0);
        },
      ),
      { numRuns: howOften(250, 60) },
    );
    await b.import(bundle);
    expect(await b.whole(name)).toBe(true);
  }, 120_000);

  test('that says other names, sizes or digests than it was written with is refused', async () => {
    const folder = await temporaryFolder();
    const bundle = await makeBundle(folder);
    const b = await siteWithOld(folder);
    const before = await b.visible();
    const changes = [
      ['library/app', 'library/apq'],
      ['"tag": "1.0"', '"tag": "1.1"'],
      ['"linux/amd64"', '"linux/amd65"'],
      ['"size": 900', '"size": 901'],
      ['"manifests": [', '"manifests":[ '],
    ] as const;
    for (const [from, to] of changes) {
      const at = bundle.indexOf(from, bundle.indexOf('"entrepot-bundle"'));
      expect(at).toBeGreaterThan(0);
      const changed = Buffer.concat([
        bundle.subarray(0, at),
        Buffer.from(to),
        bundle.subarray(at + to.length),
      ]);
      await expect(b.import(changed)).rejects.toMatchObject({ code: 'BUNDLE_CORRUPT' });
      expect(await b.visible()).toEqual(before);
    }
  });

  test('is none where the bytes that changed are stored already: they are not copied again', async () => {
    const folder = await temporaryFolder();
    const bundle = await makeBundle(folder);
    const b = await siteWithOld(folder);
    const [layer] = next.images[0]?.layers ?? [];
    if (layer === undefined) throw new Error('no layer');
    await b.putBlob(layer);
    const changed = Buffer.from(bundle);
    const at = changed.indexOf(layer.bytes);
    changed[at] = (changed[at] ?? 0) ^ 1;
    await b.import(changed);
    expect(await b.whole(name)).toBe(true);
  });

  test('cut anywhere is refused, what was there stays, and the whole one imports afterwards', async () => {
    const folder = await temporaryFolder();
    const bundle = await makeBundle(folder);
    const b = await siteWithOld(folder);
    const before = await b.visible();
    await fc.assert(
      fc.asyncProperty(fc.nat(bundle.length - 1), async (length) => {
        await expect(b.import(bundle.subarray(0, length))).rejects.toMatchObject({
          code: 'BUNDLE_TRUNCATED',
        });
        expect(await b.visible()).toEqual(before);
        expect(b.leftovers()).toEqual([]);
      }),
      { numRuns: howOften(150, 40) },
    );
    await b.import(bundle);
    expect(await b.whole(name)).toBe(true);
  }, 120_000);

  test('that is compressed is refused, or was damaged where nothing depends on it', async () => {
    const folder = await temporaryFolder();
    const bundle = await makeBundle(folder);
    const compressed = await whole(zstdCompressed(piecesOf(bundle, 5_000)));
    expect(compressed.length).toBeLessThan(bundle.length);
    expect((await whole(decompressed(piecesOf(compressed, 777)))).equals(bundle)).toBe(true);
    const b = await siteWithOld(folder);
    const before = await b.visible();
    await fc.assert(
      fc.asyncProperty(fc.nat(compressed.length - 1), fc.boolean(), async (at, cut) => {
        const changed = Buffer.from(cut ? compressed.subarray(0, at) : compressed);
        if (!cut) changed[at] = (changed[at] ?? 0) ^ 1;
        const unpacked = await whole(decompressed(piecesOf(changed, 777))).catch((error: unknown) => error);
        if (Buffer.isBuffer(unpacked) && unpacked.equals(bundle)) return;
        await expect(b.import(decompressed(piecesOf(changed, 777)))).rejects.toMatchObject({
          name: 'BundleError',
        });
        expect(await b.visible()).toEqual(before);
      }),
      { numRuns: howOften(100, 25) },
    );
  });
});

/** Removes blobs that no manifest names, as a cleaner would. */
async function reset(site: Site): Promise<{ blobs: number }> {
  const kept = new Set([old.config, ...old.layers].map(({ digest }) => digest as string));
  let left = 0;
  for (const { digest } of await site.metadata.blobs.all()) {
    if (kept.has(digest)) continue;
    await site.blobs.remove(digest);
    if ((await site.blobs.size(digest)) !== undefined) left += 1;
  }
  return { blobs: left };
}

describe('a signature', () => {
  let bundle: Buffer;
  let folder: string;
  beforeAll(() => {
    expect(mine.publicKey.asymmetricKeyType).toBe('ed25519');
  });

  async function scene() {
    folder = await temporaryFolder();
    bundle = await makeBundle(folder);
    return siteWithOld(folder);
  }

  test('by the key that is asked for lets a bundle in, and is always the same', async () => {
    const b = await scene();
    const once = await whole(signed(piecesOf(bundle, 333), mine.privateKey));
    const again = await whole(signed(piecesOf(bundle, 50_000), mine.privateKey));
    expect(once.equals(again)).toBe(true);
    const summary = await b.import(once, { verifyKey: mine.publicKey });
    expect(summary.signedBy).toMatch(/^SHA256:/);
  });

  test('by another key, or none, keeps a bundle out before anything is stored', async () => {
    const b = await scene();
    const files = b.blobFiles();
    const other = await whole(signed(piecesOf(bundle, 333), theirs.privateKey));
    for (const archive of [other, bundle]) {
      await expect(b.import(archive, { verifyKey: mine.publicKey })).rejects.toMatchObject({
        code: 'BUNDLE_SIGNATURE',
      });
    }
    expect(b.blobFiles()).toEqual(files);
  });

  test('that means the same in other letters is refused, as any change is', async () => {
    const b = await scene();
    const once = await whole(signed(piecesOf(bundle, 333), mine.privateKey));
    const at = once.indexOf('=="', once.indexOf('"signature"')) - 1;
    const changed = Buffer.from(once);
    // The last letter of a signature has bits that stand for nothing.
    changed[at] = (changed[at] ?? 0) + 1;
    await expect(b.import(changed)).rejects.toMatchObject({ code: 'BUNDLE_SIGNATURE' });
  });

  test('of other contents keeps a bundle out even when nobody asks for a key', async () => {
    const b = await scene();
    const a2 = await openSite(path.join(folder, 'a2'));
    await a2.putImage(name, makeImage({ seed: 'third' }));
    const other = await a2.export('all');
    const signedOther = await whole(signed(piecesOf(other, 333), mine.privateKey));
    const signature = signedOther.subarray(signedOther.indexOf('entrepot/contents.sig'));
    const whole1 = await whole(signed(piecesOf(bundle, 333), mine.privateKey));
    const at = whole1.indexOf('entrepot/contents.sig');
    const mixed = Buffer.concat([
      whole1.subarray(0, at),
      signature.subarray(0, signatureSize),
      whole1.subarray(at + signatureSize),
    ]);
    await expect(b.import(mixed)).rejects.toMatchObject({ code: 'BUNDLE_SIGNATURE' });
  });
});
