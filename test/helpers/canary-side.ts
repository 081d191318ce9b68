import { mediaTypes } from '../../src/oci/media-types.ts';
import type { FakeUpstream } from './fake-upstream.ts';
import {
  blobOf,
  descriptorOf,
  manifestOf,
  seededBytes,
  type TestBlob,
  type TestImage,
  type TestIndex,
  type TestManifest,
} from './image.ts';

/** Characters by which a piece of a canary is recognised. */
const recognised = 12;

/** Bytes that occur in one blob, config or manifest only, so that a piece of it is known wherever it turns up. */
type Canary = { readonly digest: string; readonly text: string };

/** One side of a repository: an index with its images and all that refers to it, every part with a canary. */
export type CanarySide = {
  readonly index: TestIndex;
  /** Tagged as the index's signature. */
  readonly signature: TestImage;
  /** Referring to the index, and listed by the fallback tag's index as well. */
  readonly sbom: TestImage;
  readonly fallback: TestManifest;
  readonly canaries: readonly Canary[];
};

/** Builds a side; `shared` is the first layer of each of its images, and the seed decides on all the rest. */
export function makeCanarySide(seed: string, shared: TestBlob): CanarySide {
  const canaries: Canary[] = [];
  const written = (name: string, document: object, mediaType: string): TestManifest => {
    const canary = seededBytes(`${seed}/${name}`, 24).toString('hex');
    const made = manifestOf({ ...document, annotations: { canary } }, mediaType);
    canaries.push({ digest: made.digest, text: canary });
    return made;
  };
  const layer = (name: string): TestBlob => {
    const made = blobOf(seededBytes(`${seed}/${name}`, 120), 'application/vnd.oci.image.layer.v1.tar+gzip');
    canaries.push({ digest: made.digest, text: made.bytes.toString('latin1') });
    return made;
  };
  const image = (name: string, extra: object, ...more: readonly TestBlob[]): TestImage => {
    const config = written(`${name}/config`, {}, 'application/vnd.oci.image.config.v1+json');
    const layers = [...more, layer(`${name}/layer`)];
    const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config: descriptorOf(config) };
    const manifest = written(
      name,
      { ...document, layers: layers.map(descriptorOf), ...extra },
      mediaTypes.ociManifest,
    );
    return { manifest, config, layers, platform: name };
  };
  const index = (name: string, images: readonly TestImage[]): TestManifest => {
    const manifests = images.map(({ manifest, platform }) => {
      const [os, architecture] = platform.split('/');
      return { ...descriptorOf(manifest), platform: { os, architecture } };
    });
    return written(
      name,
      { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests },
      mediaTypes.ociIndex,
    );
  };
  const images = ['linux/amd64', 'linux/arm64'].map((platform) => image(platform, {}, shared));
  const top = index('index', images);
  const subject = { subject: descriptorOf(top) };
  const signature = image('signature', { ...subject, artifactType: 'application/x.signature' });
  const sbom = image('sbom', { ...subject, artifactType: 'application/x.sbom' });
  return {
    index: { manifest: top, images },
    signature,
    sbom,
    fallback: index('fallback', [sbom]),
    canaries,
  };
}

/** The tag that is derived from a manifest's digest. */
export function derivedTag({ digest }: { readonly digest: string }, suffix: string): string {
  return `${digest.replace(':', '-')}${suffix}`;
}

/** Everything of a side that has a digest. */
export function piecesOf({ index, signature, sbom, fallback }: CanarySide): {
  manifests: readonly TestManifest[];
  blobs: readonly TestBlob[];
} {
  const images = [...index.images, signature, sbom];
  return {
    manifests: [index.manifest, fallback, ...images.map(({ manifest }) => manifest)],
    blobs: images.flatMap(({ config, layers }) => [config, ...layers]),
  };
}

/** Gives a repository a side under a tag; manifests are blobs there as well, as on most registries. */
export function addCanarySide(
  upstream: FakeUpstream,
  repository: string,
  side: CanarySide,
  tag: string,
): void {
  const { index, signature, sbom, fallback } = side;
  upstream.add(repository, index, tag);
  upstream.add(repository, signature, derivedTag(index.manifest, '.sig'));
  upstream.add(repository, sbom);
  upstream.content.addManifest(repository, fallback, derivedTag(index.manifest, ''));
  for (const manifest of piecesOf(side).manifests) upstream.content.addBlob(repository, manifest);
}

/** Makes a function that says of which digests of a side a body holds pieces. */
export function canaryFinder({ canaries }: CanarySide): (body: Buffer) => readonly string[] {
  const pieces = new Map<string, string>();
  for (const { digest, text } of canaries) {
    for (let at = 0; at + recognised <= text.length; at += 1) {
      pieces.set(text.slice(at, at + recognised), digest);
    }
  }
  return (body) => {
    const text = body.toString('latin1');
    const found = new Set<string>();
    for (let at = 0; at + recognised <= text.length; at += 1) {
      const digest = pieces.get(text.slice(at, at + recognised));
      if (digest !== undefined) found.add(digest);
    }
    return [...found];
  };
}
