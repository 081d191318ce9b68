import picomatch from 'picomatch';

/** One rule as configured: the first that matches an image decides. */
export type TagRule = {
  /** Globs over `registry/repository`; `**` crosses slashes. */
  readonly images: readonly string[];
  /** Globs over the tag; absent means that the rule is about the whole repository. */
  readonly tags?: readonly string[] | undefined;
  readonly action: 'allow' | 'deny';
  /** Shown to whoever is denied. */
  readonly reason?: string | undefined;
};

/** Whether an image may be served, and if not, what to tell the client. */
export type PolicyDecision = { readonly kind: 'allow' } | { readonly kind: 'deny'; readonly message: string };

type Matcher = (text: string) => boolean;
type CompiledRule = TagRule & {
  readonly number: number;
  readonly matchesImage: Matcher;
  readonly matchesTag: Matcher | undefined;
};

const allow: PolicyDecision = { kind: 'allow' };

/** Decides by tag which images are served. What names no tag is decided by the rules about its repository. */
export class TagRules {
  readonly #rules: readonly CompiledRule[];
  readonly #fallback: 'allow' | 'deny';

  constructor(options: { default: 'allow' | 'deny'; rules: readonly TagRule[] }) {
    this.#fallback = options.default;
    this.#rules = options.rules.map((rule, index) => ({
      ...rule,
      number: index + 1,
      matchesImage: globs(rule.images),
      matchesTag: rule.tags && globs(rule.tags),
    }));
  }

  /** @param image `registry/repository` */
  tag(image: string, tag: string): PolicyDecision {
    for (const rule of this.#rules) {
      if (!rule.matchesImage(image) || rule.matchesTag?.(tag) === false) continue;
      return rule.action === 'allow' ? allow : deny(`${image}:${tag}`, rule, this.#remedy(image));
    }
    return this.#byDefault(`${image}:${tag}`, image);
  }

  /**
   * Decides on what is asked for by digest, and on whole repositories: served unless the repository as such is
   * denied, since a tag that is allowed may lead to any of its digests.
   */
  repository(image: string): PolicyDecision {
    for (const rule of this.#rules) {
      if (!rule.matchesImage(image)) continue;
      if (rule.action === 'allow') return allow;
      if (rule.matchesTag === undefined) return deny(image, rule, this.#remedy(image));
    }
    return this.#byDefault(image, image);
  }

  #byDefault(what: string, image: string): PolicyDecision {
    if (this.#fallback === 'allow') return allow;
    const message = `policy: ${what} is denied because no rule allows it. ${this.#remedy(image)}`;
    return { kind: 'deny', message };
  }

  #remedy(image: string): string {
    const allowed = this.#rules.filter((rule) => rule.action === 'allow' && rule.matchesImage(image));
    const tags = [...new Set(allowed.flatMap((rule) => rule.tags ?? []))].slice(0, 3);
    if (tags.length > 0) return `Allowed tags of it look like: ${tags.join(', ')}.`;
    return 'Pull another version, or ask who runs this mirror to allow it under "policy" in its configuration.';
  }
}

function deny(what: string, rule: CompiledRule, remedy: string): PolicyDecision {
  const about = `images ${rule.images.join(', ')}${rule.tags ? `, tags ${rule.tags.join(', ')}` : ''}`;
  const reason = rule.reason === undefined ? '' : ` ${rule.reason.replace(/[.\s]*$/, '.')}`;
  return {
    kind: 'deny',
    message: `policy: ${what} is denied by rule ${rule.number} (${about}).${reason} ${remedy}`,
  };
}

function globs(patterns: readonly string[]): Matcher {
  return picomatch([...patterns], { dot: true, nonegate: true, noextglob: true });
}
