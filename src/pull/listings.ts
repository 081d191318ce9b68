import type { Clock } from '../lib/clock.ts';
import type { Digest } from '../oci/digest.ts';
import { OciError } from '../oci/errors.ts';
import { parseManifest } from '../oci/manifest.ts';
import { mediaTypes } from '../oci/media-types.ts';
import type { Metadata, RepositoryKey, StoredListing } from '../store/metadata.ts';
import type { UpstreamClient } from '../upstream/client.ts';
import type { Ranked } from '../upstream/ranking.ts';
import type { UpstreamResult } from '../upstream/result.ts';
import { Absences } from './absences.ts';
import { askInOrder, inContentOrder, inTagOrder } from './ask.ts';
import { Flights } from './flights.ts';
import { isFresh } from './freshness.ts';
import { offlineError } from './offline.ts';
import { isOutage, verdictError } from './outcomes.ts';
import { type CacheOutcome, imageName, keyOf, type ResolvedRepository } from './registry.ts';
import { storedReferrers } from './stored-referrers.ts';

/** One page of a tag listing. */
export type TagPage = {
  readonly tags: readonly string[];
  /** Whether tags follow the last one of this page. */
  readonly more: boolean;
  readonly outcome: CacheOutcome;
};

/** A referrers index as the upstream sent it. */
export type ReferrersAnswer = {
  readonly body: Buffer;
  readonly mediaType: string;
  readonly filtersApplied: string | undefined;
  readonly outcome: CacheOutcome;
};

/** More tags than any repository has; what an upstream lists beyond is cut. */
const mostTags = 100_000;

/** The longest page, whatever `n` a client names. */
const longestPage = 10_000;

const filtered = ';filtered=';

/** Tag lists and referrers: asked upstream, kept for a while, and served stale when no upstream answers. */
export class PullListings {
  readonly #metadata: Metadata;
  readonly #clock: Clock;
  readonly #absences: Absences;
  readonly #changed: (key: RepositoryKey) => void;
  readonly #random: () => number;
  readonly #flights = new Flights<StoredListing>({ deadline: 120_000 });
  readonly #limit: number;

  /**
   * @param deps.changed is told of a repository of which a referrer became known
   * @param options.manifestSize the largest referrers index accepted, in bytes
   */
  constructor(
    deps: {
      metadata: Metadata;
      clock: Clock;
      random: () => number;
      changed?: (key: RepositoryKey) => void;
    },
    options: { manifestSize: number },
  ) {
    this.#changed = deps.changed ?? (() => undefined);
    this.#metadata = deps.metadata;
    this.#clock = deps.clock;
    this.#random = deps.random;
    this.#absences = new Absences({ clock: deps.clock });
    this.#limit = options.manifestSize;
  }

  /**
   * A page of the repository's tags, in lexical order (distribution-spec, "Listing Tags").
   * @param page `n` tags after `last`; without `n` as many as one page holds
   * @param allows which tags are shown
   */
  async tags(
    target: ResolvedRepository,
    page: { n: number | undefined; last: string | undefined },
    allows: (tag: string) => boolean,
    signal: AbortSignal,
  ): Promise<TagPage> {
    if (target.registry.offline) return pageOf(await this.#storedTags(target), page, allows, 'hit');
    const { listing, outcome } = await this.#listing(
      target,
      'tags',
      inTagOrder(target.registry.upstreams),
      async (upstream, own) => {
        const result = await upstream.listTags(target.repository, mostTags, own);
        if (result.kind !== 'ok') return result;
        const body = Buffer.from(JSON.stringify([...new Set(result.value)].sort()));
        return { ...result, value: { body, mediaType: 'application/json' } };
      },
      signal,
    );
    return pageOf(JSON.parse(listing.body.toString()) as string[], page, allows, outcome);
  }

