import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { type PolicyRule, PolicyRules } from '../../src/policy/rules.ts';

const image = 'ghcr.io/org/app';
const [one, two, three] = [digest('a'), digest('b'), digest('c')];

function digest(letter: string): Digest {
  const parsed = parseDigest(`sha256:${letter.repeat(64)}`);
  if (parsed === undefined) throw new Error('no digest');
  return parsed;
}

function policyOf(rules: readonly PolicyRule[], fallback: 'allow' | 'deny' = 'allow'): PolicyRules {
  return new PolicyRules({ default: fallback, rules });
}

function messageOf(decision: ReturnType<PolicyRules['tag']>): string {
  return decision.kind === 'deny' ? decision.message : decision.kind;
}

/** Selectors that this test can match by hand. */
type Table = Readonly<Record<string, (text: string) => boolean>>;
const imageGlobs: Table = {
  '**': () => true,
  'ghcr.io/**': (text) => text.startsWith('ghcr.io/'),
  'ghcr.io/org/*': (text) => /^ghcr\.io\/org\/[^/]+$/.test(text),
  'docker.io/library/nginx': (text) => text === 'docker.io/library/nginx',
};
const tagPatterns: Table = {
  '*': () => true,
  latest: (text) => text === 'latest',
  '*-nightly': (text) => text.endsWith('-nightly'),
  '/^v1\\./': (text) => text.startsWith('v1.'),
};
const ranges: Table = {
  '^1.2': (text) => text === 'v1.2' || text === '1.4-slim',
  '*': (text) => /^v?\d/.test(text) && !text.endsWith('-nightly'),
};
const images = [image, 'ghcr.io/org/team/app', 'docker.io/library/nginx', 'quay.io/org/app'];
const tags = ['latest', 'v1.2', '1.4-slim', 'v2-nightly', 'v1.0-nightly'];
const digests = [one, two, three];

const some = (names: readonly string[]) =>
  fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 2 });
const anyOf = (names: readonly string[], table: Table, text: string) =>
  names.some((name) => table[name]?.(text));
const anyRule: fc.Arbitrary<PolicyRule> = fc
  .record({
    images: some(Object.keys(imageGlobs)),
    tags: fc.option(some(Object.keys(tagPatterns)), { nil: undefined }),
    semver: fc.option(fc.constantFrom(...Object.keys(ranges)), { nil: undefined, freq: 2 }),
    digests: fc.option(fc.subarray(digests, { minLength: 1, maxLength: 2 }), { nil: undefined, freq: 2 }),
    action: fc.constantFrom('allow' as const, 'deny' as const),
    pin: fc.boolean(),
    minAge: fc.constantFrom(0, 0, 1000),
  })
  .map((rule) => (rule.action === 'allow' ? rule : { ...rule, pin: false, minAge: 0 }));
const anyRules = fc.array(anyRule, { maxLength: 5 });
const anyDefault = fc.constantFrom('allow' as const, 'deny' as const);
const anyImage = fc.constantFrom(...images);
const anyTag = fc.constantFrom(...tags);
const anyDigest = fc.constantFrom(...digests);
const runs = { numRuns: 500 };

function matches(rule: PolicyRule, name: string, tag: string, content: Digest): boolean {
  return (
    anyOf(rule.images, imageGlobs, name) &&
    (rule.tags === undefined || anyOf(rule.tags, tagPatterns, tag)) &&
    (rule.semver === undefined || ranges[rule.semver]?.(tag) === true) &&
    (rule.digests === undefined || rule.digests.includes(content))
  );
}

