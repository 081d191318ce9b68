import { LRUCache } from 'lru-cache';
import type { Clock } from '../../lib/clock.ts';
import type { Tell } from '../../lib/facts.ts';
import type { Log } from '../../lib/log.ts';
import { type Descriptor, parseManifest } from '../../oci/manifest.ts';
import { isIndexMediaType } from '../../oci/media-types.ts';
import type { StoredManifest } from '../../store/manifest-records.ts';
import type { PrefetchResult, PullFact } from '../pull-facts.ts';
import { imageName, type ResolvedRepository } from '../repository.ts';
import { isClosed } from '../source.ts';
import type { PullBlobs } from './blobs.ts';

/** Bytes above which a layer waits until it is asked for: who only looks at a manifest must not cost that much. */
const largest = 1024 ** 3;

/** Blobs that may wait for their turn. */
const longestQueue = 1_000;

/** Milliseconds for which a manifest that is pulled again is not looked into again. */
const remembered = 10 * 60_000;

/** Layers that are meant to come from elsewhere than the registry. */
const elsewhere = /\.foreign\.|\.nondistributable\./;

type Waiting = { readonly target: ResolvedRepository; readonly blob: Descriptor };

/**
 * Begins the downloads of what a pulled image consists of before its client asks for it: clients ask for a few layers
 * at a time. Who then asks joins the download. The image that is pulled is that of the client's platform; an index
 * begins nothing.
 */
export class Prefetch {
  readonly #deps: {
    blobs: Pick<PullBlobs, 'stat' | 'begin'>;
    clock: Clock;
    log: Log;
    facts: Tell<PullFact>;
  };
  readonly #most: number;
  readonly #seen = new LRUCache<string, number>({ max: 5_000 });
  readonly #queue: Waiting[] = [];
  readonly #closing = new AbortController();
  #active = 0;

  /** @param options.most downloads at once, beyond those that clients ask for; with 0 there are none */
  constructor(
    deps: {
      blobs: Pick<PullBlobs, 'stat' | 'begin'>;
      clock: Clock;
      log: Log;
      /** Told of each blob that was not there. */
      facts: Tell<PullFact>;
    },
    options: { most: number },
  ) {
    this.#deps = deps;
    this.#most = options.most;
  }

  /** Takes note that a manifest was served; returns at once, whatever comes of it. */
  served(target: ResolvedRepository, manifest: StoredManifest): void {
    const { digest, mediaType, bytes } = manifest;
    if (this.#most === 0 || isClosed(target.registry) || isIndexMediaType(mediaType)) return;
    const name = `${imageName(target)} ${digest}`;
    const now = this.#deps.clock.now();
    const before = this.#seen.get(name);
    if (before !== undefined && now - before < remembered) return;
    this.#seen.set(name, now);
    const parsed = parseManifest(bytes, mediaType);
    if (parsed.kind === 'index') return;
    for (const blob of [parsed.config, ...parsed.layers]) {
      if (elsewhere.test(blob.mediaType)) continue;
      if (blob.size > largest) this.#ended('too-large');
      else if (this.#queue.length >= longestQueue) this.#ended('dropped');
      else this.#queue.push({ target, blob });
    }
    this.#next();
  }

  /** Something is no longer stored: what was looked into before may be worth another look. */
  forget(): void {
    this.#seen.clear();
  }

  /** Begins nothing more; the downloads under way go on as long as those of clients do. */
  close(): void {
    this.#queue.length = 0;
    this.#closing.abort(new Error('the server is stopping'));
  }

  #ended(result: PrefetchResult): void {
    this.#deps.facts.tell({ kind: 'blob-prefetched', result });
  }

  #next(): void {
    while (this.#active < this.#most) {
      const waiting = this.#queue.shift();
      if (waiting === undefined) return;
      this.#active += 1;
      this.#fetch(waiting).finally(() => {
        this.#active -= 1;
        this.#next();
      });
    }
  }

  async #fetch({ target, blob: { digest } }: Waiting): Promise<void> {
    const { blobs, log } = this.#deps;
    const { signal } = this.#closing;
    try {
      const { outcome } = await blobs.stat(target, digest, signal);
      if (outcome !== 'miss') return;
      await blobs.begin(target, digest, signal);
      this.#ended('stored');
    } catch (error) {
      if (signal.aborted) return;
      this.#ended('failed');
      log.debug({ image: imageName(target), digest, cause: String(error) }, 'layer not fetched ahead');
    }
  }
}
