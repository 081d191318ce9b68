import { expect, test } from 'vitest';
import type { Metadata } from '../../src/store/metadata.ts';
import { describeBlobs } from './contract-blobs.ts';
import { describeJournal } from './contract-journal.ts';
import { describeLinks } from './contract-links.ts';
import { describeListings } from './contract-listings.ts';
import { describeManifests } from './contract-manifests.ts';
import { describeTags } from './contract-tags.ts';

/**
 * What every {@link Metadata} promises: its six contracts, and that it can be closed.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeMetadata(name: string, open: () => Promise<Metadata>): void {
  describeTags(name, open);
  describeManifests(name, open);
  describeLinks(name, open);
  describeBlobs(name, open);
  describeListings(name, open);
  describeJournal(name, open);

  test(`${name}: closing twice is closing`, async () => {
    const metadata = await open();
    await metadata.close();
    await expect(metadata.close()).resolves.toBeUndefined();
  });
}
