import type { Clock } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { parseManifest, platformText } from '../../oci/manifest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { TagEvent } from '../../store/tag-records.ts';
import type { Namespaces } from '../namespaces.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import type { PullManifests } from './manifests.ts';
import type { ManifestStore } from './store.ts';

/** What a tag names now. */
export type TagNow = {
  /** `registry/repository`. */
  readonly image: string;
  readonly tag: Tag;
  readonly digest: Digest;
  /** The digest of each platform's image (`os/architecture[/variant]`), where the tag names an index. */
  readonly platforms: Readonly<Record<string, Digest>> | undefined;
};

/** What an operator may do with tags. Each throws an `OciError` that says what is wrong. */
export class TagOperations {
  readonly #deps: {
    namespaces: Namespaces;
    manifests: PullManifests;
    store: ManifestStore;
    metadata: Pick<Metadata, 'tags'>;
    clock: Clock;
  };

  constructor(deps: {
    namespaces: Namespaces;
    manifests: PullManifests;
    store: ManifestStore;
    metadata: Pick<Metadata, 'tags'>;
    clock: Clock;
  }) {
    this.#deps = deps;
  }

  /** What became of a repository's tags, or of one, newest first. */
  async history(image: RepositoryKey, tag: Tag | undefined): Promise<readonly TagEvent[]> {
    return this.#deps.metadata.tags.history(keyOf(this.#deps.namespaces.named(image)), tag);
  }

  /** Serves a tag as an earlier digest that is still stored, until it is released. */
  async rollback(image: RepositoryKey, tag: Tag, digest: Digest): Promise<void> {
    const { store, clock } = this.#deps;
    const target = this.#deps.namespaces.named(image);
    const done = await store.setTag(keyOf(target), tag, { digest, action: 'rolled back', at: clock.now() });
    if (done) return;
    throw new OciError(
      'MANIFEST_UNKNOWN',
      `${imageName(target)}@${digest} is not stored here: "entrepot history" lists what the tag was`,
    );
  }

  /** Leaves a tag that was rolled back to upstream again. */
  async release(image: RepositoryKey, tag: Tag): Promise<void> {
    const { store, clock } = this.#deps;
    const target = this.#deps.namespaces.named(image);
    if (await store.releaseTag(keyOf(target), tag, clock.now())) return;
    throw new OciError('MANIFEST_UNKNOWN', `${imageName(target)}:${tag} was not rolled back`);
  }

  /** What tags name upstream now, whatever they are served as here. */
  async lock(
    images: readonly (RepositoryKey & { readonly tag: Tag })[],
    signal: AbortSignal,
  ): Promise<readonly TagNow[]> {
    const all: TagNow[] = [];
    for (const image of images)
      all.push(await this.#now(this.#deps.namespaces.named(image), image.tag, signal));
    return all;
  }

  async #now(target: ResolvedRepository, tag: Tag, signal: AbortSignal): Promise<TagNow> {
    const manifest = await this.#deps.manifests.latest(target, tag, signal);
    const { digest } = manifest;
    const parsed = parseManifest(manifest.bytes, manifest.mediaType);
    if (parsed.kind !== 'index') return { image: imageName(target), tag, digest, platforms: undefined };
    const named = parsed.manifests.flatMap(({ platform, digest: child }) => {
      // An attestation is filed as a platform that does not exist.
      if (platform === undefined || platform.os === 'unknown') return [];
      return [[platformText(platform), child] as const];
    });
    return { image: imageName(target), tag, digest, platforms: Object.fromEntries(named) };
  }
}
