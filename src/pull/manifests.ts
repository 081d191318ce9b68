import { delay, orAfter } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Digest } from '../oci/digest.ts';
import { IntegrityError, OciError } from '../oci/errors.ts';
import { type Reference, referenceText, type Tag } from '../oci/reference.ts';
import type { StoredManifest, TagRecord } from '../store/metadata.ts';
import type { UpstreamClient } from '../upstream/client.ts';
import { UpstreamError, type UpstreamResult } from '../upstream/result.ts';
import { Absences } from './absences.ts';
import { askInOrder, type Hedging, inContentOrder, inTagOrder } from './ask.ts';
import { Flights } from './flights.ts';
import { isFresh, ttlOfTag } from './freshness.ts';
import type { ManifestStore } from './manifest-store.ts';
import { isOutage, retryAfterOf, type Verdict, verdictError } from './outcomes.ts';
import { type CacheOutcome, imageName, keyOf, type ResolvedRepository } from './registry.ts';

/** A manifest, and how it was come by. */
export type ManifestAnswer = {
  readonly manifest: StoredManifest;
  readonly outcome: CacheOutcome;
  /** The upstream that was asked, when one was. */
  readonly upstream: string | undefined;
  /** Why a stale answer is stale. */
  readonly staleBecause: string | undefined;
};

/** How long a client waits for a tag to be confirmed when an older answer is at hand, in milliseconds. */
const revalidationPatience = 2_000;

/** An upstream failure that comes within this many milliseconds is tried once more before the client is told. */
const quickFailure = 2_000;

/** How long an unreachable upstream is not asked again for what is not cached: one client's burst of retries. */
const burst = 1_000;

/** Pause before that second try, in milliseconds. */
const retryPause = 250;

/**
 * Manifests by tag or digest. A digest never needs confirming; a tag is confirmed by one HEAD for all who wait
 * when its time is up, and served stale, saying so, when no upstream can tell.
 */
export class PullManifests {
  readonly #store: ManifestStore;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #absences: Absences;
  readonly #random: () => number;
  readonly #hedging: Hedging | undefined;
  readonly #flights = new Flights<ManifestAnswer>({ deadline: 120_000 });
  readonly #limit: number;

  /** @param options.manifestSize the largest manifest accepted, in bytes */
  constructor(
    deps: { store: ManifestStore; clock: Clock; log: Log; random: () => number; hedging?: Hedging },
    options: { manifestSize: number },
  ) {
    this.#store = deps.store;
    this.#clock = deps.clock;
    this.#log = deps.log;
    this.#random = deps.random;
    this.#hedging = deps.hedging;
    this.#absences = new Absences({ clock: deps.clock });
    this.#limit = options.manifestSize;
  }

  /**
   * The manifest that `reference` names.
   * @throws OciError `MANIFEST_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS`, `UNAVAILABLE`, `MANIFEST_INVALID` or `UNSUPPORTED`
   */
  async pull(target: ResolvedRepository, reference: Reference, signal: AbortSignal): Promise<ManifestAnswer> {
    return this.hot(target, reference) ?? (await this.#pullCold(target, reference, signal));
  }

  /** The answer when memory alone can give it. */
  hot(target: ResolvedRepository, reference: Reference): ManifestAnswer | undefined {
    const key = keyOf(target);
    let digest: Digest;
    if (reference.kind === 'tag') {
      const record = this.#store.hotTag(key, reference.tag);
      if (record === undefined || !this.#fresh(target, reference.tag, record)) return undefined;
      digest = record.digest;
    } else {
      digest = reference.digest;
    }
    const manifest = this.#store.hotManifest(key, digest);
    return manifest && { manifest, outcome: 'hit', upstream: undefined, staleBecause: undefined };
  }

  /** Aborts what is under way. */
  close(): void {
    this.#flights.close();
  }

  async #pullCold(
    target: ResolvedRepository,
    reference: Reference,
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const key = keyOf(target);
    if (reference.kind === 'digest') {
      const manifest = await this.#store.manifest(key, reference.digest);
      if (manifest !== undefined) return hit(manifest);
      return this.#fetch(target, reference, undefined, signal);
    }
    const record = await this.#store.tag(key, reference.tag);
    const manifest = record && (await this.#store.manifest(key, record.digest));
    if (record === undefined || manifest === undefined)
      return this.#fetch(target, reference, undefined, signal);
    if (this.#fresh(target, reference.tag, record)) return hit(manifest);
    const known = this.#absences.recall(flightKey(target, reference));
    if (known !== undefined) {
      if (isOutage(known)) return stale(manifest, known.message);
      throw known;
    }
    const refreshed = this.#fetch(target, reference, { record, manifest }, signal);
    return orAfter(refreshed, revalidationPatience, signal, () => {
      const late = new OciError('UNAVAILABLE', 'no upstream confirmed the tag in time');
      this.#absences.remember(flightKey(target, reference), late, target.registry.negativeTtl);
      return stale(manifest, late.message);
    });
  }

  #fresh(target: ResolvedRepository, tag: Tag, record: TagRecord): boolean {
    return isFresh(record.checkedAt, ttlOfTag(tag, target.registry.tagTtl), this.#clock.now());
  }

  async #fetch(
    target: ResolvedRepository,
    reference: Reference,
    cached: { record: TagRecord; manifest: StoredManifest } | undefined,
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const key = flightKey(target, reference);
    const known = this.#absences.recall(key);
    if (known !== undefined) throw known;
    const { value, joined } = await this.#flights.join(
      key,
      (own) => {
        return cached === undefined || reference.kind === 'digest'
          ? this.#get(target, reference, own)
          : this.#revalidate(target, reference.tag, cached, own);
      },
      signal,
    );
    return joined && value.outcome === 'miss' ? { ...value, outcome: 'joined' } : value;
  }

  async #revalidate(
    target: ResolvedRepository,
    tag: Tag,
    cached: { record: TagRecord; manifest: StoredManifest },
    signal: AbortSignal,
  ): Promise<ManifestAnswer> {
    const reference = { kind: 'tag', tag } as const;
    const head = await askInOrder(
      inTagOrder(target.registry.upstreams),
      (upstream, own) => upstream.headManifest(target.repository, reference, own),
      signal,
    );
    if (head.kind === 'refused' && !knowsNoHead(head.verdict)) {
      return this.#staleUnlessGone(target, tag, cached.manifest, head.verdict);
    }
    if (head.kind === 'ok' && head.value.digest === cached.record.digest) {
      await this.#store.touchTag(keyOf(target), tag, this.#clock.now());
      return {
        manifest: cached.manifest,
        outcome: 'revalidated',
        upstream: head.upstream,
        staleBecause: undefined,
      };
    }
    try {
      return await this.#get(target, reference, signal);
    } catch (error) {
      if (!isOutage(error)) throw error;
      return stale(cached.manifest, error.message);
    }
  }

