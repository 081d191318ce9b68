import { describe, expect, test } from 'vitest';
import type { BlobRecords } from '../../src/store/blob-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { layer, spare } from './contract-content.ts';

/**
 * What every {@link BlobRecords} promises.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeBlobs(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as BlobRecords`, () => {
    test('an empty index knows none, and forgetting is harmless', async () => {
      const metadata = await open();
      expect(await metadata.blobs.all()).toEqual([]);
      expect(await metadata.blobs.storedAt([layer])).toEqual(new Map());
      await metadata.blobs.drop(layer);
    });

    test('those stored are listed, with the time of each', async () => {
      const metadata = await open();
      await metadata.blobs.put(layer, 10, 7);
      expect(await metadata.blobs.all()).toEqual([{ digest: layer, size: 10, storedAt: 7 }]);
      expect(await metadata.blobs.storedAt([layer, spare])).toEqual(new Map([[layer, 7]]));
    });

    test('one that is put twice was stored the first time', async () => {
      const metadata = await open();
      for (const at of [1, 2]) await metadata.blobs.put(layer, 10, at);
      expect(await metadata.blobs.storedAt([layer])).toEqual(new Map([[layer, 1]]));
    });

    test('one that is dropped is no longer stored, and can be put again', async () => {
      const metadata = await open();
      await metadata.blobs.put(layer, 10, 7);
      await metadata.blobs.drop(layer);
      expect(await metadata.blobs.all()).toEqual([]);
      await metadata.blobs.put(layer, 10, 8);
      expect(await metadata.blobs.all()).toMatchObject([{ storedAt: 8 }]);
    });
  });
}
