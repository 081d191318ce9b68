import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type TagRule, TagRules } from '../../src/policy/tag-rules.ts';

const image = 'ghcr.io/org/app';

function rules(list: readonly TagRule[], fallback: 'allow' | 'deny' = 'allow'): TagRules {
  return new TagRules({ default: fallback, rules: list });
}

function messageOf(decision: ReturnType<TagRules['tag']>): string {
  return decision.kind === 'deny' ? decision.message : 'allowed';
}

describe('the first rule that matches decides', () => {
  /** Globs that this test can match by hand. */
  const imageGlobs: Readonly<Record<string, (text: string) => boolean>> = {
    '**': () => true,
    'ghcr.io/**': (text) => text.startsWith('ghcr.io/'),
    'ghcr.io/org/*': (text) => /^ghcr\.io\/org\/[^/]+$/.test(text),
    'docker.io/library/nginx': (text) => text === 'docker.io/library/nginx',
  };
  const tagGlobs: Readonly<Record<string, (text: string) => boolean>> = {
    '*': () => true,
    latest: (text) => text === 'latest',
    '*-nightly': (text) => text.endsWith('-nightly'),
    'v1.*': (text) => text.startsWith('v1.'),
  };
  const some = (names: readonly string[]) =>
    fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 2 });
  const rule = fc.record({
    images: some(Object.keys(imageGlobs)),
    tags: fc.option(some(Object.keys(tagGlobs)), { nil: undefined }),
    action: fc.constantFrom('allow' as const, 'deny' as const),
  });
  const images = [image, 'ghcr.io/org/team/app', 'docker.io/library/nginx', 'quay.io/org/app'];
  const tags = ['latest', 'v1.2', 'v2-nightly', 'v1.0-nightly'];
  const anyOf = (
    globs: readonly string[],
    table: Readonly<Record<string, (text: string) => boolean>>,
    text: string,
  ) => globs.some((glob) => table[glob]?.(text));

  test('on a tag, and the default when none does', () => {
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.constantFrom('allow' as const, 'deny' as const),
        fc.constantFrom(...images),
        fc.constantFrom(...tags),
        (list, fallback, name, tag) => {
          const first = list.findIndex(
            (one) =>
              anyOf(one.images, imageGlobs, name) &&
              (one.tags === undefined || anyOf(one.tags, tagGlobs, tag)),
          );
          const decision = rules(list, fallback).tag(name, tag);
          expect(decision.kind).toBe(list[first]?.action ?? fallback);
          if (decision.kind !== 'deny') return;
          expect(decision.message).toContain(`${name}:${tag}`);
          expect(decision.message).toContain(first < 0 ? 'no rule allows it' : `rule ${first + 1} `);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('on a repository, where a rule that denies some tags denies no digest', () => {
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.constantFrom('allow' as const, 'deny' as const),
        fc.constantFrom(...images),
        (list, fallback, name) => {
          const about = list.filter((one) => anyOf(one.images, imageGlobs, name));
          const deciding = about.find((one) => one.action === 'allow' || one.tags === undefined);
          expect(rules(list, fallback).repository(name).kind).toBe(deciding?.action ?? fallback);
        },
      ),
      { numRuns: 500 },
    );
  });

  test('so that what a tag rule allows by tag, it allows by digest as well', () => {
    fc.assert(
      fc.property(
        fc.array(rule, { maxLength: 5 }),
        fc.constantFrom('allow' as const, 'deny' as const),
        fc.constantFrom(...images),
        fc.constantFrom(...tags),
        (list, fallback, name, tag) => {
          const policy = rules(list, fallback);
          if (policy.tag(name, tag).kind === 'allow') expect(policy.repository(name).kind).toBe('allow');
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('a glob', () => {
  const matches = (glob: string, name: string) =>
    rules([{ images: [glob], action: 'deny' }]).repository(name).kind === 'deny';

  test.each([
    ['**', 'docker.io/library/nginx', true],
    ['ghcr.io/*', 'ghcr.io/org/app', false],
    ['ghcr.io/**', 'ghcr.io/org/app', true],
    ['ghcr.io/**', 'ghcr.io.evil.example/org/app', false],
    ['ghcr.io/**', 'evil.example/ghcr.io/org', false],
    ['ghcr.io/org/app', 'ghcr.io/org/app2', false],
    ['ghcr.io/org/app', 'ghcrxio/org/app', false],
    ['*/library/nginx', 'docker.io/library/nginx', true],
    ['!ghcr.io/**', 'docker.io/library/nginx', false],
    ['localhost:5000/**', 'localhost:5000/app', true],
  ])('%s on %s: %s', (glob, name, expected) => {
    expect(matches(glob, name)).toBe(expected);
  });

  test('over tags tells the dots of a version from any character', () => {
    const policy = rules([{ images: ['**'], tags: ['1.2'], action: 'deny' }]);
    expect(policy.tag(image, '1.2').kind).toBe('deny');
    expect(policy.tag(image, '1x2').kind).toBe('allow');
    expect(policy.tag(image, '1.2.3').kind).toBe('allow');
  });
});

describe('a denial explains itself', () => {
  test('by its rule, its reason and what is allowed instead', () => {
    const message = messageOf(
      rules([
        { images: ['ghcr.io/**'], tags: ['v1.*'], action: 'allow' },
        { images: ['**'], tags: ['latest'], action: 'deny', reason: 'Pin a version' },
      ]).tag(image, 'latest'),
    );
    expect(message).toContain('rule 2');
    expect(message).toContain('Pin a version.');
    expect(message).toContain('v1.*');
  });

  test('by the default when no rule speaks', () => {
    const message = messageOf(rules([], 'deny').tag(image, 'latest'));
    expect(message).toContain('no rule allows it');
    expect(message).toContain('under "policy"');
  });

  test('without doubling the full stop of a reason', () => {
    const message = messageOf(rules([{ images: ['**'], action: 'deny', reason: 'No. ' }]).repository(image));
    expect(message).toContain(' No. Pull another version');
  });
});
