import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  isRegistryHost,
  parseReference,
  parseRepositoryName,
  parseTag,
  referenceText,
  referrersTag,
} from '../../src/oci/reference.ts';
import { mustDigest } from '../helpers/image.ts';
import { digestText, registryHost, repositoryName, tagName } from './arbitraries.ts';

describe('a repository name', () => {
  test('of the grammar and of 255 characters at most is itself', () => {
    fc.assert(
      fc.property(repositoryName, (name) => {
        expect(parseRepositoryName(name)).toBe(name.length <= 255 ? name : undefined);
      }),
    );
  });

  test('never has anything in it that a path or a URL would read otherwise', () => {
    const hostile = fc
      .array(
        fc.constantFrom('a', '0', '/', '.', '_', '-', '%', 'A', '\\', '\n', ' ', '?', '#', ':', '@', 'é'),
        {
          maxLength: 10,
        },
      )
      .map((characters) => characters.join(''));
    fc.assert(
      fc.property(fc.oneof(hostile, fc.string()), (text) => {
        const name = parseRepositoryName(text);
        if (name === undefined) return;
        expect(name).toMatch(/^[a-z0-9/._-]+$/);
        for (const component of name.split('/'))
          expect(component).toMatch(/^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$/);
        expect(name).not.toContain('..');
      }),
      { numRuns: 2_000 },
    );
  });

  test('may be 255 characters long and no longer', () => {
    expect(parseRepositoryName('a'.repeat(255))).toBeDefined();
    expect(parseRepositoryName('a'.repeat(256))).toBeUndefined();
  });

  test.each(['a', 'a/b/c', 'a.b', 'a_b', 'a__b', 'a-b', 'a---b', '0/1', 'library/nginx'])(
    'may be %s',
    (text) => {
      expect(parseRepositoryName(text)).toBe(text);
    },
  );

  test.each([
    '',
    '/',
    'a/',
    '/a',
    'a//b',
    'A',
    'a..b',
    'a._b',
    'a___b',
    '-a',
    'a-',
    '.a',
    '..',
    '.',
    'a/../b',
    'a%2fb',
    'a b',
    'a\n',
    'a:5000/b',
    'é',
  ])('may not be %j', (text) => {
    expect(parseRepositoryName(text)).toBeUndefined();
  });

  test('that takes a pattern long to refuse is refused at once', () => {
    const started = performance.now();
    for (const text of [
      `${'a-'.repeat(126)}!`,
      `${'a/'.repeat(126)}!`,
      `a${'-'.repeat(250)}!`,
      '_'.repeat(255),
    ]) {
      expect(parseRepositoryName(text)).toBeUndefined();
    }
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});

describe('a reference', () => {
  test('is a tag or a digest, and writes itself back', () => {
    fc.assert(
      fc.property(fc.oneof(tagName, digestText), (text) => {
        const reference = parseReference(text);
        expect(reference?.kind).toBe(text.includes(':') ? 'digest' : 'tag');
        expect(reference && referenceText(reference)).toBe(text);
      }),
    );
  });

  test('that parses matches the grammar of the spec, whatever the text', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          tagName.map((tag) => `${tag}\n`),
        ),
        (text) => {
          const reference = parseReference(text);
          if (reference?.kind === 'tag') expect(text).toMatch(/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}(?!\n)$/);
          if (reference?.kind === 'digest') expect(text).toMatch(/^sha(256|512):[0-9a-f]+(?!\n)$/);
        },
      ),
    );
  });

  test.each(['', '.hidden', '-x', '..', 'a/b', 'a:b', 'a%', 'a b', 'a\n', 'sha256:abc', 'a'.repeat(129)])(
    'may not be %j',
    (text) => {
      expect(parseReference(text)).toBeUndefined();
    },
  );
});

describe('a registry host', () => {
  test('may have a port', () => {
    fc.assert(
      fc.property(registryHost, (host) => {
        expect(isRegistryHost(host)).toBe(true);
      }),
    );
  });

  test.each([
    '',
    'GHCR.io',
    'ghcr.io/',
    'ghcr.io:',
    'ghcr.io:123456',
    'user@ghcr.io',
    'https://ghcr.io',
    '-a.io',
    'a-.io',
    'a..io',
    '.io',
    'a.',
    'a b',
    'ghcr.io\n',
    '[::1]',
    'a'.repeat(256),
  ])('may not be %j', (text) => {
    expect(isRegistryHost(text)).toBe(false);
  });
});

test('the referrers tag of any digest is a tag, and tells digests apart', () => {
  fc.assert(
    fc.property(digestText, digestText, (one, other) => {
      const tag = referrersTag(mustDigest(one));
      expect(parseTag(tag)).toBe(tag);
      if (one !== other && one.slice(0, 71) !== other.slice(0, 71)) {
        expect(tag).not.toBe(referrersTag(mustDigest(other)));
      }
    }),
  );
  expect(referrersTag(mustDigest(`sha512:${'ab'.repeat(64)}`))).toBe(`sha512-${'ab'.repeat(32)}`);
});
