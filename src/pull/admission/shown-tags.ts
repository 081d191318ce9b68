import type { Slice } from '../../lib/concurrency.ts';
import type { PullListings } from '../listings/listings.ts';
import type { HowListed, PageAsked, TagPage } from '../listings/pages.ts';
import type { TagList } from '../listings/tag-list.ts';
import type { Ask, ResolvedRepository } from '../repository.ts';
import type { Admission } from './admission.ts';

/** The longest page, whatever `n` a client names. */
const longestPage = 10_000;

/** Tags that are judged between two looks at the clock. */
const stride = 16;

/** What is remembered of a tag; 0: it was not judged yet. */
const [shown, hidden] = [1, 2];

/**
 * Lists tags as far as policy lets them be shown. Each tag of a list is judged once, when a page first needs it: a list
 * never changes, and neither does a site's policy.
 */
export class ShownTags {
  readonly #listings: Pick<PullListings, 'tags'>;
  readonly #admission: Pick<Admission, 'shown'>;
  readonly #verdicts = new WeakMap<TagList, Uint8Array>();

  constructor(deps: { listings: Pick<PullListings, 'tags'>; admission: Pick<Admission, 'shown'> }) {
    this.#listings = deps.listings;
    this.#admission = deps.admission;
  }

  /**
   * A page of the tags that are shown. `last` need not be one of them: a page begins with what the order of tags puts
   * behind it.
   * @throws OciError as `PullListings.tags` does
   */
  async page(ask: Pick<Ask, 'target' | 'signal'>, { n, last }: PageAsked): Promise<TagPage> {
    const most = Math.min(n ?? longestPage, longestPage);
    const { value, ...how } = await this.#listings.tags(ask, (list, slice) => {
      return this.#read(ask, { list, from: last === undefined ? 0 : list.after(last), most }, slice);
    });
    return { ...value, ...how };
  }

  /**
   * All tags that are shown.
   * @throws OciError as `PullListings.tags` does
   */
  async all(ask: Pick<Ask, 'target' | 'signal'>): Promise<HowListed & { readonly tags: readonly string[] }> {
    const { value, ...how } = await this.#listings.tags(ask, (list, slice) => {
      return this.#read(ask, { list, from: 0, most: list.length }, slice);
    });
    return { tags: value.tags, ...how };
  }

  /** Up to `most` shown tags of a list, the first at or behind the index `from`. */
  async #read(
    { target, signal }: Pick<Ask, 'target' | 'signal'>,
    { list, from, most }: { list: TagList; from: number; most: number },
    slice: Slice,
  ): Promise<{ readonly tags: readonly string[]; readonly more: boolean }> {
    const tags: string[] = [];
    if (most === 0) return { tags, more: false };
    const isShown = this.#judgeOf(target, list);
    for (let index = from; index < list.length; index += 1) {
      if (index % stride === 0 && slice.over) await slice.pause(signal);
      if (!isShown(index)) continue;
      if (tags.length === most) return { tags, more: true };
      tags.push(list.at(index));
    }
    return { tags, more: false };
  }

  #judgeOf(target: ResolvedRepository, list: TagList): (index: number) => boolean {
    const allows = this.#admission.shown(target);
    if (allows === 'all') return () => true;
    const verdicts = this.#verdicts.get(list) ?? new Uint8Array(list.length);
    this.#verdicts.set(list, verdicts);
    return (index) => {
      if (verdicts[index] === 0) verdicts[index] = allows(list.at(index)) ? shown : hidden;
      return verdicts[index] === shown;
    };
  }
}
