import { LRUCache } from 'lru-cache';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import { isDerivedTag, subjectOfTag, type Tag } from '../../oci/reference.ts';
import { type RepositoryKey, repositoryText } from '../../oci/repository-key.ts';
import type { PolicyDecision, PolicyDenial, PolicyRules } from '../../policy/rules.ts';
import type { Metadata } from '../../store/metadata.ts';
import { freely, type TagTerms } from '../manifests/tag-terms.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import type { DeniedContent } from './denied-content.ts';
import { type Way, waysTo } from './ways.ts';

/** What content asked for by digest needs: an allowed tag that led to it, leave for its repository, or one now. */
export type DigestPolicy = 'provenance' | 'allow' | 'deny';

/** Whether something may be served, and how. */
export type Admitted =
  | {
      readonly kind: 'allow';
      readonly terms: TagTerms;
      /** False for a tag whose digest may yet be refused. */
      readonly certain: boolean;
    }
  | Denied;

/** A refusal; `message` says which rule, why, and what would be allowed. */
export type Denied = { readonly kind: 'deny'; readonly message: string };

/** Digests of one repository whose decision is remembered. */
const rememberedDigests = 5_000;

/** What fixes the digest of tags, beyond the rules. */
export type Lock = { digest(image: string, tag: string): Digest | undefined };

/** What is known of a digest, and whether all that this rests on is here to stay. */
type Judgement = { readonly decision: PolicyDecision; readonly lasting: boolean };

/** A digest that no rule names. */
const unnamed = `sha256:${'0'.repeat(64)}` as Digest;

const freelyAdmitted: Admitted = { kind: 'allow', terms: freely, certain: true };

/**
 * Applies the policy to what is asked for, however it is named: a tag by the rules, a digest by the tags that are
 * known to have led to it, a derived tag (a signature) by the digest that it is about.
 */
export class Admission {
  readonly #rules: PolicyRules;
  readonly #metadata: Pick<Metadata, 'links' | 'tags'>;
  readonly #lock: Lock;
  readonly #deniedContent: Pick<DeniedContent, 'learn'>;
  readonly #digests: DigestPolicy;
  readonly #allowed = new LRUCache<string, Admitted>({ max: 20_000 });
  readonly #decided = new LRUCache<string, Map<Digest, PolicyDecision>>({ max: 5_000 });

  constructor(
    deps: {
      rules: PolicyRules;
      metadata: Pick<Metadata, 'links' | 'tags'>;
      lock: Lock;
      deniedContent: Pick<DeniedContent, 'learn'>;
    },
    options: { digests: DigestPolicy },
  ) {
    this.#rules = deps.rules;
    this.#metadata = deps.metadata;
    this.#lock = deps.lock;
    this.#deniedContent = deps.deniedContent;
    this.#digests = options.digests;
  }

  /**
   * Decides about a tag. `digest` is what it turned out to name; without it the answer may be uncertain, where a rule
   * is about digests, and is to be asked for again once the digest is known.
   * @param signal as for {@link Admission.digest}, which a derived tag comes to
   */
  tag(
    target: ResolvedRepository,
    tag: Tag,
    digest?: Digest,
    signal?: AbortSignal,
  ): Admitted | Promise<Admitted> {
    const image = imageName(target);
    if (isDerivedTag(tag)) return this.#derived(target, tag, digest, signal);
    const name = `${image}:${tag}`;
    const known = digest === undefined ? this.#allowed.get(name) : undefined;
    if (known !== undefined) return known;
    const locked = this.#lock.digest(image, tag);
    const decision = this.#rules.tag(image, tag, digest ?? locked);
    if (decision.kind === 'deny') return this.#explain(target, decision.message);
    if (decision.kind === 'undecided') return this.#uncertain(target, tag);
    const { pin, minAge } = decision;
    const admitted: Admitted = { kind: 'allow', terms: { locked, pin, minAge }, certain: true };
    if (digest === undefined) this.#allowed.set(name, admitted);
    return admitted;
  }