  /**
   * The manifests that refer to a digest (distribution-spec, "Listing Referrers"), as the upstream lists them.
   * @throws OciError `MANIFEST_UNKNOWN` when the upstream has no referrers API: clients then ask for the fallback tag
   */
  async referrers(
    target: ResolvedRepository,
    digest: Digest,
    artifactType: string | undefined,
    signal: AbortSignal,
  ): Promise<ReferrersAnswer> {
    if (target.registry.offline) {
      return storedReferrers(this.#metadata, keyOf(target), digest, artifactType);
    }
    const { listing, outcome } = await this.#listing(
      target,
      `referrers ${digest} ${artifactType ?? ''}`,
      inContentOrder(target.registry.upstreams, this.#random),
      async (upstream, own) => {
        const result = await upstream.listReferrers(
          target.repository,
          digest,
          artifactType,
          this.#limit,
          own,
        );
        if (result.kind !== 'ok') return result;
        const { bytes, filtersApplied } = result.value;
        await this.#noteReferrers(keyOf(target), digest, bytes);
        const suffix = filtersApplied === undefined ? '' : `${filtered}${filtersApplied}`;
        return { ...result, value: { body: bytes, mediaType: `${mediaTypes.ociIndex}${suffix}` } };
      },
      signal,
    );
    const [mediaType = mediaTypes.ociIndex, filtersApplied] = listing.mediaType.split(filtered);
    return { body: listing.body, mediaType, filtersApplied, outcome };
  }

  /** Aborts what is under way. */
  close(): void {
    this.#flights.close();
  }

  /** All tags that are served without upstreams. */
  async #storedTags(target: ResolvedRepository): Promise<readonly string[]> {
    const tags = await this.#metadata.tags(keyOf(target));
    if (tags.length > 0) return tags;
    const image = imageName(target);
    throw offlineError('NAME_UNKNOWN', `nothing of ${image}`, `${image}:TAG`);
  }

  /** What is listed as referring to a digest may be read where that digest may. */
  async #noteReferrers(key: RepositoryKey, subject: Digest, index: Buffer): Promise<void> {
    const referrers = referrersOf(index);
    if (referrers.length === 0) return;
    await this.#metadata.putReferrers(key, subject, referrers);
    this.#changed(key);
  }

  async #listing(
    target: ResolvedRepository,
    name: string,
    upstreams: readonly Ranked<UpstreamClient>[],
    ask: (
      upstream: UpstreamClient,
      signal: AbortSignal,
    ) => Promise<UpstreamResult<Omit<StoredListing, 'checkedAt'>>>,
    signal: AbortSignal,
  ): Promise<{ listing: StoredListing; outcome: CacheOutcome }> {
    const key = keyOf(target);
    const stored = await this.#metadata.listing(key, name);
    if (stored !== undefined && isFresh(stored.checkedAt, target.registry.tagTtl, this.#clock.now())) {
      return { listing: stored, outcome: 'hit' };
    }
    const flight = `${imageName(target)} ${name}`;
    try {
      const known = this.#absences.recall(flight);
      if (known !== undefined) throw known;
      const { value, joined } = await this.#flights.join(
        flight,
        async (own) => {
          const spendAndAsk: typeof ask = (upstream, attempt) => {
            target.errand?.spend();
            return ask(upstream, attempt);
          };
          const answer = await askInOrder(upstreams, spendAndAsk, own);
          if (answer.kind === 'refused') {
            const error = verdictError(
              answer.verdict,
              `${name.split(' ', 1)[0]} of ${imageName(target)}`,
              'NAME_UNKNOWN',
            );
            this.#absences.remember(flight, error, target.registry.negativeTtl);
            if (answer.verdict.kind === 'missing') await this.#metadata.dropListing(key, name);
            throw error;
          }
          const listing = { ...answer.value, checkedAt: this.#clock.now() };
          await this.#metadata.putListing(key, name, listing);
          return listing;
        },
        signal,
      );
      return { listing: value, outcome: joined ? 'joined' : 'miss' };
    } catch (error) {
      if (isOutage(error) && stored !== undefined) return { listing: stored, outcome: 'stale' };
      throw error;
    }
  }
}

function pageOf(
  listed: readonly string[],
  { n, last }: { n: number | undefined; last: string | undefined },
  allows: (tag: string) => boolean,
  outcome: CacheOutcome,
): TagPage {
  const all = listed.filter(allows);
  const after = last === undefined ? all : all.filter((tag) => tag > last);
  const tags = after.slice(0, Math.min(n ?? longestPage, longestPage));
  return { tags, more: tags.length > 0 && tags.length < after.length, outcome };
}

/** The digests that an index lists; none of one that cannot be read, which is its reader's affair. */
function referrersOf(index: Buffer): readonly Digest[] {
  try {
    const parsed = parseManifest(index, mediaTypes.ociIndex);
    return parsed.kind === 'index' ? parsed.manifests.map(({ digest }) => digest) : [];
  } catch (error) {
    if (error instanceof OciError) return [];
    throw error;
  }
}
