import { type Digest, parseDigest } from '../oci/digest.ts';
import { imageMatcher, type Matcher, tagMatcher } from './patterns.ts';
import { versionMatcher } from './version-tags.ts';

/** One rule as configured. It matches where each selector that it has does; the first rule that matches decides. */
export type PolicyRule = {
  /** Globs over `registry/repository`; `*` stops at a slash, `**` does not. */
  readonly images: readonly string[];
  /** Globs or `/regular expressions/` over the tag, any of which suffices. */
  readonly tags?: readonly string[] | undefined;
  /** A version range as npm writes them; how tags are read as versions: {@link parseVersionTag}. */
  readonly semver?: string | undefined;
  /** What the reference must be or lead to, any of which suffices. */
  readonly digests?: readonly string[] | undefined;
  readonly action: 'allow' | 'deny';
  /** Shown to whoever is denied. */
  readonly reason?: string | undefined;
  /** Whether each tag stays at the digest that it was first seen with; for `allow` only. */
  readonly pin?: boolean | undefined;
  /** Milliseconds for which a tag's new digest must have been known before it is served; for `allow` only. */
  readonly minAge?: number | undefined;
};

/** Allowed, and with which care: the `pin` and `minAge` of the rule that allowed it (default: false, 0). */
export type PolicyAllowance = { readonly kind: 'allow'; readonly pin: boolean; readonly minAge: number };

/** Not served. `rule` is counted from 1; `undefined` means that the default decided. */
export type PolicyDenial = {
  readonly kind: 'deny';
  readonly rule: number | undefined;
  /** Names the image, the rule and its reason. What would be allowed instead is `PolicyRules.remedy`. */
  readonly message: string;
};

/** A {@link PolicyRule} made ready to match. */
export type CompiledRule = {
  /** Counted from 1, in the order of the configuration. */
  readonly number: number;
  readonly rule: PolicyRule;
  readonly matchesImage: Matcher;
  /** Absent: the rule speaks of every tag, so of content that no tag is known for as well. */
  readonly matchesTag: Matcher | undefined;
  readonly digests: ReadonlySet<Digest> | undefined;
  /** Absent: the rule denies. */
  readonly allowance: PolicyAllowance | undefined;
};

/**
 * Compiles the rule that stands at `index`.
 * @throws {TypeError} naming the rule, for a malformed pattern, range or digest, and for a rule that denies with
 * `pin` or `minAge`
 */
export function compileRule(rule: PolicyRule, index: number): CompiledRule {
  const number = index + 1;
  try {
    const { pin = false, minAge = 0 } = rule;
    if (rule.action === 'deny' && (pin || minAge > 0)) {
      throw new TypeError('a rule that denies has neither "pin" nor "minAge"');
    }
    return {
      number,
      rule,
      matchesImage: imageMatcher(rule.images),
      matchesTag: both(
        rule.tags && tagMatcher(rule.tags),
        rule.semver === undefined ? undefined : versionMatcher(rule.semver),
      ),
      digests: rule.digests && new Set(rule.digests.map(checkedDigest)),
      allowance: rule.action === 'allow' ? { kind: 'allow', pin, minAge } : undefined,
    };
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'malformed';
    throw new TypeError(`policy rule ${number}: ${why}`, { cause });
  }
}

/** The rule as a denial names it: `rule 2 (images **; tags latest)`. */
function ruleName({ number, rule }: CompiledRule): string {
  const selectors = [
    `images ${shortList(rule.images)}`,
    rule.tags && `tags ${shortList(rule.tags)}`,
    rule.semver !== undefined && `semver ${rule.semver}`,
    rule.digests && `digests ${shortList(rule.digests)}`,
  ];
  return `rule ${number} (${selectors.filter(Boolean).join('; ')})`;
}

/** The first three of a list, and how many more there are. */
export function shortList(all: readonly string[]): string {
  const shown = all.slice(0, 3).join(', ');
  return all.length > 3 ? `${shown} and ${all.length - 3} more` : shown;
}

function both(one: Matcher | undefined, other: Matcher | undefined): Matcher | undefined {
  if (one === undefined || other === undefined) return one ?? other;
  return (text) => one(text) && other(text);
}

/** Whether one of the digests is what the rule is about. */
export function speaksOf({ digests }: CompiledRule, path: readonly Digest[]): boolean {
  return digests === undefined || path.some((digest) => digests.has(digest));
}

/** Whether nothing of an image gets past the rule. */
export function speaksOfAll(rule: CompiledRule): boolean {
  return rule.matchesTag === undefined && rule.digests === undefined;
}

/** The index of the first rule that matches, else their number. */
export function indexOrEnd(rules: readonly CompiledRule[], matches: (rule: CompiledRule) => boolean): number {
  const index = rules.findIndex(matches);
  return index < 0 ? rules.length : index;
}

function checkedDigest(text: string): Digest {
  const digest = parseDigest(text);
  if (digest === undefined) throw new TypeError(`${JSON.stringify(text)} is no sha256 or sha512 digest`);
  return digest;
}

/** The denial by a rule. @param what the image with its tag or digest, for the message */
export function denied(what: string, rule: CompiledRule): PolicyDenial {
  const reason = rule.rule.reason === undefined ? '' : ` ${rule.rule.reason.trim().replace(/\.*$/, '.')}`;
  return {
    kind: 'deny',
    rule: rule.number,
    message: `policy: ${what} is denied by ${ruleName(rule)}.${reason}`,
  };
}

/** The denial where no rule speaks of an image. */
export function deniedByDefault(what: string): PolicyDenial {
  return { kind: 'deny', rule: undefined, message: `policy: ${what} is denied because no rule allows it.` };
}

/** The denial of a digest that no allowed tag is known to lead to: it says how to give it one. */
export function withWayOut(denial: PolicyDenial): PolicyDenial {
  const above = denial.rule === undefined ? '' : ` above rule ${denial.rule}`;
  const wayOut =
    'No allowed tag is known to lead to this digest: pull an allowed tag that does, write it into the lockfile ' +
    `("entrepot lock"), or allow the digest in a rule with "digests"${above}.`;
  return { ...denial, message: `${denial.message} ${wayOut}` };
}
