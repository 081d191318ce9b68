import { LRUCache } from 'lru-cache';
import { orAfter } from '../lib/abort.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseManifest } from '../oci/manifest.ts';
import type { PullManifests } from './manifests.ts';
import { imageName, type ResolvedRepository } from './registry.ts';

/** Milliseconds that a denial waits for what is denied to become known. */
const patience = 5_000;

/** Images of a denied index that are looked at. */
const mostChildren = 50;

/**
 * Learns what a manifest that a rule denies by its digest consists of, without serving any of it. Its parts have
 * digests of their own, that no rule names: only once they are known to be its parts are they denied as well.
 */
export class DeniedContent {
  readonly #manifests: PullManifests;
  readonly #learned = new LRUCache<string, Promise<void>>({ max: 1_000 });
  readonly #closing = new AbortController();

  constructor(deps: { manifests: PullManifests }) {
    this.#manifests = deps.manifests;
  }

  /** Resolves when the parts are known, or cannot be found out soon. Rejects with the signal's reason only. */
  async learn(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<void> {
    const key = `${imageName(target)}@${digest}`;
    let learning = this.#learned.get(key);
    if (learning === undefined) {
      learning = this.#learn(target, digest).catch(() => {
        this.#learned.delete(key);
      });
      this.#learned.set(key, learning);
    }
    await orAfter(learning, patience, signal, () => undefined);
  }

  /** Ends what is under way. */
  close(): void {
    this.#closing.abort(new Error('the server is stopping'));
  }

  async #learn(target: ResolvedRepository, digest: Digest): Promise<void> {
    const { signal } = this.#closing;
    const { manifest } = await this.#manifests.pull(target, { kind: 'digest', digest }, signal);
    const parsed = parseManifest(manifest.bytes, manifest.mediaType);
    if (parsed.kind !== 'index') return;
    for (const child of parsed.manifests.slice(0, mostChildren)) {
      await this.#manifests.pull(target, { kind: 'digest', digest: child.digest }, signal).catch((error) => {
        // An index often names platforms that its registry does not have.
        if (!(error instanceof OciError)) throw error;
      });
    }
  }
}
