import { orAfter } from '../lib/abort.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import type { Reference, Tag } from '../oci/reference.ts';
import type { StoredManifest, TagRecord } from '../store/metadata.ts';
import type { ManifestHead } from '../upstream/result.ts';
import type { Asked } from './ask.ts';
import { Flights } from './flights.ts';
import { isFresh, ttlOfTag } from './freshness.ts';
import { fetchKey, ManifestFetch, type ManifestFetchDeps } from './manifest-fetch.ts';
import { isOutage, type Verdict } from './outcomes.ts';
import { type CacheOutcome, imageName, keyOf, type ResolvedRepository } from './registry.ts';
import { freely, type TagTerms } from './tag-terms.ts';

/** A manifest, and how it was come by. */
export type ManifestAnswer = {
  readonly manifest: StoredManifest;
  readonly outcome: CacheOutcome;
  /** The upstream that was asked, when one was. */
  readonly upstream: string | undefined;
  /** Why a stale answer is stale. */
  readonly staleBecause: string | undefined;
};

/** A tag as it is cached. */
type Cached = { readonly record: TagRecord; readonly manifest: StoredManifest };

/** What a tag names upstream. */
type Seen = { readonly digest: Digest; readonly upstream: string };

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
  readonly #flights = new Flights<ManifestAnswer>({ deadline: 120_000 });
  readonly #watches = new Flights<void>({ deadline: 120_000 });

  /** @param options.manifestSize the largest manifest accepted, in bytes */
  constructor(deps: ManifestFetchDeps, options: { manifestSize: number }) {
    this.#deps = deps;
    this.#fetch = new ManifestFetch(deps, options);
  }

  /**
   * The manifest that `reference` names.
   * @throws OciError `MANIFEST_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS`, `UNAVAILABLE`, `MANIFEST_INVALID` or `UNSUPPORTED`
   */
  async pull(
    target: ResolvedRepository,
    reference: Reference,
    signal: AbortSignal,
    terms: TagTerms = freely,
  ): Promise<ManifestAnswer> {
    return this.hot(target, reference, terms) ?? (await this.#pullCold(target, reference, terms, signal));
  }

  /** The answer when memory alone can give it. */
  hot(
    target: ResolvedRepository,
    reference: Reference,
    terms: TagTerms = freely,
  ): ManifestAnswer | undefined {
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
   * What a tag names upstream at this moment, whatever it is served as; kept, so that it can be pulled by digest.
   * @throws OciError as {@link PullManifests.pull} does
   */
  async latest(target: ResolvedRepository, tag: Tag, signal: AbortSignal): Promise<StoredManifest> {
    const { manifest } = await this.#fetch.get(target, { kind: 'tag', tag }, undefined, signal);
    return manifest;
  }

  /** Aborts what is under way. */
  close(): void {
    this.#flights.close();
    this.#watches.close();
  }

  async #pullCold(
    target: ResolvedRepository,
    reference: Reference,
    terms: TagTerms,
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    if (reference.kind === 'digest') return this.#byDigest(target, reference.digest, signal);
    const { store } = this.#deps;
    const { tag } = reference;
    const key = keyOf(target);
    const record = await store.tag(key, tag);
    const held = terms.locked ?? (record && (record.pinned || terms.pin) ? record.digest : undefined);
    if (held !== undefined) return this.#held(target, tag, { digest: held, record }, signal);
    const manifest = record && (await store.manifest(key, record.digest));
    if (record === undefined || manifest === undefined) {
      return this.#share(target, reference, (own) => this.#get(target, reference, tag, own), signal);
    }
    if (this.#fresh(target, tag, record)) return hit(manifest);
    const known = this.#fetch.recall(target, reference);
    if (known !== undefined) {
      if (isOutage(known)) return stale(manifest, known.message);
      throw known;
    }
    const cached = { record, manifest };
    const refreshed = this.#share(
      target,
      reference,
      (own) => this.#revalidate(target, tag, cached, terms.minAge, own),
      signal,
    );
    return orAfter(refreshed, revalidationPatience, signal, () => {
      const late = new OciError('UNAVAILABLE', 'no upstream confirmed the tag in time');
      this.#fetch.remember(target, reference, late, target.registry.negativeTtl);
      return stale(manifest, late.message);
    });
  }

  async #byDigest(target: ResolvedRepository, digest: Digest, signal: AbortSignal): Promise<ManifestAnswer> {
    const manifest = await this.#deps.store.manifest(keyOf(target), digest);
    if (manifest !== undefined) return hit(manifest);
    const reference = { kind: 'digest', digest } as const;
    return this.#share(target, reference, (own) => this.#get(target, reference, undefined, own), signal);
  }

  /** A tag that stands for one digest, whatever upstream says. */
  async #held(
    target: ResolvedRepository,
    tag: Tag,
    { digest, record }: { digest: Digest; record: TagRecord | undefined },
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const { store, clock } = this.#deps;
    const answer = await this.#byDigest(target, digest, signal);
    if (record?.digest !== digest) {
      await store.setTag(keyOf(target), tag, { digest, action: 'locked', at: clock.now() });
    }
    if (record === undefined || !this.#fresh(target, tag, record)) this.#watch(target, tag);
    return answer;
  }

  /** Notes, while nobody waits, what upstream says about a tag that does not follow it. */
  #watch(target: ResolvedRepository, tag: Tag): void {
    const reference = { kind: 'tag', tag } as const;
    if (this.#fetch.recall(target, reference) !== undefined) return;
    const look = async (signal: AbortSignal) => {
      const head = await this.#fetch.head(target, tag, signal);
      if (head.kind === 'refused' && !knowsNoHead(head.verdict)) {
        this.#fetch.refuse(target, reference, head.verdict, target.registry.negativeTtl);
        return;
      }
      const seen = named(head) ?? (await this.#gotten(target, tag, signal));
      await this.#observe(target, tag, { ...seen, confirms: true });
    };
    this.#watches.join(fetchKey(target, reference), look, new AbortController().signal).catch((cause) => {
      this.#deps.log.debug({ image: imageName(target), tag, cause: String(cause) }, 'tag not looked at');
    });
  }

  #fresh(target: ResolvedRepository, tag: Tag, record: TagRecord): boolean {
    return isFresh(record.checkedAt, ttlOfTag(tag, target.registry.tagTtl), this.#deps.clock.now());
  }

  async #share(
    target: ResolvedRepository,
    reference: Reference,
    work: (signal: AbortSignal) => Promise<ManifestAnswer>,
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const known = this.#fetch.recall(target, reference);
    if (known !== undefined) throw known;
    const { value, joined } = await this.#flights.join(fetchKey(target, reference), work, signal);
    return joined && value.outcome === 'miss' ? { ...value, outcome: 'joined' } : value;
  }

  async #revalidate(
    target: ResolvedRepository,
    tag: Tag,
    cached: Cached,
    minAge: number,
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const reference = { kind: 'tag', tag } as const;
    const head = await this.#fetch.head(target, tag, signal);
    if (head.kind === 'refused' && !knowsNoHead(head.verdict)) {
      return this.#staleUnlessGone(target, tag, cached.manifest, head.verdict);
    }
    try {
      const seen = await this.#seen(target, tag, head, minAge, signal);
      if (seen === undefined) return await this.#get(target, reference, tag, signal);
      const keeps =
        seen.digest === cached.record.digest || this.#knownFor(cached.record, seen.digest) < minAge;
      await this.#observe(target, tag, { ...seen, confirms: keeps });
      if (keeps) {
        const { manifest } = cached;
        return { manifest, outcome: 'revalidated', upstream: seen.upstream, staleBecause: undefined };
      }
      // By digest where an age is asked for: the tag may have moved on to something younger since.
      const wanted = minAge > 0 ? ({ kind: 'digest', digest: seen.digest } as const) : reference;
      return await this.#get(target, wanted, tag, signal);
    } catch (error) {
      if (!isOutage(error)) throw error;
      return stale(cached.manifest, error.message);
    }
  }

  /** What the tag names upstream now; `undefined` when only a GET can tell and it may be served at once. */
  async #seen(
    target: ResolvedRepository,
    tag: Tag,
    head: Asked<ManifestHead>,
    minAge: number,
    signal: AbortSignal,
  ): Promise<Seen | undefined> {
    return named(head) ?? (minAge === 0 ? undefined : this.#gotten(target, tag, signal));
  }

  /** What the tag names upstream now, by fetching it, which does not make the tag served as it. */
  async #gotten(target: ResolvedRepository, tag: Tag, signal: AbortSignal): Promise<Seen> {
    const { manifest, upstream } = await this.#fetch.get(target, { kind: 'tag', tag }, undefined, signal);
    return { digest: manifest.digest, upstream };
  }

  /** Milliseconds for which a digest has been known to be what the tag names upstream. */
  #knownFor({ candidate }: TagRecord, digest: Digest): number {
    return candidate?.digest === digest ? this.#deps.clock.now() - candidate.since : 0;
  }

  async #observe(
    target: ResolvedRepository,
    tag: Tag,
    seen: Seen & { readonly confirms: boolean },
  ): Promise<void> {
    const { store, clock } = this.#deps;
    await store.observeTag(keyOf(target), tag, { ...seen, at: clock.now() });
  }

  async #staleUnlessGone(
    target: ResolvedRepository,
    tag: Tag,
    manifest: StoredManifest,
    verdict: Verdict,
  ): Promise<ManifestAnswer> {
    const reference = { kind: 'tag', tag } as const;
    const error = this.#fetch.refuse(target, reference, verdict, target.registry.negativeTtl);
    if (verdict.kind === 'missing') {
      await this.#deps.store.dropTag(keyOf(target), tag);
      throw error;
    }
    if (verdict.kind === 'denied') throw error;
    this.#deps.log.warn({ image: imageName(target), tag, because: error.message }, 'tag served stale');
    return stale(manifest, error.message);
  }

  async #get(
    target: ResolvedRepository,
    reference: Reference,
    named: Tag | undefined,
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const { manifest, upstream } = await this.#fetch.get(target, reference, named, signal);
    return { manifest, outcome: 'miss', upstream, staleBecause: undefined };
  }
}

/** What a HEAD says that the tag names. */
function named(head: Asked<ManifestHead>): Seen | undefined {
  if (head.kind === 'refused' || head.value.digest === undefined) return undefined;
  return { digest: head.value.digest, upstream: head.upstream };
}

/** Whether the upstreams that could be asked answer a GET only. */
function knowsNoHead({ refusals }: Verdict): boolean {
  return refusals.some((refusal) => refusal.kind === 'unavailable' && refusal.cause.reason === 'method');
}

function hit(manifest: StoredManifest): ManifestAnswer {
  return { manifest, outcome: 'hit', upstream: undefined, staleBecause: undefined };
}

function stale(manifest: StoredManifest, because: string): ManifestAnswer {
  return { manifest, outcome: 'stale', upstream: undefined, staleBecause: because };
}
