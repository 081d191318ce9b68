import { orAfter } from '../../lib/abort.ts';
import { Flights } from '../../lib/flights.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Reference, Tag } from '../../oci/reference.ts';
import type { StoredManifest } from '../../store/manifest-records.ts';
import type { TagRecord } from '../../store/tag-records.ts';
import { isAbsence, isOutage, staleCause } from '../asking/outcomes.ts';
import { type Ask, type DigestAsk, keyOf, type ResolvedRepository, type TagAsk } from '../repository.ts';
import { isClosed } from '../source.ts';
import { hit, type ManifestAnswer, miss, stale } from './answer.ts';
import { fetchKey, ManifestFetch, type ManifestFetchDeps } from './fetch.ts';
import { isFresh, ttlOfTag } from './freshness.ts';
import { freely, type TagTerms } from './tag-terms.ts';
import { type CachedTag, TagWatch } from './tag-watch.ts';

/** How long a client waits for a tag to be confirmed when an older answer is at hand, in milliseconds. */
const revalidationPatience = 2_000;

/**
 * Manifests by tag or digest. A digest never needs confirming; a tag is confirmed by one HEAD for all who wait
 * when its time is up, and served stale, saying so, when no upstream can tell. A tag that is held at a digest is
 * served without waiting for upstream, which is still asked now and then, so that its moves are known.
 */
export class PullManifests {
  readonly #deps: ManifestFetchDeps;
  readonly #fetch: ManifestFetch;
  readonly #watch: TagWatch;
  readonly #flights = new Flights<ManifestAnswer>({ deadline: 120_000 });

  /** @param options.manifestSize the largest manifest accepted, in bytes */
  constructor(deps: ManifestFetchDeps, options: { manifestSize: number }) {
    this.#deps = deps;
    this.#fetch = new ManifestFetch(deps, options);
    this.#watch = new TagWatch({ ...deps, fetch: this.#fetch });
  }

  /**
   * The manifest that the reference names.
   * @throws OciError `MANIFEST_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS`, `UNAVAILABLE`, `MANIFEST_INVALID` or `UNSUPPORTED`
   */
  async pull(ask: Ask, terms: TagTerms = freely): Promise<ManifestAnswer> {
    return this.hot(ask, terms) ?? (await this.#pullCold(ask, terms));
  }

  /** The answer when memory alone can give it. */
  hot({ target, reference }: Ask, terms: TagTerms = freely): ManifestAnswer | undefined {
    const { store } = this.#deps;
    const key = keyOf(target);
    let digest: Digest;
    if (reference.kind === 'tag') {
      const record = store.hotTag(key, reference.tag);
      if (record === undefined || !this.#fresh(target, reference.tag, record)) return undefined;
      if (terms.locked !== undefined && terms.locked !== record.digest) return undefined;
      digest = record.digest;
    } else {
      digest = reference.digest;
    }
    const manifest = store.hotManifest(key, digest);
    return manifest && hit(manifest);
  }

  /**
   * What a tag names upstream at this moment, whatever it is served as; kept, so that it can be pulled by digest. Where
   * no upstream is asked, it is what the tag is served as.
   * @throws OciError as {@link PullManifests.pull} does
   */
  async latest(target: ResolvedRepository, tag: Tag, signal: AbortSignal): Promise<StoredManifest> {
    const ask = { target, reference: { kind: 'tag', tag }, signal } as const;
    if (isClosed(target.registry)) return (await this.pull(ask)).manifest;
    return (await this.#fetch.get(ask, undefined)).manifest;
  }

  /**
   * A manifest by its digest, or `undefined` where no upstream has it. Asks with a HEAD first, which registries that
   * limit pulls do not count.
   * @throws OciError as {@link PullManifests.pull} does, but for what does not exist
   */
  async find(
    target: ResolvedRepository,
    digest: Digest,
    signal: AbortSignal,
  ): Promise<StoredManifest | undefined> {
    const ask = { target, reference: { kind: 'digest', digest }, signal } as const;
    const stored = await this.#deps.store.manifest(keyOf(target), digest);
    if (stored !== undefined || isClosed(target.registry)) return stored;
    try {
      const known = this.#fetch.recall(ask);
      if (known !== undefined) throw known;
      const head = await this.#fetch.head(ask);
      if (head.kind === 'refused') throw this.#fetch.refuse(ask, head.verdict, 0);
      return (await this.pull(ask)).manifest;
    } catch (error) {
      if (isAbsence(error)) return undefined;
      throw error;
    }
  }

  /** Aborts what is under way. */
  close(): void {
    void this.#flights.close();
    this.#watch.close();
  }

  async #pullCold(ask: Ask, terms: TagTerms): Promise<ManifestAnswer> {
    const { target, reference, signal } = ask;
    if (reference.kind === 'digest') return this.#byDigest({ target, reference, signal });
    const { store } = this.#deps;
    const { tag } = reference;
    const key = keyOf(target);
    const record = await store.tag(key, tag);
    const held = terms.locked ?? (record && (record.pinned || terms.pin) ? record.digest : undefined);
    if (held !== undefined) return this.#held({ target, reference, signal }, held, record);
    const manifest = record && (await store.manifest(key, record.digest));
    if (record === undefined || manifest === undefined) {
      return this.#current({ target, reference, signal }, terms.minAge);
    }
    if (this.#fresh(target, tag, record)) return hit(manifest);
    const known = this.#fetch.recall(ask);
    if (known !== undefined) {
      if (isOutage(known)) return stale(manifest, staleCause(known));
      throw known;
    }
    const refreshed = this.#current({ target, reference, signal }, terms.minAge);
    return orAfter(refreshed, revalidationPatience, signal, () => {
      const late = new OciError('UNAVAILABLE', 'no upstream confirmed the tag in time');
      this.#fetch.remember(ask, late, target.registry.negativeTtl);
      return stale(manifest, late.message);
    });
  }

  /** What a tag is known to name, where the manifest is stored. */
  async #cached(target: ResolvedRepository, tag: Tag): Promise<CachedTag | undefined> {
    const { store } = this.#deps;
    const key = keyOf(target);
    const record = await store.tag(key, tag);
    const manifest = record && (await store.manifest(key, record.digest));
    return manifest && { record, manifest };
  }

  /** What a tag names now: fetched, or confirmed by upstream. */
  #current(ask: TagAsk, minAge: number): Promise<ManifestAnswer> {
    const { target, reference } = ask;
    const { tag } = reference;
    return this.#share(ask, async (shared) => {
      // Others may have asked upstream since this was found to be cold.
      const cached = await this.#cached(target, tag);
      if (cached === undefined) return this.#get(shared, tag);
      if (this.#fresh(target, tag, cached.record)) return hit(cached.manifest);
      return this.#watch.revalidate(shared, cached, minAge);
    });
  }

