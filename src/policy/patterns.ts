import { RE2JS } from 're2js';
import { globSource } from './glob.ts';

/** Whether a text is one of those that a rule speaks of. */
export type Matcher = (text: string) => boolean;

/**
 * Matches `registry/repository` against globs, any of which suffices; `*` stops at a slash, `**` does not.
 * @throws {TypeError} for a glob that is none
 */
export function imageMatcher(globs: readonly string[]): Matcher {
  return anyOf(globs.map((glob) => naming(glob, () => globMatcher(glob))));
}

/**
 * Matches tags against globs and `/regular expressions/`, any of which suffices; `undefined` when one of them is
 * `*` or `**`, which is every tag. An expression is of RE2's syntax (no look-around, no backreferences) and matches
 * anywhere in the tag unless it is anchored with `^` and `$`. Tags come from whoever asks, and no pattern can be driven
 * to backtrack by them: a match takes time in proportion to the tag and the pattern.
 * @throws {TypeError} for a pattern that is none
 */
export function tagMatcher(patterns: readonly string[]): Matcher | undefined {
  const matchers = patterns.map((pattern) => naming(pattern, () => tagPatternMatcher(pattern)));
  return patterns.some((pattern) => /^\*{1,2}$/.test(pattern)) ? undefined : anyOf(matchers);
}

function tagPatternMatcher(pattern: string): Matcher {
  if (!pattern.startsWith('/')) return globMatcher(pattern);
  if (pattern.length < 3 || !pattern.endsWith('/')) {
    throw new TypeError('a regular expression stands between two slashes, with nothing behind the second');
  }
  return linear(pattern.slice(1, -1));
}

function globMatcher(glob: string): Matcher {
  if (/^[A-Za-z0-9_./:-]+$/.test(glob)) return (text) => text === glob;
  if (glob === '') throw new TypeError('a glob cannot be empty');
  return linear(globSource(glob));
}

function linear(source: string): Matcher {
  try {
    const compiled = RE2JS.compile(source);
    return (text) => compiled.matcher(text).find();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'it is malformed';
    throw new TypeError(`it is not a regular expression of RE2's syntax (${why})`, { cause });
  }
}

function anyOf(matchers: readonly Matcher[]): Matcher {
  const [only] = matchers;
  return matchers.length === 1 && only ? only : (text) => matchers.some((matches) => matches(text));
}

function naming(pattern: string, compile: () => Matcher): Matcher {
  try {
    return compile();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : 'malformed';
    throw new TypeError(`the pattern ${pattern} cannot be used: ${why}`, { cause });
  }
}
