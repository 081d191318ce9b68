import type { Digest } from '../../oci/digest.ts';
import type { PolicyDenial } from '../../policy/compiled-rule.ts';
import type { PolicyDecision, PolicyRules } from '../../policy/rules.ts';
import type { LinkRecords } from '../../store/link-records.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { waysTo } from '../ways.ts';
import { type Decided, Decisions } from './decisions.ts';

/** What content asked for by digest needs: an allowed tag that led to it, leave for its repository, or one now. */
export type DigestPolicy = 'provenance' | 'allow' | 'deny';

/** A decision under way, and the count of changes when it began. */
type Deciding = { readonly since: number; readonly decided: Promise<Decided> };

/** Decides about digests by what led to them, and remembers what it decided. */
export class Provenance {
  readonly #rules: PolicyRules;
  readonly #links: Pick<LinkRecords, 'stepsUp'>;
  readonly #digests: DigestPolicy;
  readonly #decisions = new Decisions();
  readonly #deciding = new Map<string, Deciding>();

  constructor(
    deps: { rules: PolicyRules; links: Pick<LinkRecords, 'stepsUp'> },
    options: { digests: DigestPolicy },
  ) {
    this.#rules = deps.rules;
    this.#links = deps.links;
    this.#digests = options.digests;
  }

  /** What was decided about a digest, and still holds. */
  known(target: ResolvedRepository, digest: Digest): PolicyDecision | undefined {
    return this.#decisions.get(imageName(target), digest);
  }

  /** Decides about a digest by what is known now. All who ask meanwhile get the same decision, unless more became known. */
  decide(target: ResolvedRepository, digest: Digest): Promise<Decided> {
    const image = imageName(target);
    const name = `${image} ${digest}`;
    const underWay = this.#deciding.get(name);
    if (underWay !== undefined && this.#decisions.isCurrent(image, underWay.since)) return underWay.decided;
    const deciding = { since: this.#decisions.count, decided: this.#decide(target, digest) };
    this.#deciding.set(name, deciding);
    const over = () => {
      if (this.#deciding.get(name) === deciding) this.#deciding.delete(name);
    };
    deciding.decided.then(over, over);
    return deciding.decided;
  }

  /** The count of changes so far: what {@link Provenance.remember} wants to know of a decision that begins now. */
  get count(): number {
    return this.#decisions.count;
  }

  /** Remembers a decision that is here to stay until something else is known to lead to the digest. */
  remember(target: ResolvedRepository, digest: Digest, decided: Decided, since: number): void {
    this.#decisions.remember(imageName(target), digest, decided, since);
  }

  /**
   * Forgets what may be decided otherwise, since something became known of a repository.
   * @param change.tags whether tags name something else than before
   * @param change.manifest whether a manifest became known
   */
  changed(image: string, { tags, manifest }: { readonly tags: boolean; readonly manifest: boolean }): void {
    this.#decisions.changed(image, { other: tags && this.#digests === 'deny', manifest });
  }

  /** Forgets what was decided: something that led to digests, wherever, does so no longer. */
  forget(): void {
    this.#decisions.clear();
  }

  /** Each way is judged by itself: that one is denied says nothing about the others, and one that is allowed suffices. */
  async #decide(target: ResolvedRepository, digest: Digest): Promise<Decided> {
    const image = imageName(target);
    const ways = waysTo(this.#links, keyOf(target), digest, {
      current: this.#digests === 'deny',
      noted: this.#rules.named(image),
    });
    let worst: Denial | undefined;
    for await (const { tag, via } of ways) {
      const decision = this.#ruling(image, digest, tag === undefined ? [] : [tag], via);
      if (decision.kind === 'allow') return { decision, byTag: tag !== undefined };
      if (worst === undefined || tellsMore({ tag, decision }, worst)) worst = { tag, decision };
    }
    // Ways that only go round in a circle begin nowhere, and whatever is denied may lie on them.
    const decision = worst?.decision ?? this.#ruling(image, digest, [], this.#rules.refused(image));
    return { decision, byTag: false };
  }

  #ruling(image: string, digest: Digest, tags: readonly string[], via: readonly Digest[]): PolicyDecision {
    const decision = this.#rules.digest(image, digest, tags, via);
    if (decision.kind === 'allow' || this.#digests !== 'allow') return decision;
    return this.#rules.refusal(image, [digest, ...via]) ?? this.#rules.repository(image);
  }
}

/** Why one way is denied. */
type Denial = { readonly tag: string | undefined; readonly decision: PolicyDenial };

/**
 * Whether a denial tells a client more than another: one of a known tag by a rule most, then one of a known tag; of
 * two alike the same one is told whatever the order in which they were found.
 */
function tellsMore(one: Denial, other: Denial): boolean {
  const rank = ({ tag, decision }: Denial) => (tag === undefined ? 0 : decision.rule === undefined ? 1 : 2);
  if (rank(one) !== rank(other)) return rank(one) > rank(other);
  return one.tag !== undefined && other.tag !== undefined && one.tag < other.tag;
}
