import type { Clock } from '../../lib/clock.ts';
import { Flights } from '../../lib/flights.ts';
import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { StoredManifest } from '../../store/manifest-records.ts';
import type { TagRecord, TagSighting } from '../../store/tag-records.ts';
import type { ManifestHead } from '../../upstream/result.ts';
import type { Asked } from '../asking/ask.ts';
import { isOutage, staleCause, type Verdict } from '../asking/outcomes.ts';
import { type Ask, imageName, keyOf, type TagAsk } from '../repository.ts';
import { isClosed } from '../source.ts';
import { type ManifestAnswer, miss, stale } from './answer.ts';
import { fetchKey, type ManifestFetch } from './fetch.ts';
import type { ManifestStore } from './store.ts';

/** A tag as it is cached. */
export type CachedTag = { readonly record: TagRecord; readonly manifest: StoredManifest };

/** What an upstream says that a tag names. */
type Seen = { readonly digest: Digest; readonly upstream: string };

/** Finds out what tags name upstream now, and notes each move. */
export class TagWatch {
  readonly #deps: { fetch: ManifestFetch; store: ManifestStore; clock: Clock; log: Log };
  readonly #fetch: ManifestFetch;
  readonly #watches = new Flights<void>({ deadline: 120_000 });

  constructor(deps: { fetch: ManifestFetch; store: ManifestStore; clock: Clock; log: Log }) {
    this.#deps = deps;
    this.#fetch = deps.fetch;
  }

  /** Notes, while nobody waits, what upstream says about a tag that does not follow it. */
  look(image: Omit<TagAsk, 'signal'>): void {
    const { target, reference } = image;
    if (isClosed(target.registry) || this.#fetch.recall(image) !== undefined) return;
    const look = async (signal: AbortSignal) => {
      const ask = { ...image, signal };
      const known = await this.#deps.store.tag(keyOf(target), reference.tag);
      const head = await this.#fetch.head(ask);
      if (head.kind === 'refused' && !knowsNoHead(head.verdict)) {
        this.#fetch.refuse(ask, head.verdict, target.registry.negativeTtl);
        return;
      }
      const seen = named(head) ?? (await this.#gotten(ask));
      await this.#observe(ask, { ...seen, confirms: known !== undefined, known });
    };
    this.#watches.join(fetchKey(image), look, new AbortController().signal).catch((cause) => {
      this.#deps.log.debug(
        { image: imageName(target), tag: reference.tag, cause: String(cause) },
        'tag not looked at',
      );
    });
  }

  /**
   * Confirms a tag whose time is up: the same digest again, a new one, or what is cached because it must wait or
   * nobody can tell.
   * @param minAge milliseconds for which a new digest must have been known
   * @throws OciError when upstream says that the tag is gone or refuses it
   */
  async revalidate(ask: TagAsk, cached: CachedTag, minAge: number): Promise<ManifestAnswer> {
    const { tag } = ask.reference;
    const head = await this.#fetch.head(ask);
    if (head.kind === 'refused' && !knowsNoHead(head.verdict)) {
      return this.#staleUnlessGone(ask, cached, { verdict: head.verdict, minAge });
    }
    try {
      const seen = await this.#seen(ask, head, minAge);
      if (seen === undefined) return await this.#get(ask, tag);
      const keeps =
        seen.digest === cached.record.digest || this.#knownFor(cached.record, seen.digest) < minAge;
      await this.#observe(ask, { ...seen, confirms: keeps, known: cached.record });
      if (keeps) {
        const { manifest } = cached;
        return { manifest, outcome: 'revalidated', upstream: seen.upstream, staleBecause: undefined };
      }
      if (minAge === 0) return await this.#get(ask, tag);
      // By digest where an age is asked for: the tag may have moved on to something younger since.
      return await this.#get({ ...ask, reference: { kind: 'digest', digest: seen.digest } }, tag);
    } catch (error) {
      if (!isOutage(error)) throw error;
      return stale(cached.manifest, staleCause(error));
    }
  }

  /** What the tag names upstream now; `undefined` when only a GET can tell and it may be served at once. */
  async #seen(ask: TagAsk, head: Asked<ManifestHead>, minAge: number): Promise<Seen | undefined> {
    return named(head) ?? (minAge === 0 ? undefined : this.#gotten(ask));
  }

  /** What the tag names upstream now, by fetching it, which does not make the tag served as it. */
  async #gotten(ask: TagAsk): Promise<Seen> {
    const { manifest, upstream } = await this.#fetch.get(ask, undefined);
    return { digest: manifest.digest, upstream };
  }

  /** Milliseconds for which a digest has been known to be what the tag names upstream. */
  #knownFor({ candidate }: TagRecord, digest: Digest): number {
    return candidate?.digest === digest ? this.#deps.clock.now() - candidate.since : 0;
  }

  async #observe({ target, reference }: TagAsk, seen: Omit<TagSighting, 'at'>): Promise<void> {
    const { store, clock } = this.#deps;
    await store.observeTag(keyOf(target), reference.tag, { ...seen, at: clock.now() });
  }

  async #staleUnlessGone(
    ask: TagAsk,
    { record, manifest }: CachedTag,
    { verdict, minAge }: { verdict: Verdict; minAge: number },
  ): Promise<ManifestAnswer> {
    const { target, reference } = ask;
    const { tag } = reference;
    const error = this.#fetch.refuse(ask, verdict, target.registry.negativeTtl);
    if (verdict.kind === 'missing') {
      // Forgotten, the tag could come back as anything at once: its age would be asked of nothing.
      if (minAge === 0) await this.#deps.store.dropTag(keyOf(target), tag, record);
      throw error;
    }
    if (verdict.kind === 'denied') throw error;
    const because = staleCause(error);
    this.#deps.log.warn({ image: imageName(target), tag, because }, 'tag served stale');
    return stale(manifest, because);
  }

  async #get(ask: Ask, tag: Tag): Promise<ManifestAnswer> {
    const { manifest, upstream } = await this.#fetch.get(ask, tag);
    return miss(manifest, upstream);
  }

  /** Aborts what is under way. */
  close(): void {
    void this.#watches.close();
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
