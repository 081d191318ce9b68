import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { formatLockfile, type LockedTag, type Lockfile, parseLockfile } from '../../src/config/lockfile.ts';
import { ConfigError } from '../../src/config/problems.ts';

const a = `sha256:${'a'.repeat(64)}`;
const b = `sha512:${'b'.repeat(128)}`;

function problemsOf(text: string): string[] {
  try {
    parseLockfile(text, 'images.lock.yaml');
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split('\n');
    throw error;
  }
  throw new Error('the lockfile was accepted');
}

describe('the text of a lockfile', () => {
  const lock: Lockfile = {
    images: {
      'quay.io/a/b': {
        '16': { digest: b },
        '10.1': { digest: a },
        '9': { digest: a },
        latest: { digest: a },
      },
      'docker.io/library/python': {
        '3.12-slim': { digest: a, platforms: { 'linux/arm64': a, 'linux/amd64': b } },
        '3.10': { digest: a },
      },
    },
  };

  test('is sorted, has one digest a line, and says how it is made', () => {
    expect(
      formatLockfile(lock),
    ).toBe(`# Written by "entrepot lock IMAGE... -o FILE": the digests at which these images are served.
# Run it again to move them; with --check it tells whether this file is what it would write.
version: 1
images:
  docker.io/library/python:
    "3.10":
      digest: ${a}
    3.12-slim:
      digest: ${a}
      platforms:
        linux/amd64: ${b}
        linux/arm64: ${a}
  quay.io/a/b:
    "10.1":
      digest: ${a}
    "16":
      digest: ${b}
    "9":
      digest: ${a}
    latest:
      digest: ${a}
`);
  });

  const tag = fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,20}$/);
  const tags = fc.oneof(
    tag,
    fc.constantFrom('__proto__', 'constructor', '3.10', 'yes', 'null', '0x1F', '1e3', '1_0'),
  );
  const digest = fc.stringMatching(/^sha256:[0-9a-f]{64}$/);
  const platforms = fc.dictionary(
    fc.constantFrom('linux/amd64', 'linux/arm/v7', 'windows(10.0)/amd64'),
    digest,
    {
      minKeys: 1,
    },
  );
  const locked = fc.oneof(fc.record({ digest }), fc.record({ digest, platforms }));
  const image = fc.constantFrom('docker.io/library/python', 'localhost:5000/a', 'ghcr.io/o/a__b/c-d');
  const asMap = <T>(entries: readonly (readonly [string, T])[]): Record<string, T> => {
    const map: Record<string, T> = Object.create(null);
    for (const [key, value] of entries) map[key] = value;
    return map;
  };
  const byTag = fc.array(fc.tuple(tags, locked), { minLength: 1, maxLength: 4 });
  const entries = fc.array(fc.tuple(image, byTag), { maxLength: 3 });

  test('is read back as what was written, and is the same whatever the order', () => {
    fc.assert(
      fc.property(entries, (given) => {
        const unique = [...new Map(given.map(([name, list]) => [name, [...new Map(list)]] as const))];
        const make = (order: <T>(list: readonly T[]) => readonly T[]) => ({
          images: asMap(order(unique).map(([name, list]) => [name, asMap<LockedTag>(order(list))] as const)),
        });
        const text = formatLockfile(make((list) => list));
        expect(formatLockfile(make((list) => list.toReversed()))).toBe(text);
        expect(JSON.stringify(sortedEntries(parseLockfile(text)))).toBe(
          JSON.stringify(sortedEntries(make((list) => list))),
        );
      }),
    );
  });

  test('shows every tag as text to a reader of YAML 1.1', () => {
    const text = formatLockfile({
      images: { 'a.b/c': { yes: { digest: a }, '3.10': { digest: a }, '1_0': { digest: a } } },
    });
    const images: unknown = parse(text, { version: '1.1', mapAsMap: true }).get('images');
    const tags: unknown = images instanceof Map ? images.get('a.b/c') : undefined;
    expect(tags instanceof Map && [...tags.keys()]).toEqual(['1_0', '3.10', 'yes']);
  });

  test('may name no image', () => {
    expect(parseLockfile(formatLockfile({ images: {} })).images).toEqual({});
  });
});

function sortedEntries(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  return Object.entries(value)
    .sort(([x], [y]) => (x < y ? -1 : 1))
    .map(([key, child]) => [key, sortedEntries(child)]);
}

describe('a lockfile', () => {
  test('has no name that was not written', () => {
    const { images } = parseLockfile(`version: 1\nimages: {a.b/c: {x: {digest: "${a}"}}}`);
    expect(images['constructor']).toBeUndefined();
    expect(images['a.b/c']?.['toString']).toBeUndefined();
    expect(images['a.b/c']?.['x']).toEqual({ digest: a });
  });

  const file = (text: string) => `version: 1\nimages:\n${text}`;
  test.each([
    [
      '',
      [
        'images.lock.yaml version: must be 1, the only version of lockfiles',
        'images.lock.yaml images: is required',
      ],
    ],
    ['version: 2\nimages: {}', ['images.lock.yaml:1 version: must be 1, the only version of lockfiles']],
    ['version: 1\nimages: []', ['images.lock.yaml:2 images: must be a map of keys to values']],
    [
      'version: 1\nimages: {}\nimage: {}',
      ['images.lock.yaml:3 image: unknown key, known here: version, images'],
    ],
    [file('  a.b/c: {}'), ['images.lock.yaml:3 images.a.b/c: must not be empty']],
    [file(`  a.b/c:\n    x: ${a}`), ['images.lock.yaml:4 images.a.b/c.x: must be a map of keys to values']],
    [
      file('  a.b/c:\n    x: {digest: abc}'),
      ['images.lock.yaml:4 images.a.b/c.x.digest: must be a digest: sha256: and 64'],
    ],
    [
      file(`  a.b/c:\n    x:\n      digest: ${a}\n      size: 3`),
      ['images.lock.yaml:6 images.a.b/c.x.size: unknown key, known here: digest, platforms'],
    ],
    [
      file(`  a.b/c:\n    x:\n      digest: ${a}\n      platforms: {linux: ${a}}`),
      ['images.lock.yaml:6 images.a.b/c.x.platforms.linux: must be a platform, such as linux/amd64'],
    ],
    [
      file(`  a.b/c:\n    x:\n      digest: ${a}\n      platforms: {}`),
      ['images.lock.yaml:6 images.a.b/c.x.platforms: must not be empty'],
    ],
    [
      file(
        `  python: {x: {digest: "${a}"}}\n  A.b/c: {x: {digest: "${a}"}}\n  a.b/c: {x/y: {digest: "${a}"}}`,
      ),
      [
        'images.lock.yaml:3 images.python: must be registry/repository',
        'images.lock.yaml:4 images.A.b/c: must be registry/repository',
        'images.lock.yaml:5 images.a.b/c.x/y: must be a tag',
      ],
    ],
    [
      file(`  a.b/c:\n    x: {digest: "${a}"}\n    x: {digest: "${b}"}`),
      ['images.lock.yaml:5 images.a.b/c.x: this key is given twice'],
    ],
    ['version: 1\nimages: {', ['images.lock.yaml:2: YAML syntax: ']],
  ])('%j is refused with its lines', (text, expected) => {
    expect(problemsOf(text)).toEqual(expected.map((line) => expect.stringContaining(line)));
  });
});
