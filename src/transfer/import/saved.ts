import { fileContent } from '../../lib/read-bytes.ts';
import type { Digest } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import type { DigestThread } from '../../store/disk/digest-thread.ts';
import { sha256 } from '../bundle/bundle-contents.ts';
import { BundleError } from '../bundle/bundle-error.ts';
import { unpacked } from '../bundle/codec.ts';
import type { Intake } from './intake.ts';
import type { StagedContent } from './member.ts';
import type { Root, SavedImage } from './roots.ts';

/** An image that `docker save` wrote, with the manifest that was made for it. */
type RemadeImage = {
  readonly roots: readonly Root[];
  readonly manifest: Buffer;
  /** Its config and layers, to be stored. */
  readonly blobs: readonly StagedContent[];
};

/** Bytes of a config that are read. */
const largestConfig = 16 * 1024 * 1024;

/** Bytes that a compressed layer may unpack to. */
const largestLayer = 256 * 1024 ** 3;

/** Links that are followed from one name. */
const mostLinks = 8;

const layerTypes = {
  plain: 'application/vnd.oci.image.layer.v1.tar',
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
} as const;

/**
 * Makes a manifest for an image of `docker save`, which keeps none: over the config and the layers as they are in the
 * archive. Each layer is checked against the config, which names what it is uncompressed.
 * @throws BundleError
 */
export async function remakeImage(
  image: SavedImage,
  { loose, links }: Intake,
  digests: DigestThread,
  signal: AbortSignal,
): Promise<RemadeImage> {
  const find = (name: string): StagedContent => {
    let at = name;
    for (let step = 0; step < mostLinks; step += 1) {
      const content = loose.get(at);
      if (content !== undefined) return content;
      at = links.get(at) ?? at;
    }
    throw new BundleError('BUNDLE_TRUNCATED', `manifest.json names ${name}, which the archive lacks`);
  };
  const config = find(image.config);
  const diffIds = await diffIdsOf(image.config, config);
  const layers = image.layers.map(find);
  if (layers.length !== diffIds.length) {
    throw damaged(`${image.config} names ${diffIds.length} layers, manifest.json ${layers.length}`);
  }
  for (const [position, layer] of layers.entries()) {
    if ((await digestUnpacked(layer, digests, signal)) !== diffIds[position]) {
      throw damaged(`${image.layers[position]} is not the layer that ${image.config} names`);
    }
  }
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    config: {
      mediaType: 'application/vnd.oci.image.config.v1+json',
      digest: config.digest,
      size: config.size,
    },
    layers: layers.map(({ digest, size, compression }) => {
      return { mediaType: layerTypes[compression ?? 'plain'], digest, size };
    }),
  };
  const manifest = Buffer.from(JSON.stringify(document));
  const digest = sha256(manifest);
  const roots = image.names.map(({ tag, ...key }): Root => {
    return { key, tag, digest, mediaType: mediaTypes.ociManifest, referrer: false };
  });
  return { roots, manifest, blobs: [config, ...layers] };
}

async function diffIdsOf(name: string, config: StagedContent): Promise<readonly unknown[]> {
  if (config.size > largestConfig) throw damaged(`${name} is too large for a config`);
  try {
    const { rootfs } = JSON.parse((await config.file.content()).toString('utf8')) as Record<string, unknown>;
    const { diff_ids: diffIds } = (rootfs ?? {}) as Record<string, unknown>;
    if (Array.isArray(diffIds)) return diffIds;
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
  }
  throw damaged(`${name} is no image config`);
}

async function digestUnpacked(
  { digest, file, compression }: StagedContent,
  digests: DigestThread,
  signal: AbortSignal,
): Promise<Digest> {
  if (compression === undefined) return digest;
  const stream = digests.begin('sha256');
  try {
    let size = 0;
    for await (const piece of unpacked(fileContent(file.path), compression)) {
      signal.throwIfAborted();
      size += piece.length;
      if (size > largestLayer) throw damaged(`${digest} unpacks to more than any layer has`);
      await stream.write(piece);
    }
    return await stream.end();
  } finally {
    await stream.drop();
  }
}

function damaged(what: string): BundleError {
  return new BundleError('BUNDLE_CORRUPT', `the archive is damaged: ${what}; save it again`);
}
