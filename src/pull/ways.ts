import { nextTurn } from '../lib/concurrency.ts';
import type { Digest } from '../oci/digest.ts';
import { isDerivedTag, subjectOfTag, type Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';
import type { LinkRecords, StepFrom } from '../store/link-records.ts';

/** A way to a digest: the tag where it begins, if one does, and the digests on it that rules may speak of. */
export type Way = {
  readonly tag: Tag | undefined;
  /** What the tag was served as, and those digests between it and the asked one that were to be noted. */
  readonly via: readonly Digest[];
};

/** Signatures of signatures: nobody means deeper ones. */
const deepest = 3;

/** Digests that are stepped up from at once, after some steps: as many as take a moment. */
const mostAtOnce = 8;

/** Questions to the index after which others get their turn. */
const questionsATurn = 8;

/** A digest on the way up from the asked one, and what was noted below it. */
type Place = StepFrom & {
  readonly noted: readonly Digest[];
  /** Derived tags that may still be followed. */
  readonly depth: number;
};

/**
 * The known ways to a digest in a repository, those from a tag first. They are looked for as they are asked for: who
 * has seen enough stops, and has read no more of the index than that took. There is no way where manifests refer to
 * each other in a circle that no tag leads into. A derived tag is no beginning: the ways to what it is derived from
 * lead on to what it names.
 * @param options.current leaves out what tags were served as in the past
 * @param options.noted digests that are noted where they lie on a way
 */
export async function* waysTo(
  links: Pick<LinkRecords, 'stepsUp'>,
  key: RepositoryKey,
  digest: Digest,
  options: { readonly current: boolean; readonly noted: readonly Digest[] },
): AsyncGenerator<Way, void, undefined> {
  const walk = new Walk(options.noted);
  walk.reach(digest, [], deepest);
  for (let questions = 1; ; questions += 1) {
    const places = walk.next(Math.min(mostAtOnce, questions));
    if (places.length === 0) break;
    if (questions % questionsATurn === 0) await nextTurn();
    const steps = await links.stepsUp(key, places, { current: options.current });
    for (const [index, { tags, above, next }] of steps.entries()) {
      const place = places[index] as Place;
      for (const tag of tags) {
        if (!isDerivedTag(tag)) yield { tag, via: [place.digest, ...place.noted] };
        else walk.follow(place, tag);
      }
      for (const each of above) walk.reach(each, place.noted, place.depth);
      if (next !== undefined) walk.putOff({ ...place, after: next });
      else if (place.after === undefined && tags.length + above.length === 0) walk.end(place);
    }
  }
  yield* walk.untagged;
}

/** A tag that is known to lead to a digest, or to have done so: the image whose bundle holds it. */
export async function tagLeadingTo(
  links: Pick<LinkRecords, 'stepsUp'>,
  key: RepositoryKey,
  digest: Digest,
): Promise<Tag | undefined> {
  for await (const { tag } of waysTo(links, key, digest, { current: false, noted: [] })) {
    if (tag !== undefined) return tag;
  }
  return undefined;
}

/** What a walk upwards has reached, and where it has not been yet. */
class Walk {
  /** Ways that begin nowhere. */
  readonly untagged: Way[] = [];
  readonly #named: ReadonlySet<Digest>;
  readonly #reached = new Set<string>();
  readonly #waiting: Place[] = [];
  readonly #putOff: Place[] = [];

  constructor(named: readonly Digest[]) {
    this.#named = new Set(named);
  }

  /** The places to be looked at now: what was reached last first, since tags are at the top. */
  next(most: number): readonly Place[] {
    return this.#waiting.length > 0 ? this.#waiting.splice(-most) : this.#putOff.splice(-1);
  }

  /** A digest was reached from below; it is noted itself if it is one of those, unless nothing is below it. */
  reach(digest: Digest, below: readonly Digest[], depth: number): void {
    const isNew = this.#reached.size > 0 && this.#named.has(digest) && !below.includes(digest);
    const noted = isNew ? [...below, digest] : below;
    const name = `${depth} ${digest} ${noted.join(' ')}`;
    if (this.#reached.has(name)) return;
    this.#reached.add(name);
    this.#waiting.push({ digest, noted, depth });
  }

  /** More pages of what is above a place come once everything on the pages before has been looked at. */
  putOff(place: Place): void {
    this.#putOff.push(place);
  }

  /** Goes on from a derived tag to what it is derived from. */
  follow({ digest, noted, depth }: Place, tag: Tag): void {
    const subject = depth > 0 ? subjectOfTag(tag) : undefined;
    const via = [digest, ...noted];
    if (subject === undefined) this.untagged.push({ tag: undefined, via });
    else this.reach(subject, via, depth - 1);
  }

  /** Nothing is above a place, and no tag names it. */
  end({ digest, noted }: Place): void {
    this.untagged.push({ tag: undefined, via: [digest, ...noted] });
  }
}
