import { type Digest, digestAlgorithm, digestHex } from '../../oci/digest.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { keyOf } from '../../pull/repository.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { ImageState, ImageTarget } from '../images/images.ts';
import { type BundleImage, nameOfImage } from './bundle-contents.ts';

/** An image that is to be exported: what is stored of it, and the platforms that come along. */
export type ChosenImage = {
  readonly image: ImageTarget;
  readonly state: ImageState;
  /** Of an index; empty for a plain image. */
  readonly platforms: readonly string[];
};

const configTypes = [
  'application/vnd.oci.image.config.v1+json',
  'application/vnd.docker.container.image.v1+json',
];

/** The path of a blob or manifest in an image layout. */
export function blobName(digest: Digest): string {
  return `${blobFolder(digest)}/${digestHex(digest)}`;
}

/** The folder of {@link blobName}. */
export function blobFolder(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}`;
}

/** `index.json` names images as skopeo, containerd and docker look for them; referrers are in the contents alone. */
export function indexFile(images: readonly BundleImage[]): Buffer {
  const manifests = images
    .filter(({ referrer }) => !referrer)
    .map((image) => {
      const name = nameOfImage(image);
      const { mediaType, digest, size } = image;
      const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name };
      return { mediaType, digest, size, annotations };
    });
  const document = { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests };
  return Buffer.from(JSON.stringify(document));
}

/** `manifest.json` is how dockers without containerd's store read an archive; it holds images of one platform. */
export async function dockerFile(
  metadata: Pick<Metadata, 'manifests'>,
  chosen: readonly ChosenImage[],
): Promise<Buffer | undefined> {
  const entries = new Map<string, { Config: string; RepoTags: string[]; Layers: string[] }>();
  for (const { image, state } of chosen) {
    const images = state.parts.filter(({ role }) => role === 'image');
    const [only] = images;
    if (only === undefined || images.length > 1 || state.tag === undefined) continue;
    const manifest = await metadata.manifests.get(keyOf(image.target), only.digest);
    const parsed = manifest && parseManifest(manifest.bytes, manifest.mediaType);
    if (parsed?.kind !== 'image' || !configTypes.includes(parsed.config.mediaType)) continue;
    const name = `${state.image}:${state.tag}`;
    entries.set(name, {
      Config: blobName(parsed.config.digest),
      RepoTags: [name],
      Layers: parsed.layers.map(({ digest }) => blobName(digest)),
    });
  }
  if (entries.size === 0) return undefined;
  const sorted = [...entries.entries()].sort(([one], [other]) => compare(one, other));
  return Buffer.from(JSON.stringify(sorted.map(([, entry]) => entry)));
}

/** Orders texts by their code units, whatever the locale. */
export function compare(one: string, other: string): number {
  return one < other ? -1 : one > other ? 1 : 0;
}
