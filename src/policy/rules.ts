import { LRUCache } from 'lru-cache';
import type { Digest } from '../oci/digest.ts';
import {
  type CompiledRule,
  compileRule,
  denied,
  deniedByDefault,
  indexOrEnd,
  type PolicyAllowance,
  type PolicyDenial,
  type PolicyRule,
  speaksOf,
  speaksOfAll,
  withWayOut,
} from './compiled-rule.ts';
import { remedyFor } from './remedy.ts';

export type { PolicyRule } from './compiled-rule.ts';

/** Whether an image may be served. */
export type PolicyDecision = PolicyAllowance | PolicyDenial;

/** The decision depends on the digest that the tag leads to, and that digest is not known yet. */
type Undecided = { readonly kind: 'undecided' };

/** The lockfile, as the rules need it. */
export type LockedImages = {
  /** The digest at which a tag of an image is locked. */
  digest(image: string, tag: string): Digest | undefined;
  /** Whether the digest is one that a locked tag of the image leads to, directly or as a part of it. */
  holds(image: string, digest: Digest): boolean;
  /** Whether any tag of the image is locked; without it, `repository` knows of no locked image. */
  names?(image: string): boolean;
};

/** What the rules say of one image. */
type ImageRules = {
  readonly rules: readonly CompiledRule[];
  readonly whole: boolean;
  readonly named: readonly Digest[];
  readonly refused: readonly Digest[];
};

const allowed: PolicyAllowance = { kind: 'allow', pin: false, minAge: 0 };

/** Images come from clients, so what is kept by image is bounded. */
const mostImages = 2000;

/**
 * Decides which images are served: the first rule whose selectors all match does, else the default. An image is
 * `registry/repository`. A tag in the lockfile and what it leads to are allowed where only the default would deny
 * them; a rule that denies still does. Tags that are derived from a digest (`sha256-<hex>.sig`) are not versions:
 * whoever asks judges their subject instead.
 */
export class PolicyRules {
  readonly #rules: readonly CompiledRule[];
  readonly #allowsByDefault: boolean;
  readonly #locked: LockedImages | undefined;
  readonly #images = new LRUCache<string, ImageRules>({ max: mostImages });

  /** @throws {TypeError} naming the rule that cannot be used and why */
  constructor(options: {
    default: 'allow' | 'deny';
    rules: readonly PolicyRule[];
    locked?: LockedImages | undefined;
  }) {
    this.#allowsByDefault = options.default === 'allow';
    this.#rules = options.rules.map(compileRule);
    this.#locked = options.locked;
  }

  /**
   * Decides on a tag that leads to `digest`. Without a digest (not resolved yet) it is undecided where rules with
   * `digests` could make a difference.
   */
  tag(image: string, tag: string, digest: Digest): PolicyDecision;
  tag(image: string, tag: string, digest: Digest | undefined): PolicyDecision | Undecided;
  tag(image: string, tag: string, digest: Digest | undefined): PolicyDecision | Undecided {
    return this.#judge(image, tag, digest && [digest], () => `${image}:${tag}`);
  }

