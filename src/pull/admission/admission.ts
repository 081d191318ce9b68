import { LRUCache } from 'lru-cache';
import { settle } from '../../lib/settle.ts';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import { isDerivedTag, type Reference, subjectOfTag, type Tag } from '../../oci/reference.ts';
import { type RepositoryKey, repositoryText } from '../../oci/repository-key.ts';
import type { PolicyDecision, PolicyRules } from '../../policy/rules.ts';
import type { Metadata } from '../../store/metadata.ts';
import { freely, type TagTerms } from '../manifests/tag-terms.ts';
import { Memory } from '../memory.ts';
import { imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { type DigestPolicy, Provenance } from './provenance.ts';

/** What is asked for: a manifest by its reference, other content by its digest, or the repository's list of tags. */
export type Wanted =
  | Reference
  | { readonly kind: 'content'; readonly digest: Digest }
  | { readonly kind: 'repository' };

/** What has to be known before the policy can decide. */
export type Evidence =
  /** The manifest that the reference names: its digest, or what it refers to. It is fetched by these terms. */
  | { readonly kind: 'manifest'; readonly terms: TagTerms }
  /** What the manifests of these digests, which rules deny, consist of. */
  | { readonly kind: 'denied-content'; readonly digests: readonly Digest[] };

/** The evidence that was brought. */
export type Known = {
  /** The digest of the manifest that the reference names, which is recorded with all that it names. */
  readonly manifest?: Digest | undefined;
  /** Whether what denied manifests consist of is recorded, as far as upstreams have it. */
  readonly deniedContent?: boolean;
};

/** May be served; a tag by these terms. */
export type Allowed = { readonly kind: 'allow'; readonly terms: TagTerms };

/** A refusal; `message` says which rule, why, and what would be allowed. */
export type Denied = { readonly kind: 'deny'; readonly message: string };

/** What the policy says. `needs`: it cannot decide before `evidence` is known. */
export type Judgement = Allowed | Denied | { readonly kind: 'needs'; readonly evidence: Evidence };

/** Known tags of which a denial names some that are allowed. */
const mostKnownTags = 1_000;

/** What fixes the digest of tags, beyond the rules. */
export type Lock = { digest(image: string, tag: string): Digest | undefined };

/** A digest that no rule names. */
const unnamed = `sha256:${'0'.repeat(64)}` as Digest;

const freelyAllowed: Allowed = { kind: 'allow', terms: freely };

const nothingYet: Known = {};

/**
 * Applies the policy to what is asked for, however it is named: a tag by the rules, a digest by the tags that are
 * known to have led to it, a derived tag (a signature) by the digest that it is about. Decides by the rules and the
 * index alone; what only an upstream can tell is asked for as evidence.
 */
export class Admission {
  readonly #rules: PolicyRules;
  readonly #metadata: Pick<Metadata, 'links' | 'tags'>;
  readonly #lock: Lock;
  readonly #digests: DigestPolicy;
  readonly #allowed = new LRUCache<string, Allowed>({ max: 20_000 });
  readonly #provenance: Provenance;
  /** What would be allowed of an image, by the tags that are known of it. */
  readonly #remedies = new Memory<{ readonly text: string }>({ max: 5_000 });

  constructor(
    deps: {
      rules: PolicyRules;
      metadata: Pick<Metadata, 'links' | 'tags'>;
      lock: Lock;
    },
    options: { digests: DigestPolicy },
  ) {
    this.#rules = deps.rules;
    this.#metadata = deps.metadata;
    this.#lock = deps.lock;
    this.#digests = options.digests;
    this.#provenance = new Provenance({ rules: deps.rules, links: deps.metadata.links }, options);
  }

  /** Whether what is asked for may be served, by what is known. Answers at once where nothing has to be looked up. */
  judge(
    target: ResolvedRepository,
    wanted: Wanted,
    known: Known = nothingYet,
  ): Judgement | Promise<Judgement> {
    switch (wanted.kind) {
      case 'tag':
        return isDerivedTag(wanted.tag)
          ? this.#derivedTag(target, wanted.tag, known)
          : this.#tag(target, wanted.tag, known.manifest);
      case 'digest':
      case 'content':
        return this.#digest(target, wanted, known);
      case 'repository':
        return this.#repository(target);
      default:
        return wanted satisfies never;
    }
  }

  /** Which tags of a repository may be shown in a list: every one, or those that the answer is true for. */
  shown(target: ResolvedRepository): 'all' | ((tag: string) => boolean) {
    const image = imageName(target);
    if (this.#rules.whole(image)) return 'all';
    return (tag) => {
      return isDerivedTag(tag) || this.#rules.tag(image, tag, this.#lock.digest(image, tag)).kind !== 'deny';
    };
  }

  /** Forgets what was found out about a repository where it may be otherwise, as `Provenance.changed` does. */
  changed(key: RepositoryKey, change: { readonly tags: boolean; readonly manifest: boolean }): void {
    this.#provenance.changed(repositoryText(key), change);
    if (change.tags) this.#remedies.forget(repositoryText(key));
  }

  /** Forgets what was decided, of whatever repository: a manifest that led to digests is stored no longer. */
  forget(): void {
    this.#provenance.forget();
  }

  #tag(target: ResolvedRepository, tag: Tag, digest: Digest | undefined): Judgement | Promise<Judgement> {
    const image = imageName(target);
    const name = `${image}:${tag}`;
    const known = digest === undefined ? this.#allowed.get(name) : undefined;
    if (known !== undefined) return known;
    const locked = this.#lock.digest(image, tag);
    const decision = this.#rules.tag(image, tag, digest ?? locked);
    if (decision.kind === 'deny') return this.#explain(target, decision.message);
    if (decision.kind === 'undecided') return this.#undecided(target, tag);
    const { pin, minAge } = decision;
    const allowed: Allowed = { kind: 'allow', terms: { locked, pin, minAge } };
    if (digest === undefined) this.#allowed.set(name, allowed);
    return allowed;
  }

  /**
   * A tag whose digest decides. Whether it is pinned depends on what it is served as. It has to wait for the longer
   * time of the two that the rules ask for: of what it is served as, and of another digest.
   */
  async #undecided(target: ResolvedRepository, tag: Tag): Promise<Judgement> {
    const image = imageName(target);
    const record = await this.#metadata.tags.get(keyOf(target), tag);
    const served = this.#rules.tag(image, tag, record?.digest ?? unnamed);
    const other = this.#rules.tag(image, tag, unnamed);
    const terms = {
      locked: undefined,
      pin: served.kind === 'allow' && served.pin,
      minAge: Math.max(ageOf(served), ageOf(other)),
    };
    return { kind: 'needs', evidence: { kind: 'manifest', terms } };
  }

  /** A derived tag is decided by what it is about, and by what it names: neither says anything of the other. */
  #derivedTag(target: ResolvedRepository, tag: Tag, known: Known): Judgement | Promise<Judgement> {
    const image = imageName(target);
    if (this.#rules.whole(image)) return freelyAllowed;
    const subject = subjectOfTag(tag);
    if (subject === undefined) {
      const message = `policy: ${image}:${tag} is denied: what it refers to is not known`;
      return { kind: 'deny', message };
    }
    const { manifest } = known;
    return settle(this.#digest(target, { kind: 'content', digest: subject }, known), (about) => {
      if (about.kind === 'deny') return about;
      if (manifest !== undefined) {
        const named = this.#digest(target, { kind: 'content', digest: manifest }, known);
        return settle(named, (judged) => (judged.kind === 'allow' ? about : judged));
      }
      if (about.kind === 'needs') return about;
      return { kind: 'needs', evidence: { kind: 'manifest', terms: about.terms } };
    });
  }

  #repository(target: ResolvedRepository): Allowed | Promise<Denied> {
    const decision = this.#rules.repository(imageName(target));
    return decision.kind === 'allow' ? freelyAllowed : this.#explain(target, decision.message);
  }

  #digest(
    target: ResolvedRepository,
    wanted: Extract<Wanted, { kind: 'digest' | 'content' }>,
    known: Known,
  ): Judgement | Promise<Judgement> {
    const image = imageName(target);
    if (this.#rules.whole(image)) return freelyAllowed;
    if (this.#digests === 'allow' && this.#rules.refused(image).length === 0) return this.#repository(target);
    if (this.#provenance.known(target, wanted.digest)?.kind === 'allow') return freelyAllowed;
    return this.#lookUp(target, wanted, known);
  }

  async #lookUp(
    target: ResolvedRepository,
    { kind, digest }: Extract<Wanted, { kind: 'digest' | 'content' }>,
    known: Known,
  ): Promise<Judgement> {
    const image = imageName(target);
    const refused = this.#rules.refused(image);
    let decision = this.#provenance.known(target, digest);
    if (decision === undefined) {
      const { count } = this.#provenance;
      const decided = await this.#provenance.decide(target, digest);
      decision = decided.decision;
      if (decided.byTag || decision.kind === 'deny' || refused.length === 0) {
        this.#provenance.remember(target, digest, decided, count);
      } else if (!known.deniedContent) {
        // What no tag leads to may be a part of what rules deny by digest.
        return { kind: 'needs', evidence: { kind: 'denied-content', digests: refused } };
      } else if (!comparable(digest, refused)) {
        decision = this.#rules.incomparable(image, digest);
      } else if (kind === 'digest' && known.manifest === undefined) {
        // It may name what rules deny as its subject, though no upstream lists it as a referrer.
        return { kind: 'needs', evidence: { kind: 'manifest', terms: freely } };
      }
    }
    return decision.kind === 'allow' ? freelyAllowed : this.#explain(target, decision.message);
  }

  async #explain(target: ResolvedRepository, message: string): Promise<Denied> {
    const image = imageName(target);
    const remedy = await this.#remedies.read(image, async () => {
      const known = await this.#metadata.tags.names(keyOf(target), { most: mostKnownTags });
      return { text: this.#rules.remedy(image, known) };
    });
    return { kind: 'deny', message: `${message} ${remedy?.text ?? ''}` };
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
