import fc from 'fast-check';

/** Text of one or more characters out of an alphabet. */
function textOf(alphabet: string, minLength: number, maxLength: number): fc.Arbitrary<string> {
  return fc
    .array(fc.constantFrom(...alphabet), { minLength, maxLength })
    .map((characters) => characters.join(''));
}

const alphanumeric = textOf('abcz019', 1, 4);
const separator = fc.constantFrom('.', '_', '__', '-', '--', '---');

/** A path component by the distribution-spec's grammar; the words of its endpoints are as likely as others. */
export const nameComponent: fc.Arbitrary<string> = fc.oneof(
  { weight: 3, arbitrary: alphanumeric },
  {
    weight: 2,
    arbitrary: fc
      .tuple(alphanumeric, fc.array(fc.tuple(separator, alphanumeric), { minLength: 1, maxLength: 3 }))
      .map(([first, rest]) => first + rest.flat().join('')),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      'v2',
      'blobs',
      'manifests',
      'tags',
      'list',
      'uploads',
      'referrers',
      'library',
      'localhost',
    ),
  },
);

/** A valid repository name. */
export const repositoryName: fc.Arbitrary<string> = fc
  .array(nameComponent, { minLength: 1, maxLength: 5 })
  .map((components) => components.join('/'));

/** A valid tag. */
export const tagName: fc.Arbitrary<string> = fc
  .tuple(textOf('azAZ09_', 1, 1), textOf('azAZ09_.-', 0, 127))
  .map(([first, rest]) => first + rest);

/** A valid digest. */
export const digestText: fc.Arbitrary<string> = fc.oneof(
  textOf('0123456789abcdef', 64, 64).map((hex) => `sha256:${hex}`),
  textOf('0123456789abcdef', 128, 128).map((hex) => `sha512:${hex}`),
);

/** A registry host, with or without a port. */
export const registryHost: fc.Arbitrary<string> = fc
  .tuple(fc.constantFrom('localhost', 'ghcr.io', 'registry.example.com', 'r-1.x'), fc.option(fc.nat(65_535)))
  .map(([host, port]) => (port === null ? host : `${host}:${port}`));
