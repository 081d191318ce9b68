import { describe, expect, test } from 'vitest';
import type { ListingRecords } from '../../src/store/listing-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { app, other } from './contract-content.ts';

/**
 * What every {@link ListingRecords} promises.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeListings(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as ListingRecords`, () => {
    test('an empty index knows none, and forgetting is harmless', async () => {
      const metadata = await open();
      expect(await metadata.listings.get(app, 'tags')).toBeUndefined();
      await metadata.listings.drop(app, 'tags');
    });

    test('a listing is replaced whole, and forgotten', async () => {
      const metadata = await open();
      const first = { body: Buffer.from('["a"]'), mediaType: 'application/json', checkedAt: 1 };
      const second = { body: Buffer.alloc(0), mediaType: 'text/x', checkedAt: 2 };
      await metadata.listings.put(app, 'tags', first);
      expect(await metadata.listings.get(app, 'tags')).toEqual(first);
      await metadata.listings.put(app, 'tags', second);
      expect(await metadata.listings.get(app, 'tags')).toEqual(second);
      expect(await metadata.listings.get(app, 'tags ')).toBeUndefined();
      expect(await metadata.listings.get(other, 'tags')).toBeUndefined();
      await metadata.listings.drop(app, 'tags');
      expect(await metadata.listings.get(app, 'tags')).toBeUndefined();
    });
  });
}
