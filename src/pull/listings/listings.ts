import type { Clock } from '../../lib/clock.ts';
import type { Tell } from '../../lib/facts.ts';
import { Flights } from '../../lib/flights.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError, type OciErrorCode } from '../../oci/errors.ts';
import { parseManifest } from '../../oci/manifest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { referrersTag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import { compareTags } from '../../oci/tag-order.ts';
import type { StoredListing } from '../../store/listing-records.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import type { UpstreamResult } from '../../upstream/result.ts';
import { Absences } from '../asking/absences.ts';
import { askInOrder, inTagOrder } from '../asking/ask.ts';
import { isOutage, staleCause, verdictError } from '../asking/outcomes.ts';
import { isFresh } from '../manifests/freshness.ts';
import type { PullFact } from '../pull-facts.ts';
import { type DigestAsk, imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { absentError, isClosed, upstreamsOf } from '../source.ts';
import type { HowListed, ReferrersAnswer, TagPage } from './pages.ts';
import { storedReferrers } from './stored-referrers.ts';
import { type PageAsked, pageOf } from './tag-page.ts';

/** What is listed, and how it is told that there is no such list. */
type Listed = {
  /** Under which it is stored. */
  readonly name: string;
  /** As messages name it. */
  readonly title: string;
  readonly missing: OciErrorCode;
  /** The next step of whoever is told that it is missing. */
  readonly next: string;
};

/** What a flight comes to: a list, and whether upstream was asked for it. */
type Found = { readonly listing: StoredListing; readonly asked: boolean };

/** More tags than any repository has; what an upstream lists beyond is cut. */
const mostTags = 100_000;

const filtered = ';filtered=';

/** Tag lists and referrers: asked upstream, kept for a while, and served stale when no upstream answers. */
export class PullListings {
  readonly #metadata: Pick<Metadata, 'links' | 'listings' | 'manifests' | 'tags'>;
  readonly #clock: Clock;
  readonly #absences: Absences;
  readonly #facts: Tell<PullFact>;
  readonly #flights = new Flights<Found>({ deadline: 120_000 });
  readonly #limit: number;

  /**
   * @param deps.facts is told of a repository of which a referrer became known
   * @param options.manifestSize the largest referrers index accepted, in bytes
   */
  constructor(
    deps: {
      metadata: Pick<Metadata, 'links' | 'listings' | 'manifests' | 'tags'>;
      clock: Clock;
      facts: Tell<PullFact>;
    },
    options: { manifestSize: number },
  ) {
    this.#facts = deps.facts;
    this.#metadata = deps.metadata;
    this.#clock = deps.clock;
    this.#absences = new Absences({ clock: deps.clock });
    this.#limit = options.manifestSize;
  }

  /**
   * A page of the repository's tags, in lexical order (distribution-spec, "Listing Tags").
   * @param allows which tags are shown
   * @throws OciError `NAME_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS` or `UNAVAILABLE`
   */
  async tags(
    target: ResolvedRepository,
    page: PageAsked,
    allows: (tag: string) => boolean,
    signal: AbortSignal,
  ): Promise<TagPage> {
    if (isClosed(target.registry)) {
      const stored = pageOf(await this.#storedTags(target), page, allows);
      return { ...stored, outcome: 'hit', staleBecause: undefined };
    }
    const { listing, ...how } = await this.#listing(
      target,
      {
        name: 'tags',
        title: `the list of tags of ${imageName(target)}`,
        missing: 'NAME_UNKNOWN',
        next: 'check the name',
      },
      async (upstream, own) => {
        const result = await upstream.listTags(target.repository, mostTags, own);
        if (result.kind !== 'ok') return result;
        const body = Buffer.from(JSON.stringify([...new Set(result.value)].sort(compareTags)));
        return { ...result, value: { body, mediaType: 'application/json' } };
      },
      signal,
    );
    return { ...pageOf(JSON.parse(listing.body.toString()) as string[], page, allows), ...how };
  }

  /**
   * The manifests that refer to a digest (distribution-spec, "Listing Referrers"), as the upstream lists them.
   * @throws OciError `MANIFEST_UNKNOWN` when the upstream has no referrers API: clients then ask for the fallback tag,
   * which oras would not after `NAME_UNKNOWN`; and as {@link PullListings.tags} does
   */
  async referrers(
    { target, reference, signal }: DigestAsk,
    artifactType: string | undefined,
  ): Promise<ReferrersAnswer> {
    const { digest } = reference;
    if (isClosed(target.registry)) {
      return storedReferrers(this.#metadata, keyOf(target), digest, artifactType);
    }
    const { listing, ...how } = await this.#listing(
      target,
      {
        name: `referrers ${digest} ${artifactType ?? ''}`,
        title: `the list of what refers to ${digest} of ${imageName(target)}`,
        missing: 'MANIFEST_UNKNOWN',
        next: `ask for the tag ${referrersTag(digest)} instead`,
      },
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
    return { body: listing.body, mediaType, filtersApplied, ...how };
  }

  /** Aborts what is under way. */
  close(): void {
    void this.#flights.close();
  }

  /** All tags that are served without upstreams. */
  async #storedTags(target: ResolvedRepository): Promise<readonly string[]> {
    const tags = await this.#metadata.tags.names(keyOf(target));
    if (tags.length > 0) return tags;
    const image = imageName(target);
    throw absentError(target.registry.source, 'NAME_UNKNOWN', `nothing of ${image}`, `${image}:TAG`);
  }

  /** What is listed as referring to a digest may be read where that digest may. */
  async #noteReferrers(key: RepositoryKey, subject: Digest, index: Buffer): Promise<void> {
    const referrers = referrersOf(index);
    if (referrers.length === 0) return;
    await this.#metadata.links.putReferrers(key, subject, referrers);
    this.#facts.tell({ kind: 'provenance-changed', key, tags: false, manifest: false });
  }

  #isFresh({ registry }: ResolvedRepository, listing: StoredListing | undefined): listing is StoredListing {
    return listing !== undefined && isFresh(listing.checkedAt, registry.tagTtl, this.#clock.now());
  }

  async #listing(
    target: ResolvedRepository,
    { name, title, missing, next }: Listed,
    ask: (
      upstream: UpstreamClient,
      signal: AbortSignal,
    ) => Promise<UpstreamResult<Omit<StoredListing, 'checkedAt'>>>,
    signal: AbortSignal,
  ): Promise<HowListed & { listing: StoredListing }> {
    const key = keyOf(target);
    const stored = await this.#metadata.listings.get(key, name);
    if (this.#isFresh(target, stored)) return { listing: stored, outcome: 'hit', staleBecause: undefined };
    const flight = `${imageName(target)} ${name}`;
    try {
      const known = this.#absences.recall(flight);
      if (known !== undefined) throw known;
      const { value, joined } = await this.#flights.join(
        flight,
        async (own) => {
          // Others may have asked upstream since this was looked for.
          const come = await this.#metadata.listings.get(key, name);
          if (this.#isFresh(target, come)) return { listing: come, asked: false };
          const spendAndAsk: typeof ask = (upstream, attempt) => {
            target.budget?.spend();
            return ask(upstream, attempt);
          };
          // A list changes and is not verified: it is asked of who may say what a tag names.
          const answer = await askInOrder(inTagOrder(upstreamsOf(target.registry)), spendAndAsk, own);
          if (answer.kind === 'refused') {
            const error = verdictError(answer.verdict, title, missing, next);
            this.#absences.remember(flight, error, target.registry.negativeTtl);
            if (answer.verdict.kind === 'missing') await this.#metadata.listings.drop(key, name);
            throw error;
          }
          const listing = { ...answer.value, checkedAt: this.#clock.now() };
          await this.#metadata.listings.put(key, name, listing);
          return { listing, asked: true };
        },
        signal,
      );
      const outcome = value.asked ? (joined ? 'joined' : 'miss') : 'hit';
      return { listing: value.listing, outcome, staleBecause: undefined };
    } catch (error) {
      if (!isOutage(error) || stored === undefined) throw error;
      return { listing: stored, outcome: 'stale', staleBecause: staleCause(error) };
    }
  }
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