  async #staleUnlessGone(
    target: ResolvedRepository,
    tag: Tag,
    manifest: StoredManifest,
    verdict: Verdict,
  ): Promise<ManifestAnswer> {
    const reference = { kind: 'tag', tag } as const;
    const error = this.#remember(target, reference, verdict, target.registry.negativeTtl);
    if (verdict.kind === 'missing') {
      await this.#store.dropTag(keyOf(target), tag);
      throw error;
    }
    if (verdict.kind === 'denied') throw error;
    this.#log.warn({ image: imageName(target), tag, because: error.message }, 'tag served stale');
    return stale(manifest, error.message);
  }

  async #get(target: ResolvedRepository, reference: Reference, signal: AbortSignal): Promise<ManifestAnswer> {
    const { upstreams } = target.registry;
    const order = () =>
      reference.kind === 'tag' ? inTagOrder(upstreams) : inContentOrder(upstreams, this.#random);
    const started = this.#clock.now();
    const ask = (upstream: UpstreamClient, own: AbortSignal) =>
      this.#getFrom(upstream, target, reference, own);
    const hedging = reference.kind === 'digest' ? this.#hedging : undefined;
    let answer = await askInOrder(order(), ask, signal, hedging);
    if (
      answer.kind === 'refused' &&
      answer.verdict.kind === 'unavailable' &&
      this.#clock.now() - started < quickFailure
    ) {
      await delay(retryPause, signal);
      answer = await askInOrder(order(), ask, signal, hedging);
    }
    if (answer.kind === 'refused') throw this.#remember(target, reference, answer.verdict, burst);
    this.#absences.forget(flightKey(target, reference));
    return { manifest: answer.value, outcome: 'miss', upstream: answer.upstream, staleBecause: undefined };
  }

  async #getFrom(
    upstream: UpstreamClient,
    target: ResolvedRepository,
    reference: Reference,
    signal: AbortSignal,
  ): Promise<UpstreamResult<StoredManifest>> {
    const got = await upstream.getManifest(target.repository, reference, this.#limit, signal);
    if (got.kind !== 'ok') return got;
    const asked = {
      digest: reference.kind === 'digest' ? reference.digest : undefined,
      tag: reference.kind === 'tag' ? reference.tag : undefined,
      upstream: upstream.name,
      at: this.#clock.now(),
    };
    try {
      const manifest = await this.#store.admit(keyOf(target), got.value, asked);
      return { kind: 'ok', value: manifest, upstream: upstream.name };
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      this.#log.warn(
        { image: imageName(target), upstream: upstream.name, ...error },
        'manifest of a wrong digest refused',
      );
      const cause = new UpstreamError(`it sent a manifest whose digest is ${error.found}`, {
        upstream: upstream.name,
        op: 'get-manifest',
        cause: error,
      });
      return { kind: 'unavailable', upstream: upstream.name, cause };
    }
  }

  /** @param whileDown milliseconds for which "cannot be reached" is remembered */
  #remember(target: ResolvedRepository, reference: Reference, verdict: Verdict, whileDown: number): OciError {
    const what = `${imageName(target)}${reference.kind === 'tag' ? ':' : '@'}${referenceText(reference)}`;
    const error = verdictError(verdict, what, 'MANIFEST_UNKNOWN');
    const { negativeTtl } = target.registry;
    const named = retryAfterOf(verdict);
    const limited = named === undefined ? negativeTtl : Math.min(named * 1000, negativeTtl);
    const ttl = { missing: negativeTtl, denied: negativeTtl, limited, unavailable: whileDown }[verdict.kind];
    this.#absences.remember(flightKey(target, reference), error, ttl);
    return error;
  }
}

/** Whether the upstreams that could be asked answer a GET only. */
function knowsNoHead({ refusals }: Verdict): boolean {
  return refusals.some((refusal) => refusal.kind === 'unavailable' && refusal.cause.reason === 'method');
}

function flightKey(target: ResolvedRepository, reference: Reference): string {
  return `${imageName(target)} ${referenceText(reference)}`;
}

function hit(manifest: StoredManifest): ManifestAnswer {
  return { manifest, outcome: 'hit', upstream: undefined, staleBecause: undefined };
}

function stale(manifest: StoredManifest, because: string): ManifestAnswer {
  return { manifest, outcome: 'stale', upstream: undefined, staleBecause: because };
}
