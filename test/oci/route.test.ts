import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { parseRepositoryName } from '../../src/oci/reference.ts';
import { parseRoute, type Route } from '../../src/oci/route.ts';
import { digestText, registryHost, repositoryName, tagName } from './arbitraries.ts';

/** How a client says which registry it means. */
type Form = {
  readonly base: string;
  readonly name: string;
  readonly query: string;
  readonly address: object;
};

const form: fc.Arbitrary<Form> = fc
  .tuple(fc.constantFrom('plain', 'prefix', 'mirror', 'ns', 'mirror and ns'), repositoryName, registryHost)
  .map(([kind, repository, host]) => {
    const mirrored = kind.startsWith('mirror');
    const named = kind.endsWith('ns');
    const name = kind === 'prefix' ? `${host}/${repository}` : repository;
    return {
      base: mirrored ? `/${host}/v2` : '/v2',
      name,
      query: named ? `ns=${host}` : '',
      address: { name, mirrorPath: mirrored ? host : undefined, ns: named ? host : undefined },
    };
  });

const colon = fc.constantFrom(':', '%3A', '%3a');

function withQuery(path: string, ...queries: string[]): string {
  const query = queries.filter((part) => part !== '').join('&');
  return query === '' ? path : `${path}?${query}`;
}

function addressOf(route: Route) {
  return 'address' in route ? route.address : undefined;
}

describe('every addressing form round-trips', () => {
  test('for a manifest by tag', () => {
    fc.assert(
      fc.property(form, tagName, ({ base, name, query, address }, tag) => {
        expect(parseRoute(withQuery(`${base}/${name}/manifests/${tag}`, query))).toEqual({
          kind: 'manifest',
          address,
          reference: { kind: 'tag', tag },
        });
      }),
    );
  });

  test('for a manifest or a blob by digest, its colon encoded or not', () => {
    fc.assert(
      fc.property(form, digestText, colon, ({ base, name, query, address }, digest, sign) => {
        const written = digest.replace(':', sign);
        expect(parseRoute(withQuery(`${base}/${name}/manifests/${written}`, query))).toEqual({
          kind: 'manifest',
          address,
          reference: { kind: 'digest', digest },
        });
        expect(parseRoute(withQuery(`${base}/${name}/blobs/${written}`, query))).toEqual({
          kind: 'blob',
          address,
          digest,
        });
      }),
    );
  });

  test('for a list of tags and for referrers, with their queries', () => {
    const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
    fc.assert(
      fc.property(
        form,
        digestText,
        optional(fc.nat(999_999_999)),
        optional(tagName),
        ({ base, name, query, address }, digest, n, text) => {
          const parts = [n === undefined ? '' : `n=${n}`, text === undefined ? '' : `last=${text}`];
          expect(parseRoute(withQuery(`${base}/${name}/tags/list`, query, ...parts))).toEqual({
            kind: 'tags',
            address,
            n,
            last: text,
          });
          const artifactType = text && `application/vnd.${text}+json`;
          const filter = artifactType === undefined ? '' : `artifactType=${encodeURIComponent(artifactType)}`;
          expect(parseRoute(withQuery(`${base}/${name}/referrers/${digest}`, filter, query))).toEqual({
            kind: 'referrers',
            address,
            digest,
            artifactType,
          });
        },
      ),
    );
  });

  test('for an upload, begun or under way', () => {
    fc.assert(
      fc.property(
        form,
        fc.constantFrom('', '/', '/5c1f7a52-0000'),
        ({ base, name, query, address }, tail) => {
          const path = `${base}/${name}/blobs/uploads${tail}`;
          expect(parseRoute(withQuery(path, query))).toEqual({ kind: 'upload', address });
        },
      ),
      { numRuns: 500 },
    );
  });

  test('for the base', () => {
    for (const target of ['/v2', '/v2/', '/v2/?ns=docker.io', '/docker.io/v2/', '/localhost:5000/v2']) {
      expect(parseRoute(target)).toEqual({ kind: 'base' });
    }
  });
});