describe('the first rule of which every selector matches decides', () => {
  test('on a tag, and the default when none does', () => {
    fc.assert(
      fc.property(
        anyRules,
        anyDefault,
        anyImage,
        anyTag,
        anyDigest,
        (rules, fallback, name, tag, content) => {
          const first = rules.findIndex((rule) => matches(rule, name, tag, content));
          const decision = policyOf(rules, fallback).tag(name, tag, content);
          expect(decision.kind).toBe(rules[first]?.action ?? fallback);
          if (decision.kind === 'allow') {
            expect(decision).toEqual({
              kind: 'allow',
              pin: rules[first]?.pin ?? false,
              minAge: rules[first]?.minAge ?? 0,
            });
            return;
          }
          expect(decision.rule).toBe(first < 0 ? undefined : first + 1);
          expect(decision.message).toContain(`${name}:${tag}`);
          expect(decision.message).toContain(first < 0 ? 'no rule allows it' : `rule ${first + 1} `);
        },
      ),
      runs,
    );
  });

  test('so that rules behind it, and rules that do not match, change nothing', () => {
    fc.assert(
      fc.property(anyRules, anyRules, anyImage, anyTag, anyDigest, (rules, others, name, tag, content) => {
        const first = rules.findIndex((rule) => matches(rule, name, tag, content));
        fc.pre(first >= 0);
        const idle = others.filter((rule) => !matches(rule, name, tag, content));
        const changed = [...idle, ...rules.slice(0, first + 1), ...others];
        const { kind } = policyOf(changed, 'deny').tag(name, tag, content);
        expect(kind).toBe(policyOf(rules, 'allow').tag(name, tag, content).kind);
      }),
      runs,
    );
  });

  test('on a tag of no known digest, when it is the same for every digest', () => {
    fc.assert(
      fc.property(anyRules, anyDefault, anyImage, anyTag, (rules, fallback, name, tag) => {
        const policy = policyOf(rules, fallback);
        const decision = policy.tag(name, tag, undefined);
        const unlisted = policy.tag(name, tag, digest('d'));
        const decided = [...digests.map((content) => policy.tag(name, tag, content)), unlisted];
        if (decision.kind === 'deny') for (const other of decided) expect(other.kind).toBe('deny');
        else if (decision.kind === 'allow') for (const other of decided) expect(other).toEqual(decision);
        else expect(rules.some((rule) => rule.digests && anyOf(rule.images, imageGlobs, name))).toBe(true);
      }),
      runs,
    );
  });

  test('on content, by any tag that is known to have led to it', () => {
    const known = fc.subarray(tags, { minLength: 1 });
    fc.assert(
      fc.property(anyRules, anyDefault, anyImage, anyDigest, known, (rules, fallback, name, content, led) => {
        const policy = policyOf(rules, fallback);
        const byTag = led.some((tag) => policy.tag(name, tag, content).kind === 'allow');
        const decision = policy.digest(name, content, led);
        expect(decision.kind).toBe(byTag ? 'allow' : 'deny');
        if (decision.kind === 'deny') expect(decision.message).toContain(`${name}@${content}`);
      }),
      runs,
    );
  });

  test('on content of no known tag, which is allowed only if it is by every tag that it may have', () => {
    fc.assert(
      fc.property(anyRules, anyDefault, anyImage, anyDigest, (rules, fallback, name, content) => {
        const policy = policyOf(rules, fallback);
        if (policy.digest(name, content, []).kind === 'deny') return;
        for (const tag of tags) expect(policy.tag(name, tag, content).kind).toBe('allow');
      }),
      runs,
    );
  });
});

test('a repository that is allowed as a whole has no tag or digest that is denied, undecided, pinned or held back', () => {
  let wholes = 0;
  fc.assert(
    fc.property(anyRules, anyDefault, anyImage, (rules, fallback, name) => {
      const policy = policyOf(rules, fallback);
      if (!policy.whole(name)) return;
      wholes += 1;
      const free = { kind: 'allow', pin: false, minAge: 0 };
      expect(policy.repository(name)).toEqual(free);
      for (const tag of tags) {
        for (const content of [undefined, ...digests]) expect(policy.tag(name, tag, content)).toEqual(free);
      }
      for (const content of digests) {
        expect(policy.digest(name, content, [])).toEqual(free);
        expect(policy.digest(name, content, tags)).toEqual(free);
      }
    }),
    runs,
  );
  expect(wholes).toBeGreaterThan(20);
});

test('a repository of which any tag or digest is allowed may be spoken of', () => {
  fc.assert(
    fc.property(anyRules, anyDefault, anyImage, anyTag, anyDigest, (rules, fallback, name, tag, content) => {
      const policy = policyOf(rules, fallback);
      if (policy.tag(name, tag, content).kind === 'allow') expect(policy.repository(name).kind).toBe('allow');
      if (policy.digest(name, content, []).kind === 'allow')
        expect(policy.repository(name).kind).toBe('allow');
    }),
    runs,
  );
});

test('what was said of an image is said again after many others were asked for', () => {
  const policy = policyOf([{ images: ['ghcr.io/**'], action: 'deny' }]);
  for (let count = 0; count < 5000; count += 1) policy.whole(`quay.io/org/app${count}`);
  expect(policy.whole('quay.io/org/app1')).toBe(true);
  expect(policy.whole(image)).toBe(false);
});

