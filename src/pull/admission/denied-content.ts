import { LRUCache } from 'lru-cache';
import { orAfter } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import { eachAtOnce } from '../../lib/concurrency.ts';
import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { derivedTags } from '../../oci/reference.ts';
import type { Metadata } from '../../store/metadata.ts';
import { isOutage } from '../asking/outcomes.ts';
import type { PullListings } from '../listings/listings.ts';
import type { PullManifests } from '../manifests/manifests.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { isClosed } from '../source.ts';

/** Milliseconds that a client waits for what is denied to become known. */
const patience = 10_000;

/** Milliseconds after which it is looked up again: somebody may have pushed the denied manifest since. */
const lasting = 3600_000;

/** Requests under way at once. */
const atOnce = 4;

/** Manifests below one denied digest that are looked at: more than any image has, few enough for an upstream. */
const mostManifests = 1_000;

/** Repositories come from clients, so what is kept by repository is bounded. */
const mostRepositories = 1_000;

/** What was found out of a repository. `unrecorded`: what the index did not take yet, since it knew nothing of it. */
type Learning = {
  readonly done: Promise<void>;
  until: number;
  readonly unrecorded: Map<Digest, number>;
};

/**
 * Learns what the manifests that rules deny by their digests consist of, without serving any of it. Their parts have
 * digests of their own, that no rule names: only once they are known to be such parts are they denied as well.
 */