describe('a hostile target', () => {
  const scrap = fc.constantFrom(
    '..',
    '.',
    '',
    '%2e%2e',
    '%2f',
    '%2F..',
    '%',
    '%00',
    '%3A',
    '%253A',
    '\\',
    'v2',
    'blobs',
    'manifests',
    'tags',
    'list',
    'uploads',
    'referrers',
    'library',
    'a',
    'ghcr.io',
    'http:',
    '?',
    '#',
    `sha256:${'0'.repeat(64)}`,
    'latest',
    '\u0000',
    '\ud800',
  );
  const path = fc.array(scrap, { maxLength: 9 }).map((scraps) => `/${scraps.join('/')}`);
  const hostile = fc.oneof(
    path,
    path.map((text) => `/v2${text}/manifests/latest`),
    fc
      .tuple(path, fc.constantFrom('manifests', 'blobs', 'referrers', 'tags'), scrap)
      .map(([text, endpoint, last]) => `/v2${text}/${endpoint}/${last}`),
    fc.string(),
  );

  test('never makes the parser throw', () => {
    fc.assert(
      fc.property(hostile, (target) => {
        expect(parseRoute(target).kind).toBeTypeOf('string');
      }),
      { numRuns: 3_000 },
    );
  });

  test('never leads to a name with dot segments, percent signs or empty components that the grammar lets through', () => {
    fc.assert(
      fc.property(hostile, (target) => {
        const name = addressOf(parseRoute(target))?.name;
        const accepted = name === undefined ? undefined : parseRepositoryName(name);
        if (accepted === undefined) return;
        expect(accepted).not.toMatch(/\.\.|%|\/\/|^\/|\/$|\\/);
        // Nothing was decoded on the way: the name stands in the target as it is.
        expect(target).toContain(`/${accepted}/`);
      }),
      { numRuns: 3_000 },
    );
  });

  test('never has its name decoded or normalised', () => {
    const name = (target: string) => addressOf(parseRoute(target))?.name;
    expect(name('/v2/a/../b/manifests/latest')).toBe('a/../b');
    expect(name('/v2/a%2fb/manifests/latest')).toBe('a%2fb');
    expect(name('/v2//a/manifests/latest')).toBe('/a');
    expect(name('/v2/a%3Ab/manifests/latest')).toBe('a%3Ab');
  });

  test.each([
    ['/v2/a/manifests/', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/..', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/a%2Fb', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/%252e', 'MANIFEST_UNKNOWN'],
    ['/v2/a/manifests/sha256:abc', 'DIGEST_INVALID'],
    [`/v2/a/blobs/sha256%253A${'0'.repeat(64)}`, 'DIGEST_INVALID'],
    [`/v2/a/blobs/sha256:${'A'.repeat(64)}`, 'DIGEST_INVALID'],
    [`/v2/a/referrers/sha384:${'0'.repeat(96)}`, 'DIGEST_INVALID'],
    ['/v2/a/tags/list?n=-1', 'PAGINATION_NUMBER_INVALID'],
    ['/v2/a/tags/list?n=abc', 'PAGINATION_NUMBER_INVALID'],
    ['/v2/a/tags/list?n=1e9', 'PAGINATION_NUMBER_INVALID'],
    ['/v2/a/tags/list?n=9999999999', 'PAGINATION_NUMBER_INVALID'],
    [`/v2/${'a'.repeat(1_100)}/manifests/latest`, 'NAME_INVALID'],
  ])('%s is %s', (target, code) => {
    expect(parseRoute(target)).toMatchObject({ kind: 'invalid', code });
  });

  test.each([
    '',
    '/',
    '/v1/',
    '/v2/a',
    '/v2/manifests/latest',
    '/v2/_catalog',
    '/V2/a/manifests/latest',
    '/a/b/v2/c/manifests/latest',
    'http://elsewhere/v2/a/manifests/latest',
    '*',
    '/v2/a/tags/all',
    '/v2/a/manifests/latest/',
  ])('%j is not a route of the registry', (target) => {
    expect(parseRoute(target)).toEqual({ kind: 'unknown' });
  });
});

test('an empty n is none', () => {
  expect(parseRoute('/v2/a/tags/list?n=')).toMatchObject({ kind: 'tags', n: undefined });
});

test('an empty ns is none', () => {
  expect(addressOf(parseRoute('/v2/a/manifests/latest?ns='))?.ns).toBeUndefined();
});

test('a name that holds the words of the endpoints keeps them', () => {
  const route = parseRoute('/v2/a/blobs/uploads/manifests/latest');
  expect(route).toMatchObject({ kind: 'manifest', address: { name: 'a/blobs/uploads' } });
  expect(parseRoute('/v2/v2/tags/list')).toMatchObject({ kind: 'tags', address: { name: 'v2' } });
});