describe('content of no known tag', () => {
  const latest: PolicyRule = { images: ['**'], tags: ['latest'], action: 'deny', reason: 'Pin a version' };

  test('is denied behind a rule that denies some tags, with a way out', () => {
    const decision = policyOf([latest]).digest(image, one, []);
    expect(decision).toMatchObject({ kind: 'deny', rule: 1 });
    expect(messageOf(decision)).toBe(
      `policy: ${image}@${one} is denied by rule 1 (images **; tags latest). Pin a version. ` +
        'No allowed tag is known to lead to this digest: pull an allowed tag that does, write it into the lockfile ' +
        '("entrepot lock"), or allow the digest in a rule with "digests" above rule 1.',
    );
  });

  test('is allowed by a rule with its digest above that rule, not below it', () => {
    const listed: PolicyRule = { images: ['**'], digests: [one], action: 'allow' };
    expect(policyOf([listed, latest]).digest(image, one, []).kind).toBe('allow');
    expect(policyOf([latest, listed]).digest(image, one, []).kind).toBe('deny');
  });

  test('is not allowed by a rule that allows some tags, with a way out', () => {
    const decision = policyOf([{ images: ['**'], semver: '^1', action: 'allow' }], 'deny').digest(
      image,
      one,
      [],
    );
    expect(decision).toMatchObject({ kind: 'deny', rule: undefined });
    expect(messageOf(decision)).toContain('in a rule with "digests".');
  });

  test('is denied by a rule about everything, with no way out', () => {
    expect(messageOf(policyOf([{ images: ['**'], action: 'deny' }]).digest(image, one, []))).toBe(
      `policy: ${image}@${one} is denied by rule 1 (images **).`,
    );
  });

  test('is allowed by a rule that allows every tag by name', () => {
    expect(
      policyOf([{ images: ['**'], tags: ['*'], action: 'allow' }], 'deny').digest(image, one, []).kind,
    ).toBe('allow');
  });
});

describe('an image in the lockfile', () => {
  const lock = new Map([['1.2', one]]);
  const locked = {
    digest: (name: string, tag: string) => (name === image ? lock.get(tag) : undefined),
    holds: (name: string, content: Digest) => name === image && (content === one || content === two),
    names: (name: string) => name === image,
  };
  const guarded = (rules: readonly PolicyRule[], fallback: 'allow' | 'deny' = 'deny') =>
    new PolicyRules({ default: fallback, rules, locked });

  test('is allowed where only the default would deny it', () => {
    const policy = guarded([]);
    expect(policy.tag(image, '1.2', undefined).kind).toBe('allow');
    expect(policy.tag(image, '1.2', one).kind).toBe('allow');
    expect(policy.tag(image, '1.2', two).kind).toBe('allow');
    expect(policy.digest(image, two, []).kind).toBe('allow');
    expect(policy.digest(image, two, ['unlisted']).kind).toBe('allow');
    expect(policy.repository(image).kind).toBe('allow');
    expect(policy.whole(image)).toBe(false);
  });

  test('is allowed at its own tags and digests only', () => {
    const policy = guarded([]);
    expect(policy.tag(image, '1.3', undefined).kind).toBe('deny');
    expect(policy.tag(image, '1.2', three).kind).toBe('deny');
    expect(policy.digest(image, three, []).kind).toBe('deny');
    expect(policy.digest('quay.io/org/app', one, []).kind).toBe('deny');
    expect(policy.repository('quay.io/org/app').kind).toBe('deny');
  });

  test('is denied by a rule that speaks of it', () => {
    const policy = guarded([{ images: ['**'], tags: ['1.*'], action: 'deny' }], 'allow');
    expect(policy.tag(image, '1.2', one).kind).toBe('deny');
    expect(policy.digest(image, one, ['1.2']).kind).toBe('deny');
    expect(guarded([{ images: ['**'], digests: [one], action: 'deny' }]).digest(image, one, []).kind).toBe(
      'deny',
    );
    expect(guarded([{ images: ['**'], action: 'deny' }]).digest(image, two, ['1.2']).kind).toBe('deny');
  });

  test('is out of the doubt that a rule about other tags leaves', () => {
    const policy = guarded([{ images: ['**'], tags: ['latest'], action: 'deny' }], 'allow');
    expect(policy.digest(image, two, []).kind).toBe('allow');
    expect(policy.digest(image, three, []).kind).toBe('deny');
  });

  test('serves what an allowed locked tag leads to although a denied tag does too', () => {
    const policy = guarded([{ images: ['**'], tags: ['latest'], action: 'deny' }]);
    expect(policy.digest(image, one, ['latest', '1.2']).kind).toBe('allow');
    expect(policy.digest(image, one, ['latest']).kind).toBe('deny');
  });
});

