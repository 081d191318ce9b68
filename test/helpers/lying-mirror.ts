import { mediaTypes } from '../../src/oci/media-types.ts';
import type { FakeUpstream } from './fake-upstream.ts';
import { descriptorOf, manifestOf, type TestManifest } from './image.ts';

/** Has an upstream list these manifests as referring to whatever it is asked about. */
export function listAsReferrers(upstream: FakeUpstream, manifests: readonly TestManifest[]): void {
  const { bytes, mediaType } = manifestOf(
    { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: manifests.map(descriptorOf) },
    mediaTypes.ociIndex,
  );
  upstream.script({
    match: { kind: 'referrers' },
    status: 200,
    body: bytes,
    headers: { 'content-type': mediaType },
  });
}
