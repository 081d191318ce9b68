import { Range, SemVer } from 'semver';
import type { Matcher } from './patterns.ts';

/**
 * Words that make a suffix a pre-release. Single letters count only with one or two digits behind them
 * (`a1`, `b2`, `m3`): alone they are as likely to name a variant.
 */
const preReleaseWord =
  'alpha|beta|rc|cr|pre|preview|prerelease|dev|devel|develop|nightly|daily|canary|snapshot|next|edge|ea|eap|' +
  'milestone|insider|insiders|unstable|experimental|test|testing|main|master|trunk|head|ci|pr|mr';
const word = new RegExp(`^(${preReleaseWord})([0-9]*)$|^([abm])([0-9]{1,2})$`);
const gluedWord = new RegExp(`^(?:(?:${preReleaseWord})[0-9]*|[abm][0-9]{1,2})(?=$|[-._])`);

const year = '(?:19|20)[0-9]{2}';
const month = '(?:0[1-9]|1[0-2])';
const day = '(?:0[1-9]|[12][0-9]|3[01])';
/** `20240131`, with or without a time of day behind it. */
const date = new RegExp(`^${year}${month}${day}(?:t?[0-9]{2,9}z?)?$`);
const dashedDate = new RegExp(`(?<=^|[-._])(${year})[-._](${month})[-._](${day})(?=$|[-._])`, 'g');
/** A commit, abbreviated or whole, as git and CI write it. Without a digit it is a word that only looks like one. */
const commit = /^(?:g|sha)?(?=[a-f]*[0-9])[0-9a-f]{7,40}$/;

/** A date, or one number too long for a version: a day, a time stamp, a build, a commit without letters. */
const notVersion = new RegExp(`^v?(?:[0-9]{6,}|${year}[-_]${month}[-_]${day})(?=$|[-_])`);
const numbers = /^v?([0-9]{1,15})(?:\.([0-9]{1,15}))?(?:\.([0-9]{1,15}))?(?![0-9])/;

/**
 * Reads a tag as a version (semver 2.0.0); `undefined` when it is none, and then no range holds it.
 *
 * - One to three numbers, with or without `v` before them: `3` is 3.0.0, `v3.10` is 3.10.0, `24.04` is 24.4.0. No
 *   version are four numbers, one number of more than five digits (`20240131`, `1700000000`), and `2024-01-31`.
 * - Then nothing, or a suffix after `-`, or after `_` (which stands for `+build` where tags cannot hold a plus).
 *   The suffix is cut into pieces at `-`, `.` and `_`. It is a *variant* (`slim`, `alpine3.19`, `full`, `bookworm`,
 *   `r5`, `1`) and ignored, unless a piece reads as a pre-release, whatever the case: a word such as alpha, beta,
 *   rc, pre, preview, dev, nightly, canary, snapshot, next, edge, ea, main, master, pr, with or without a number;
 *   a, b or m with one or two digits; a date; a commit. Then the version is that pre-release, and its variants are still
 *   ignored: `1.2.3-rc1-alpine` and `1.2.3-alpine-rc.1` are 1.2.3-rc.1. A number that is glued to its word is
 *   compared as a number (`rc10` is above `rc9`).
 * - A pre-release may stand right behind the numbers, as Python, Go, PHP and PostgreSQL write it: `3.13.0rc1-slim`
 *   is 3.13.0-rc.1, `17beta1` is 17.0.0-beta.1. Anything else there makes it no version: `8u392`, `2.15.0post1`.
 */
export function parseVersionTag(tag: string): SemVer | undefined {
  const text = tag.toLowerCase().replace(/\+.*$/, '');
  const found = numbers.exec(text);
  if (!found || notVersion.test(text)) return undefined;
  const suffix = text.slice(found[0].length);
  if (suffix !== '' && !/^[-_]/.test(suffix) && !gluedWord.test(suffix)) return undefined;
  const [major, minor, patch] = found.slice(1, 4).map((number = '0') => Number(number));
  const preRelease = preReleaseOf(suffix);
  return new SemVer(`${major}.${minor}.${patch}${preRelease === '' ? '' : `-${preRelease}`}`);
}

/**
 * Whether a tag's version ({@link parseVersionTag}) is in a range as npm writes them: `^1.4`, `>=1.4.0 <2`,
 * `3.10.x || 3.12`, `v` permitted before each version. npm's rule on pre-releases holds: one is in the range only
 * where a comparator with a pre-release of the same three numbers admits it (`>=1.2.3-rc.1` holds 1.2.3-rc2, not
 * 1.2.4-rc1), so neither an allow nor a deny rule speaks of pre-releases unless it says so.
 * @throws {TypeError} when it is no range
 */
export function versionMatcher(range: string): Matcher {
  const parsed = parseRange(range);
  return (tag) => {
    const version = parseVersionTag(tag);
    return version !== undefined && parsed.test(version);
  };
}

function parseRange(range: string): Range {
  const problem = `${JSON.stringify(range)} is no version range such as ">=1.4.0 <2" or "^3.10"`;
  if (range.trim() === '') throw new TypeError(problem);
  // The same cut between word and number as in tags, so that rc1 on either side means the same.
  const cut = range
    .toLowerCase()
    .replace(
      new RegExp(`(?<=[0-9]-)(${preReleaseWord}|[abm](?=[0-9]{1,2}(?![0-9])))([0-9]+)(?![0-9a-z-])`, 'g'),
      (_, name, number) => [name, withoutZeros(number)].join('.'),
    );
  try {
    return new Range(cut);
  } catch (cause) {
    throw new TypeError(problem, { cause });
  }
}

/** The dotted identifiers of the first pre-release in a suffix and of what belongs to it; empty when there is none. */
function preReleaseOf(suffix: string): string {
  const pieces = suffix.replace(dashedDate, '$1$2$3').split(/[-._]/).filter(Boolean);
  const first = pieces.findIndex((piece) => identifiersOf(piece) !== undefined);
  if (first < 0) return '';
  const identifiers: string[] = [];
  for (const piece of pieces.slice(first)) {
    const own = /^[0-9]+$/.test(piece) ? [withoutZeros(piece)] : identifiersOf(piece);
    if (own === undefined) break;
    identifiers.push(...own);
  }
  return identifiers.join('.');
}

function identifiersOf(piece: string): readonly string[] | undefined {
  const found = word.exec(piece);
  if (found) {
    const number = found[2] ?? found[4] ?? '';
    const name = found[1] ?? found[3] ?? '';
    return number === '' ? [name] : [name, withoutZeros(number)];
  }
  if (!date.test(piece) && !commit.test(piece)) return undefined;
  return [/^[0-9]+$/.test(piece) ? withoutZeros(piece) : piece];
}

/** Numeric identifiers have no leading zeros (semver 2.0.0, section 9). */
function withoutZeros(number: string): string {
  return number.replace(/^0+(?=[0-9])/, '');
}