  async #byDigest(ask: DigestAsk): Promise<ManifestAnswer> {
    const { store } = this.#deps;
    const key = keyOf(ask.target);
    const { digest } = ask.reference;
    const manifest = await store.manifest(key, digest);
    if (manifest !== undefined) return hit(manifest);
    return this.#share(ask, async (shared) => {
      const come = await store.manifest(key, digest);
      return come === undefined ? this.#get(shared, undefined) : hit(come);
    });
  }

  /** A tag that stands for one digest, whatever upstream says. */
  async #held(ask: TagAsk, digest: Digest, record: TagRecord | undefined): Promise<ManifestAnswer> {
    const { store, clock } = this.#deps;
    const { target, reference } = ask;
    const { tag } = reference;
    const answer = await this.#byDigest({ ...ask, reference: { kind: 'digest', digest } });
    if (record?.digest !== digest) {
      await store.setTag(keyOf(target), tag, { digest, action: 'locked', at: clock.now() });
    }
    if (record === undefined || !this.#fresh(target, tag, record)) this.#watch.look({ target, reference });
    return answer;
  }

  #fresh(target: ResolvedRepository, tag: Tag, record: TagRecord): boolean {
    if (isClosed(target.registry)) return true;
    return isFresh(record.checkedAt, ttlOfTag(tag, target.registry.tagTtl), this.#deps.clock.now());
  }

  /** Asks upstream once for all who ask for the same at the same time; the shared ask has a signal of its own. */
  async #share<R extends Reference>(
    ask: Ask<R>,
    work: (shared: Ask<R>) => Promise<ManifestAnswer>,
  ): Promise<ManifestAnswer> {
    const known = this.#fetch.recall(ask);
    if (known !== undefined) throw known;
    const shared = (signal: AbortSignal) => work({ ...ask, signal });
    const { value, joined } = await this.#flights.join(fetchKey(ask), shared, ask.signal);
    return joined && value.outcome === 'miss' ? { ...value, outcome: 'joined' } : value;
  }

  async #get(ask: Ask, named: Tag | undefined): Promise<ManifestAnswer> {
    const { manifest, upstream } = await this.#fetch.get(ask, named);
    return miss(manifest, upstream);
  }
}