describe('a denial explains itself', () => {
  test('by its rule, every selector of it, and its reason', () => {
    const rule: PolicyRule = {
      images: ['ghcr.io/**', 'quay.io/a', 'quay.io/b', 'quay.io/c', 'quay.io/d'],
      tags: ['v*'],
      semver: '<2',
      digests: [one],
      action: 'deny',
      reason: 'Too old. ',
    };
    expect(
      messageOf(policyOf([{ images: ['quay.io/**'], action: 'allow' }, rule]).tag(image, 'v1', one)),
    ).toBe(
      `policy: ${image}:v1 is denied by rule 2 (images ghcr.io/**, quay.io/a, quay.io/b and 2 more; tags v*; ` +
        `semver <2; digests ${one}). Too old.`,
    );
  });

  test('by the tag that is known to lead to a digest', () => {
    const policy = policyOf([{ images: ['**'], tags: ['latest'], action: 'deny' }]);
    expect(messageOf(policy.digest(image, one, ['latest']))).toBe(
      `policy: ${image}@${one} (known by its tag latest) is denied by rule 1 (images **; tags latest).`,
    );
  });

  test('by the default when no rule speaks', () => {
    expect(messageOf(policyOf([], 'deny').tag(image, 'latest', one))).toBe(
      `policy: ${image}:latest is denied because no rule allows it.`,
    );
  });
});

describe('the remedy names', () => {
  const latest: PolicyRule = { images: ['**'], tags: ['latest', 'edge'], action: 'deny' };
  const allowed: PolicyRule = {
    images: ['ghcr.io/**'],
    tags: ['v1.*', '/^v2/'],
    semver: '<3',
    action: 'allow',
  };

  test('up to three known tags that are allowed', () => {
    expect(policyOf([latest]).remedy(image, ['latest', '4', '3', 'edge', '2', '1'])).toBe(
      'Allowed tags of it are, for example: 4, 3, 2.',
    );
  });

  test('no known tag that depends on a digest', () => {
    const policy = policyOf([{ images: ['**'], digests: [one], action: 'allow' }], 'deny');
    expect(policy.remedy(image, ['v1'])).toBe(`Allowed of it are: the digest ${one}.`);
  });

  test('else what the rules that allow some of it look for', () => {
    expect(policyOf([allowed, allowed, latest], 'deny').remedy(image, ['latest'])).toBe(
      'Allowed of it are: tags like v1.*, tags like /^v2/, versions <3.',
    );
  });

  test('nothing that a rule about all of it hides', () => {
    expect(policyOf([{ images: ['**'], action: 'deny' }, allowed]).remedy(image, [])).toContain(
      'Nothing of it',
    );
  });

  test('else the rules that deny, where all the rest is allowed', () => {
    expect(policyOf([latest]).remedy(image, ['latest'])).toBe(
      'Every tag of it is allowed but those that rule 1 denies.',
    );
    const all: PolicyRule = { images: ['**'], action: 'allow' };
    expect(policyOf([latest, latest, all, latest], 'deny').remedy(image, [])).toBe(
      'Every tag of it is allowed but those that rules 1, 2 deny.',
    );
  });

  test('else whom to ask', () => {
    expect(policyOf([], 'deny').remedy(image, ['v1'])).toContain('under "policy" in its configuration');
  });
});

test.each([
  [{ images: ['**'], tags: ['/(/'], action: 'allow' }, 'policy rule 2: the pattern /(/ cannot be used'],
  [{ images: ['**'], semver: 'newest', action: 'allow' }, 'policy rule 2: "newest" is no version range'],
  [{ images: ['**'], digests: ['sha256:1'], action: 'allow' }, 'policy rule 2: "sha256:1" is no sha256'],
  [{ images: ['**'], action: 'deny', pin: true }, 'policy rule 2: a rule that denies has neither'],
  [{ images: ['**'], action: 'deny', minAge: 1 }, 'policy rule 2: a rule that denies has neither'],
] as const)('a rule that cannot be used is refused by its number: %o', (rule, message) => {
  const rules: PolicyRule[] = [{ images: ['**'], tags: ['v1'], action: 'allow' }, rule];
  expect(() => policyOf(rules)).toThrow(TypeError);
  expect(() => policyOf(rules)).toThrow(message);
});