export class DeniedContent {
  readonly #deps: {
    readonly manifests: PullManifests;
    readonly listings: PullListings;
    readonly metadata: Pick<Metadata, 'links'>;
    readonly clock: Clock;
    readonly log: Log;
  };
  readonly #learnt = new LRUCache<string, Learning>({ max: mostRepositories });
  readonly #closing = new AbortController();

  constructor(deps: {
    manifests: PullManifests;
    listings: PullListings;
    metadata: Pick<Metadata, 'links'>;
    clock: Clock;
    log: Log;
  }) {
    this.#deps = deps;
  }

  /**
   * Resolves when all that the repository's upstreams have below the digests is recorded. What was so once suffices
   * while they cannot be asked; it is looked up again now and then, for which nobody waits.
   * @param digests the same for the same repository, always
   * @throws OciError when it cannot be found out: `UNAVAILABLE` now, `DENIED` at all
   */
  async learn(
    { registry, repository }: ResolvedRepository,
    digests: readonly Digest[],
    signal: AbortSignal,
  ): Promise<void> {
    if (isClosed(registry)) return;
    const target = { registry, repository };
    const name = imageName(target);
    let learning = this.#learnt.get(name);
    if (learning === undefined || this.#deps.clock.now() >= learning.until) {
      learning = this.#begin(target, digests);
    }
    await orAfter(learning.done, patience, signal, () => {
      throw cannotTell(name, 'its upstreams take too long to answer');
    });
    if (learning.unrecorded.size > 0) await this.#record(target, learning);
  }

  /** Ends what is under way. */
  close(): void {
    this.#closing.abort(new Error('the server is stopping'));
  }

  #begin(target: ResolvedRepository, digests: readonly Digest[]): Learning {
    const name = imageName(target);
    const unrecorded = new Map<Digest, number>();
    const done = this.#learn(target, digests, unrecorded);
    const learning: Learning = { done, until: Number.POSITIVE_INFINITY, unrecorded };
    this.#learnt.set(name, learning);
    done.then(
      () => {
        learning.until = this.#deps.clock.now() + lasting;
      },
      () => {
        if (this.#learnt.get(name) === learning) this.#learnt.delete(name);
      },
    );
    return learning;
  }

  async #record(target: ResolvedRepository, { unrecorded }: Learning): Promise<void> {
    for (const [digest, at] of unrecorded) {
      if (!(await this.#deps.metadata.links.putExamined(keyOf(target), digest, at))) return;
      unrecorded.delete(digest);
    }
  }

  async #learn(
    target: ResolvedRepository,
    digests: readonly Digest[],
    unrecorded: Map<Digest, number>,
  ): Promise<void> {
    const { metadata, clock } = this.#deps;
    const unknown: Digest[] = [];
    const old: Digest[] = [];
    for (const digest of new Set(digests)) {
      const at = await metadata.links.examinedAt(keyOf(target), digest);
      if (at === undefined) unknown.push(digest);
      else if (clock.now() - at >= lasting) old.push(digest);
    }
    if (old.length > 0) this.#examineAgain(target, old);
    try {
      await eachAtOnce(unknown, atOnce, async (digest) => {
        if (!(await this.#examine(target, digest))) unrecorded.set(digest, clock.now());
      });
    } catch (error) {
      if (!(error instanceof OciError)) throw error;
      throw cannotTell(imageName(target), error.message, error);
    }
  }

  #examineAgain(target: ResolvedRepository, digests: readonly Digest[]): void {
    const examine = async (digest: Digest) => {
      await this.#examine(target, digest);
    };
    eachAtOnce(digests, atOnce, examine).catch((error: Error) => {
      if (this.#closing.signal.aborted) return;
      const { log } = this.#deps;
      log.debug({ image: imageName(target), error: error.message }, 'denied content not looked up again');
    });
  }

  /** Resolves to whether that it was done could be recorded. */
  async #examine(target: ResolvedRepository, digest: Digest): Promise<boolean> {
    const { manifests, metadata, clock } = this.#deps;
    const found = await manifests.find(target, digest, this.#closing.signal);
    if (found !== undefined) {
      const seen = new Set([digest]);
      await this.#walk(target, digest, seen);
      const referrers = await this.#about(target, digest);
      await eachAtOnce(referrers, atOnce, async (referrer) => {
        await orNothing(this.#walk(target, referrer, seen));
      });
    }
    return metadata.links.putExamined(keyOf(target), digest, clock.now());
  }

  /** Has a manifest, and all manifests below it, recorded with what they name. */
  async #walk(target: ResolvedRepository, digest: Digest, seen: Set<Digest>): Promise<void> {
    const manifest = await this.#deps.manifests.find(target, digest, this.#closing.signal);
    if (manifest === undefined) return;
    const parsed = parseManifest(manifest.bytes, manifest.mediaType);
    if (parsed.kind !== 'index') return;
    const children = new Set(parsed.manifests.map((child) => child.digest));
    const fresh = [...children].filter((child) => !seen.has(child));
    for (const child of fresh) seen.add(child);
    if (seen.size > mostManifests) {
      throw new OciError('UNAVAILABLE', `${digest} has more than ${mostManifests} manifests below it`);
    }
    await eachAtOnce(fresh, atOnce, (child) => this.#walk(target, child, seen));
  }

  /** Signatures and the like: what upstream lists as referring to the digest, and what the tags derived from it name. */
  async #about(target: ResolvedRepository, digest: Digest): Promise<readonly Digest[]> {
    const { manifests, listings, metadata } = this.#deps;
    const { signal } = this.#closing;
    await orNothing(listings.referrers({ target, reference: { kind: 'digest', digest }, signal }, undefined));
    const about = new Set<Digest>();
    for (const tag of derivedTags(digest)) {
      const answer = await orNothing(manifests.pull({ target, reference: { kind: 'tag', tag }, signal }));
      if (answer !== undefined) about.add(answer.manifest.digest);
    }
    for (const referrer of await metadata.links.referrersOf(keyOf(target), digest)) about.add(referrer);
    return [...about];
  }
}

/** What a promise comes to, where upstream can tell; `undefined` for what is not there. */
async function orNothing<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (error instanceof OciError && !isOutage(error)) return undefined;
    throw error;
  }
}

/** What is no outage does not pass by itself: the answer says so, for clients to give up. */
function cannotTell(image: string, why: string, cause?: OciError): OciError {
  const message = `policy: what the digests that are denied of ${image} consist of cannot be found out, so nothing else of it is served by digest that no tag leads to: ${why}`;
  if (cause !== undefined && !isOutage(cause)) return new OciError('DENIED', message, { cause });
  return new OciError('UNAVAILABLE', message, { retryAfter: 5, cause });
}
