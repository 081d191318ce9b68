import { createHash } from 'node:crypto';
import type { Digest } from '../oci/digest.ts';
import { type ManifestMediaType, mediaTypes } from '../oci/media-types.ts';

/** A manifest that no client can run. Every engine stops at its config, and does not ask another registry. */
export type DeniedManifest = {
  readonly digest: Digest;
  readonly mediaType: ManifestMediaType;
  readonly bytes: Buffer;
};

/** The media type of a config that engines refuse, and show to their user. */
const deniedType = 'application/vnd.denied-by-policy.v1+json';

/** Denials that are remembered, so that the manifest's digest and its config can be asked for as well. */
const remembered = 5_000;

/**
 * Makes manifests that stand for denied images. Clients that use a mirror take any error for a reason to ask the
 * registry itself; a manifest whose config is of an unknown type and cannot be had makes them fail instead.
 */
export class DeniedManifests {
  readonly #manifests = new Map<string, DeniedManifest>();
  readonly #configs = new Map<string, string>();

  /** The manifest for an image (`registry/repository`) that is denied with `message`; the same each time. */
  make(image: string, message: string): DeniedManifest {
    const config = digestOf(Buffer.from(`${image}\n${message}`));
    const bytes = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        config: { mediaType: deniedType, digest: config, size: 2 },
        layers: [],
        annotations: { 'org.opencontainers.image.description': message },
      }),
    );
    const manifest = { digest: digestOf(bytes), mediaType: mediaTypes.ociManifest, bytes };
    keep(this.#manifests, `${image}@${manifest.digest}`, manifest);
    keep(this.#configs, `${image}@${config}`, message);
    return manifest;
  }

  /** The manifest of a digest that {@link DeniedManifests.make} gave out. */
  manifest(image: string, digest: Digest): DeniedManifest | undefined {
    return this.#manifests.get(`${image}@${digest}`);
  }

  /** Why an image was denied, if `digest` is the config of its manifest. */
  reason(image: string, digest: Digest): string | undefined {
    return this.#configs.get(`${image}@${digest}`);
  }
}

function keep<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > remembered && oldest !== undefined) map.delete(oldest);
}

function digestOf(bytes: Buffer): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}
