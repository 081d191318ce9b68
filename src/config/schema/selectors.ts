import { type Reading, refused } from './scalars.ts';

/** What a glob may be made of: the letters of what it matches, and the wildcards. */
const imageGlob = /^[a-z0-9_.:/*?{},[\]!^()|-]+$/;
const tagGlob = /^[A-Za-z0-9_.*?{},[\]!^()|-]+$/;

/**
 * npm's range grammar. Fifteen digits at most: more could exceed what a number holds exactly. A wildcard stands
 * last or has wildcards behind it, since npm takes other combinations only sometimes.
 */
const number = '(?:0|[1-9][0-9]{0,14})';
const preRelease = `(?:${number}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)`;
const suffix = `(?:-${preRelease}(?:\\.${preRelease})*)?(?:\\+[0-9A-Za-z-]+(?:\\.[0-9A-Za-z-]+)*)?`;
const patch = `(?:[xX*]|${number}${suffix})`;
const minor = `(?:[xX*](?:\\.[xX*])?|${number}(?:\\.${patch})?)`;
const version = `(?:[xX*]|v?${number}(?:\\.${minor})?)`;
const comparator = `(?:[<>]=?|=|~>?|\\^)? *${version}`;
const alternative = new RegExp(`^(?:${version} +- +${version}|${comparator}(?: +${comparator})*)$`);

/** Longest range read: npm's own limit on a version. */
const longestRange = 256;

/**
 * Reads a glob over `registry/repository`, where `*` stops at a slash and `**` does not. Refused is also what could
 * never match, since nobody would notice that rule missing: capitals, a tag, and no slash (but for `**`).
 */
export function readImageGlob(text: string): Reading<string> {
  if (/[A-Z]/.test(text)) return refused('must be lower case, as images are');
  if (/^[^\s@]+(?:\/[^/]*|\*):[^/]*$/.test(text)) return refused('must name no tag and no digest');
  if (!imageGlob.test(text) || !isBalanced(text)) {
    return refused('must be a glob of registry/repository, such as docker.io/library/* or ghcr.io/org/**');
  }
  if (text === '**' || text.includes('/')) return { kind: 'value', value: text };
  return refused('matches no image, since images are registry/repository: write ** for every image');
}

/**
 * Reads what selects tags: a glob, or a regular expression between slashes, which matches anywhere in the tag unless it
 * is anchored. Only what JavaScript's syntax and RE2's have in common is checked here.
 */
export function readTagPattern(text: string): Reading<string> {
  if (text.startsWith('/')) return readExpression(text);
  if (tagGlob.test(text) && isBalanced(text)) return { kind: 'value', value: text };
  return refused(
    'must be a glob of tags, such as *-nightly, or a regular expression between slashes, such as /^v[0-9]+$/',
  );
}

/**
 * Reads an npm version range, `v` permitted before each version. Every range that is read is one to npm's own
 * implementation too; of what that tolerates besides, nothing is.
 */
export function readSemverRange(text: string): Reading<string> {
  const alternatives = text.split('||').map((part) => part.trim());
  if (text.length <= longestRange && alternatives.every((part) => alternative.test(part))) {
    return { kind: 'value', value: text };
  }
  return refused('must be a version range as npm writes them, such as ^3.10, ~1.2.3, >=2 <4 or 3.x || 5.x');
}

/** Reads a digest of an algorithm that is verified. */
export function readDigest(text: string): Reading<string> {
  return isDigestText(text)
    ? { kind: 'value', value: text }
    : refused('must be a digest: sha256: and 64, or sha512: and 128 lower case hexadecimal digits');
}

/** Whether `text` is a sha256 or sha512 digest of the image-spec's grammar. */
export function isDigestText(text: string): boolean {
  return /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/.test(text);
}

function readExpression(text: string): Reading<string> {
  if (text.length < 3 || !text.endsWith('/')) {
    return refused('a regular expression stands between two slashes, with nothing behind the second');
  }
  try {
    new RegExp(text.slice(1, -1));
    return { kind: 'value', value: text };
  } catch {
    // The exception's message quotes the expression, which may have been filled in from a secret.
    return refused('this is no regular expression');
  }
}

function isBalanced(glob: string): boolean {
  const closers: string[] = [];
  const pairs: Readonly<Record<string, string>> = { '[': ']', '{': '}', '(': ')' };
  for (const letter of glob) {
    const closer = pairs[letter];
    if (closer !== undefined) closers.push(closer);
    else if (']})'.includes(letter) && closers.pop() !== letter) return false;
  }
  return closers.length === 0;
}
