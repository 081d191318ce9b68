import type { KeyObject } from 'node:crypto';
import { formatSize } from '../../lib/units.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Staging } from '../../store/disk/import-staging.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { Lease, StoredBlobs } from '../../store/stored-blobs.ts';
import type { BundleContents } from '../bundle/bundle-contents.ts';
import { BundleError } from '../bundle/bundle-error.ts';
import { checkSignature } from '../bundle/signature.ts';
import type { ImportEvent } from './import-events.ts';

/**
 * Finds out whether there is room for a bundle, and whether what it leaves out is here.
 * @throws BundleError `BUNDLE_INCOMPLETE`, `NO_SPACE`
 */
export async function admitBundle(
  { images, blobs: carried, leftOut }: BundleContents,
  {
    blobs,
    lease,
    metadata,
    staging,
  }: { blobs: StoredBlobs; lease: Lease; metadata: Pick<Metadata, 'manifests'>; staging: Staging },
): Promise<ImportEvent> {
  const lacking: Digest[] = [];
  for (const { digest, size } of leftOut?.blobs ?? []) {
    lease.hold(digest);
    if ((await blobs.present(digest)) !== size) lacking.push(digest);
  }
  for (const { digest } of leftOut?.manifests ?? []) {
    if ((await metadata.manifests.bytes(digest)) === undefined) lacking.push(digest);
  }
  if (leftOut !== undefined && lacking.length > 0) {
    throw new BundleError(
      'BUNDLE_INCOMPLETE',
      `the bundle leaves out what the receipt ${leftOut.receipt} says is here, but ${lacking.length} of it are not (${lacking[0]}): export again with a newer receipt, or without --since`,
    );
  }
  let bytes = 0;
  for (const { digest, size } of carried) if ((await blobs.present(digest)) === undefined) bytes += size;
  const room = await staging.room();
  if (bytes > room) {
    throw new BundleError(
      'NO_SPACE',
      `the bundle brings ${formatSize(bytes)} and there is room for ${formatSize(room)}: make space in the storage, then import again`,
    );
  }
  return { kind: 'contents', images: images.length, blobs: carried.length, bytes };
}

/**
 * Checks a bundle's signature; without a trusted key only that it is right, if there is one.
 * @returns the fingerprint of the key that signed
 * @throws BundleError `BUNDLE_SIGNATURE`
 */
export function checkSigned(
  contents: BundleContents | undefined,
  bytes: Buffer,
  signature: Buffer | undefined,
  trusted: KeyObject | undefined,
): string | undefined {
  if (contents !== undefined && signature !== undefined) return checkSignature(bytes, signature, trusted);
  if (trusted === undefined) return undefined;
  throw new BundleError(
    'BUNDLE_SIGNATURE',
    contents === undefined
      ? 'the archive is no bundle of entrepot, so it has no signature: import it without --verify-key if you trust it'
      : 'the bundle is not signed: export it with --sign-key',
  );
}

/**
 * Checks that images are only of registries that are configured.
 * @throws BundleError `BUNDLE_REGISTRY`, with the lines to be added
 */
export function checkRegistries(named: readonly string[], configured: readonly string[]): void {
  const unknown = [...new Set(named)].filter((registry) => !configured.includes(registry));
  if (unknown.length === 0) return;
  const lines = unknown.map((registry) => `  ${registry}: {upstreams: [{url: "https://${registry}"}]}`);
  throw new BundleError(
    'BUNDLE_REGISTRY',
    `the archive has images of ${unknown.join(', ')}, not configured here: add to the configuration\nregistries:\n${lines.join('\n')}\nor give another name with --name`,
  );
}
