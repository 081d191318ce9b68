import { createCipheriv, createHash } from 'node:crypto';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { mediaTypes } from '../../src/oci/media-types.ts';

/** A blob and its digest. */
export type TestBlob = { readonly digest: Digest; readonly bytes: Buffer; readonly mediaType: string };

/** A manifest or index, as the bytes that its digest is over. */
export type TestManifest = TestBlob;

/** One platform's image. */
export type TestImage = {
  readonly manifest: TestManifest;
  readonly config: TestBlob;
  readonly layers: readonly TestBlob[];
  readonly platform: string;
};

/** An index (or Docker manifest list) over one image a platform. */
export type TestIndex = { readonly manifest: TestManifest; readonly images: readonly TestImage[] };

/** What {@link makeImage} builds: everything follows from the seed, so two runs make the same digests. */
export type ImageOptions = {
  readonly seed?: string;
  /** The layers' sizes in bytes. */
  readonly layers?: readonly number[];
  readonly format?: 'oci' | 'docker';
  /** `os/architecture`. */
  readonly platform?: string;
};

/** The digest of some bytes, sha256. */
export function digestOf(bytes: Buffer): Digest {
  return mustDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}

/** Parses a digest that the test knows to be well formed. */
export function mustDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (!digest) throw new Error(`not a digest: ${text}`);
  return digest;
}

/** Incompressible bytes that depend on the seed alone: an AES-CTR key stream, some gigabytes a second. */
export function seededBytes(seed: string, size: number): Buffer {
  const key = createHash('sha256').update(seed).digest();
  const cipher = createCipheriv('aes-128-ctr', key.subarray(0, 16), key.subarray(16, 32));
  return cipher.update(Buffer.alloc(size));
}

/** A blob of seeded bytes. */
export function makeBlob(seed: string, size: number, mediaType = 'application/octet-stream'): TestBlob {
  return blobOf(seededBytes(seed, size), mediaType);
}

/** A blob of the given bytes. */
export function blobOf(bytes: Buffer, mediaType = 'application/octet-stream'): TestBlob {
  return { digest: digestOf(bytes), bytes, mediaType };
}

/** A manifest of the given document; its `mediaType` is announced as given, whatever the document says. */
export function manifestOf(document: unknown, mediaType: string): TestManifest {
  return blobOf(Buffer.from(JSON.stringify(document, undefined, 3)), mediaType);
}

/** The descriptor of a blob. */
export function descriptorOf(blob: TestBlob): { mediaType: string; digest: Digest; size: number } {
  return { mediaType: blob.mediaType, digest: blob.digest, size: blob.bytes.length };
}

const types = {
  oci: {
    manifest: mediaTypes.ociManifest,
    index: mediaTypes.ociIndex,
    config: 'application/vnd.oci.image.config.v1+json',
    layer: 'application/vnd.oci.image.layer.v1.tar+gzip',
  },
  docker: {
    manifest: mediaTypes.dockerManifest,
    index: mediaTypes.dockerList,
    config: 'application/vnd.docker.container.image.v1+json',
    layer: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  },
} as const;

/** Builds one platform's image; by default an OCI image for linux/amd64 with two layers of 10 kB and 20 kB. */
export function makeImage(options: ImageOptions = {}): TestImage {
  const {
    seed = 'image',
    layers: sizes = [10_000, 20_000],
    format = 'oci',
    platform = 'linux/amd64',
  } = options;
  const type = types[format];
  const [os, architecture] = platform.split('/');
  const layers = sizes.map((size, index) => makeBlob(`${seed}/${platform}/layer-${index}`, size, type.layer));
  const rootfs = { type: 'layers', diff_ids: layers.map((layer) => layer.digest) };
  const config = manifestOf({ os, architecture, rootfs, config: { Env: [`SEED=${seed}`] } }, type.config);
  const document = {
    schemaVersion: 2,
    mediaType: type.manifest,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
  };
  return { manifest: manifestOf(document, type.manifest), config, layers, platform };
}

/** Builds an index over one image a platform, linux/amd64 and linux/arm64 by default. */
export function makeIndex(options: ImageOptions & { platforms?: readonly string[] } = {}): TestIndex {
  const { format = 'oci', platforms = ['linux/amd64', 'linux/arm64'] } = options;
  const images = platforms.map((platform) => makeImage({ ...options, platform }));
  const manifests = images.map((image) => {
    const [os, architecture] = image.platform.split('/');
    return { ...descriptorOf(image.manifest), platform: { os, architecture } };
  });
  const mediaType = types[format].index;
  return { manifest: manifestOf({ schemaVersion: 2, mediaType, manifests }, mediaType), images };
}

/** Builds an artifact manifest that refers to a subject (image-spec, "Guidelines for artifact usage"). */
export function makeArtifact(
  subject: TestManifest,
  options: { seed?: string; type?: string } = {},
): TestImage {
  const { seed = 'artifact', type = 'application/vnd.example.sbom+json' } = options;
  const config = blobOf(Buffer.from('{}'), 'application/vnd.oci.empty.v1+json');
  const layer = makeBlob(seed, 500, type);
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociManifest,
    artifactType: type,
    config: descriptorOf(config),
    layers: [descriptorOf(layer)],
    subject: descriptorOf(subject),
  };
  return { manifest: manifestOf(document, mediaTypes.ociManifest), config, layers: [layer], platform: '' };
}

/** The blobs that a client of this image downloads: config first, then the layers. */
export function blobsOf(image: TestImage): readonly TestBlob[] {
  return [image.config, ...image.layers];
}
