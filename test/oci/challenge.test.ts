import fc from 'fast-check';
import { expect, it } from 'vitest';
import { parseChallenges } from '../../src/oci/challenge.ts';

/** A challenge as `[scheme, params]`. */
const read = (text: string) =>
  parseChallenges(text).map(({ scheme, params }) => [scheme, Object.fromEntries(params)]);

it.each([
  [
    'Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/nginx:pull"',
    [
      [
        'bearer',
        {
          realm: 'https://auth.docker.io/token',
          service: 'registry.docker.io',
          scope: 'repository:library/nginx:pull',
        },
      ],
    ],
  ],
  ['BEARER Realm = "a" , SERVICE=b', [['bearer', { realm: 'a', service: 'b' }]]],
  ['Basic realm="a, b=\\"c\\"", charset=UTF-8', [['basic', { realm: 'a, b="c"', charset: 'UTF-8' }]]],
  [
    'Basic realm="a", Bearer realm="b",scope="x,y"',
    [
      ['basic', { realm: 'a' }],
      ['bearer', { realm: 'b', scope: 'x,y' }],
    ],
  ],
  [
    'Basic, Bearer realm=b',
    [
      ['basic', {}],
      ['bearer', { realm: 'b' }],
    ],
  ],
  [
    'Negotiate YWJj==, Basic realm="a"',
    [
      ['negotiate', {}],
      ['basic', { realm: 'a' }],
    ],
  ],
  [
    'Negotiate YWJj, Basic realm="a"',
    [
      ['negotiate', {}],
      ['basic', { realm: 'a' }],
    ],
  ],
  [', ,Basic realm="a",,', [['basic', { realm: 'a' }]]],
  ['Bearer realm=""', [['bearer', { realm: '' }]]],
])('%s is understood', (text, expected) => {
  expect(read(text)).toEqual(expected);
});

it.each([
  ['', []],
  ['"Bearer"', []],
  ['Bearer realm="unclosed', []],
  ['Bearer realm="a" realm2="b"', []],
  ['Bearer realm="a"x', []],
  ['Bearer realm=https://a', []],
  ['Basic realm="a", Bearer realm="b', [['basic', { realm: 'a' }]]],
  ['Bearer realm="https://good",realm="https://evil"', []],
  ['Bearer realm="a", realm="b", Basic realm="c"', [['basic', { realm: 'c' }]]],
  [`Bearer realm="${'x'.repeat(9000)}"`, []],
])('%s yields only what is whole and unambiguous', (text, expected) => {
  expect(read(text)).toEqual(expected);
});

it('reads back whatever was quoted', () => {
  const value = fc.stringMatching(/^[ -~]{0,30}$/);
  const name = fc.stringMatching(/^[a-z][a-z0-9_-]{0,8}$/);
  const params = fc.uniqueArray(fc.tuple(name, value), {
    minLength: 1,
    maxLength: 5,
    selector: ([key]) => key,
  });
  fc.assert(
    fc.property(fc.array(fc.tuple(name, params), { minLength: 1, maxLength: 3 }), (challenges) => {
      const text = challenges
        .map(([scheme, pairs]) => {
          return `${scheme} ${pairs.map(([key, text]) => `${key}="${text.replace(/["\\]/g, '\\$&')}"`).join(', ')}`;
        })
        .join(', ');
      expect(parseChallenges(text)).toEqual(
        challenges.map(([scheme, pairs]) => ({ scheme, params: new Map(pairs) })),
      );
    }),
  );
});

it('is quick and total on hostile input', () => {
  const piece = fc.constantFrom('Bearer', ' ', ',', '=', '"', '\\', 'realm', 'a', '\t', '\u0000', 'é', '==');
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 200 }), (pieces) => {
      for (const { scheme } of parseChallenges(pieces.join('')))
        expect(['bearer', 'realm', 'a']).toContain(scheme.replace(/(?:bearer|realm|a)+/, 'a'));
    }),
    { numRuns: 500 },
  );
  const started = performance.now();
  for (const filler of ['a', ' ', ',', '"', '\\', 'a=', 'a ', 'a,', '=', '"\\'])
    parseChallenges(filler.repeat(4000));
  expect(performance.now() - started).toBeLessThan(1000);
});