  /**
   * Decides about a manifest or blob that is asked for by digest.
   * @param signal of whoever waits while upstreams are asked what the digests consist of that rules deny; without one
   *   they are not asked, and what is known decides
   * @throws OciError as `DeniedContent.learn` does
   */
  digest(target: ResolvedRepository, digest: Digest, signal?: AbortSignal): Admitted | Promise<Admitted> {
    const image = imageName(target);
    if (this.#rules.whole(image)) return freelyAdmitted;
    if (this.#digests === 'allow' && this.#rules.refused(image).length === 0) return this.repository(target);
    const known = this.#decided.get(image)?.get(digest);
    if (known?.kind === 'allow') return freelyAdmitted;
    return this.#judge(target, digest, signal);
  }

  /** Decides about a repository as such: what is listed of it. */
  repository(target: ResolvedRepository): Admitted | Promise<Admitted> {
    const decision = this.#rules.repository(imageName(target));
    return decision.kind === 'allow' ? freelyAdmitted : this.#explain(target, decision.message);
  }

  /** Whether a tag may be shown in a list. */
  lists(target: ResolvedRepository, tag: string): boolean {
    if (isDerivedTag(tag)) return true;
    const image = imageName(target);
    return this.#rules.tag(image, tag, this.#lock.digest(image, tag)).kind !== 'deny';
  }

  /** Forgets what was decided about a repository's digests: something else is known to lead to them. */
  changed(key: RepositoryKey): void {
    this.#decided.delete(repositoryText(key));
  }

  /**
   * A tag whose digest decides. What it is served as says whether it stays; it is left for another digest after
   * the time that is asked for with either.
   */
  async #uncertain(target: ResolvedRepository, tag: Tag): Promise<Admitted> {
    const image = imageName(target);
    const record = await this.#metadata.tags.get(keyOf(target), tag);
    const served = this.#rules.tag(image, tag, record?.digest ?? unnamed);
    const other = this.#rules.tag(image, tag, unnamed);
    const terms = {
      locked: undefined,
      pin: served.kind === 'allow' && served.pin,
      minAge: Math.max(ageOf(served), ageOf(other)),
    };
    return { kind: 'allow', terms, certain: false };
  }

  /** A derived tag is decided by what it is about, and by what it names: neither says anything of the other. */
  async #derived(
    target: ResolvedRepository,
    tag: Tag,
    named: Digest | undefined,
    signal: AbortSignal | undefined,
  ): Promise<Admitted> {
    const image = imageName(target);
    if (this.#rules.whole(image)) return freelyAdmitted;
    const subject = subjectOfTag(tag);
    if (subject === undefined) {
      return {
        kind: 'deny',
        message: `policy: ${image}:${tag} is denied: what it refers to is not known`,
      };
    }
    const about = await this.digest(target, subject, signal);
    if (about.kind === 'deny') return about;
    return named === undefined ? { ...about, certain: false } : this.digest(target, named, signal);
  }

  async #judge(
    target: ResolvedRepository,
    digest: Digest,
    signal: AbortSignal | undefined,
  ): Promise<Admitted> {
    const image = imageName(target);
    const decided = this.#decidedOf(image);
    let decision = decided.get(digest);
    if (decision === undefined) {
      const judgement = await this.#decideInFull(target, digest, signal);
      decision = judgement.decision;
      if (decided.size >= rememberedDigests) decided.clear();
      if (judgement.lasting) decided.set(digest, decision);
    }
    return decision.kind === 'allow' ? freelyAdmitted : this.#explain(target, decision.message);
  }

  /**
   * What no tag leads to may be a part of what a rule denies by its digest, and is allowed only when that is known not
   * to be so.
   */
  async #decideInFull(
    target: ResolvedRepository,
    digest: Digest,
    signal: AbortSignal | undefined,
  ): Promise<Judgement> {
    const refused = this.#rules.refused(imageName(target));
    const judgement = await this.#decide(target, digest);
    if (judgement.lasting || refused.length === 0) return { ...judgement, lasting: true };
    if (signal === undefined) return judgement;
    await this.#deniedContent.learn(target, refused, signal);
    const known = await this.#decide(target, digest);
    if (known.decision.kind === 'deny' || known.lasting || comparable(digest, refused)) return known;
    return { decision: this.#rules.incomparable(imageName(target), digest), lasting: false };
  }

  /** The map that later changes detach: a decision that was under way then is not remembered. */
  #decidedOf(image: string): Map<Digest, PolicyDecision> {
    const known = this.#decided.get(image);
    if (known !== undefined) return known;
    const made = new Map<Digest, PolicyDecision>();
    this.#decided.set(image, made);
    return made;
  }

  /** Each way is judged by itself: that one is denied says nothing about the others. */
  async #decide(target: ResolvedRepository, digest: Digest): Promise<Judgement> {
    const image = imageName(target);
    const ways = await waysTo(this.#metadata, keyOf(target), digest, {
      current: this.#digests === 'deny',
      noted: this.#rules.named(image),
    });
    const isTagged = ({ tag }: Way) => tag !== undefined;
    let denial: PolicyDenial | undefined;
    for (const { tag, via } of [...ways.filter(isTagged), ...ways.filter((way) => !isTagged(way))]) {
      const decision = this.#ruling(image, digest, tag === undefined ? [] : [tag], via);
      if (decision.kind === 'allow') return { decision, lasting: tag !== undefined };
      if (denial === undefined || (denial.rule === undefined && tag !== undefined)) denial = decision;
    }
    // Ways that only go round in a circle begin nowhere, and whatever is denied may lie on them.
    const decision = denial ?? this.#ruling(image, digest, [], this.#rules.refused(image));
    return { decision, lasting: decision.kind === 'deny' };
  }

  #ruling(image: string, digest: Digest, tags: readonly string[], via: readonly Digest[]): PolicyDecision {
    const decision = this.#rules.digest(image, digest, tags, via);
    if (decision.kind === 'allow' || this.#digests !== 'allow') return decision;
    return this.#rules.refusal(image, [digest, ...via]) ?? this.#rules.repository(image);
  }

  async #explain(target: ResolvedRepository, message: string): Promise<Denied> {
    const known = await this.#metadata.tags.names(keyOf(target));
    return { kind: 'deny', message: `${message} ${this.#rules.remedy(imageName(target), known)}` };
  }
}

function ageOf(decision: PolicyDecision): number {
  return decision.kind === 'allow' ? decision.minAge : 0;
}

/** Whether content of that digest would be known by it if it were a part of what is denied: descriptors use SHA-256. */
function comparable(digest: Digest, refused: readonly Digest[]): boolean {
  const algorithm = digestAlgorithm(digest);
  return algorithm === 'sha256' || refused.every((each) => digestAlgorithm(each) === algorithm);
}