  /**
   * Decides on content that is asked for by digest. `tags` are those known to have led to it, the lockfile's
   * included: one that is allowed suffices, with this digest. When none is known, the rules about any tag decide;
   * where a rule that denies some tags comes first, what may hide behind it is denied.
   * @param via what led to it from what the tags name: a rule with one of these digests speaks of it too
   */
  digest(
    image: string,
    digest: Digest,
    tags: readonly string[],
    via: readonly Digest[] = [],
  ): PolicyDecision {
    const path = [digest, ...via];
    const denials: PolicyDenial[] = [];
    for (const tag of tags) {
      const decision = this.#judge(image, tag, path, () => `${image}@${digest} (known by its tag ${tag})`);
      if (decision.kind === 'allow') return decision;
      if (decision.kind === 'deny') denials.push(decision);
    }
    const denial = denials.find(({ rule }) => rule !== undefined) ?? denials[0];
    const held = path.some((each) => this.#locked?.holds(image, each));
    if (denial && (denial.rule !== undefined || !held)) return denial;
    return this.#judgeUntagged(image, path, held);
  }

  /**
   * Whether every tag and digest of the repository is allowed, whatever they are, none of them pinned or held back.
   * Does not look into the lockfile, which may still say what a tag is served as.
   */
  whole(image: string): boolean {
    return this.#about(image).whole;
  }

  /** The digests that rules about the image name: what leads to content matters to them. */
  named(image: string): readonly Digest[] {
    return this.#about(image).named;
  }

  /** The digests that rules about the image deny, of whatever tag. */
  refused(image: string): readonly Digest[] {
    return this.#about(image).refused;
  }

  /** The denial by the first rule that names one of the digests, whatever tag leads to them. */
  refusal(image: string, path: readonly Digest[]): PolicyDenial | undefined {
    const about = (rule: CompiledRule) => rule.digests !== undefined && rule.matchesTag === undefined;
    const deciding = this.#about(image).rules.find((rule) => about(rule) && speaksOf(rule, path));
    return deciding === undefined || deciding.allowance ? undefined : denied(`${image}@${path[0]}`, deciding);
  }

  /** The denial of what is named by an algorithm by which it cannot be told from what is denied. */
  incomparable(image: string, digest: Digest): PolicyDenial {
    const rule = this.#about(image).rules.find(({ digests, allowance }) => digests && !allowance);
    const message = `policy: ${image}@${digest} is denied: rules deny digests of the image by another algorithm, and no tag leads to this one. Ask for it by SHA-256.`;
    return { kind: 'deny', rule: rule?.number, message };
  }

  /** Decides on a repository as such (its tag list): denied only where nothing of it can be allowed. */
  repository(image: string): PolicyDecision {
    const deciding = this.#about(image).rules.find((rule) => rule.allowance || speaksOfAll(rule));
    if (deciding?.allowance || this.#locked?.names?.(image) === true) return allowed;
    if (deciding) return denied(image, deciding);
    return this.#allowsByDefault ? allowed : deniedByDefault(image);
  }

  /**
   * Says in one sentence what would be allowed of an image: up to three of its `known` version tags, in the order
   * given, else what the rules that allow some of it look for.
   */
  remedy(image: string, known: readonly string[]): string {
    const { rules } = this.#about(image);
    const allows = (tag: string) => this.tag(image, tag, undefined).kind === 'allow';
    return remedyFor(rules, this.#allowsByDefault, known, allows);
  }

  #judge(
    image: string,
    tag: string,
    path: readonly Digest[] | undefined,
    what: () => string,
  ): PolicyDecision | Undecided {
    const possible: CompiledRule[] = [];
    for (const rule of this.#about(image).rules) {
      if (rule.matchesTag?.(tag) === false) continue;
      if (rule.digests && path === undefined) {
        possible.push(rule);
        continue;
      }
      if (path !== undefined && !speaksOf(rule, path)) continue;
      return settled(possible, rule.allowance ?? denied(what(), rule));
    }
    const lock = this.#locked?.digest(image, tag);
    const isLocked = lock !== undefined && path?.some((each) => this.#locksTo(image, lock, each)) !== false;
    return settled(possible, this.#allowsByDefault || isLocked ? allowed : deniedByDefault(what()));
  }

  #locksTo(image: string, lock: Digest, digest: Digest): boolean {
    return lock === digest || this.#locked?.holds(image, digest) === true;
  }

  #judgeUntagged(image: string, path: readonly Digest[], held: boolean): PolicyDecision {
    const what = `${image}@${path[0]}`;
    const about = this.#about(image).rules.filter((rule) => speaksOf(rule, path));
    const end = indexOrEnd(about, (rule) => rule.matchesTag === undefined);
    const deciding = about[end];
    const skipped = about.slice(0, end);
    const doubt = held ? undefined : skipped.find((rule) => !rule.allowance);
    const decision: PolicyDecision = deciding
      ? (deciding.allowance ?? denied(what, deciding))
      : this.#allowsByDefault || held
        ? allowed
        : deniedByDefault(what);
    if (decision.kind === 'allow') return doubt ? withWayOut(denied(what, doubt)) : decision;
    return skipped.length > 0 ? withWayOut(decision) : decision;
  }

  #about(image: string): ImageRules {
    const known = this.#images.get(image);
    if (known) return known;
    const rules = this.#rules.filter((rule) => rule.matchesImage(image));
    const end = indexOrEnd(rules, speaksOfAll);
    const last = rules[end];
    const careless = rules
      .slice(0, end + 1)
      .every(({ allowance }) => allowance && !allowance.pin && allowance.minAge === 0);
    const found = {
      rules,
      whole: careless && (last !== undefined || this.#allowsByDefault),
      named: rules.flatMap(({ digests }) => [...(digests ?? [])]),
      refused: rules.flatMap(({ digests, allowance }) => (allowance ? [] : [...(digests ?? [])])),
    };
    this.#images.set(image, found);
    return found;
  }
}

/** The decision when rules that may or may not match came before it. */
function settled(possible: readonly CompiledRule[], decision: PolicyDecision): PolicyDecision | Undecided {
  const same = possible.every(({ allowance }) =>
    decision.kind === 'deny'
      ? allowance === undefined
      : allowance?.pin === decision.pin && allowance.minAge === decision.minAge,
  );
  return same ? decision : { kind: 'undecided' };
}
