/** One challenge of a `WWW-Authenticate` header: scheme and parameter names in lower case. */
export type Challenge = { readonly scheme: string; readonly params: ReadonlyMap<string, string> };

/** Longer headers are not looked at: they come from whoever answers. */
const longest = 8192;

const token = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const token68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const equals = /[ \t]*=[ \t]*/y;
const quoted = /"((?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*)"/y;
const blanks = /[ \t]+/y;
const separators = /[ \t,]*/y;

/**
 * Parses the challenges of a `WWW-Authenticate` value (RFC 9110, section 11.6.1), several of which may have been
 * joined with commas. Whatever follows the first mistake is ignored, and so is the challenge that holds it;
 * a challenge that names a parameter twice is dropped.
 */
export function parseChallenges(text: string): readonly Challenge[] {
  if (text.length > longest) return [];
  const scanner = new Scanner(text);
  const challenges: Challenge[] = [];
  scanner.take(separators);
  while (!scanner.atEnd) {
    const scheme = scanner.take(token)?.[0];
    if (scheme === undefined) break;
    const params = takeParams(scanner);
    if (params === 'malformed') break;
    if (params !== 'ambiguous') challenges.push({ scheme: scheme.toLowerCase(), params });
  }
  return challenges;
}

/** Reads what belongs to one challenge, up to the next scheme or the end, separators included. */
function takeParams(scanner: Scanner): Map<string, string> | 'ambiguous' | 'malformed' {
  const params = new Map<string, string>();
  let ambiguous = false;
  if (scanner.take(blanks)) {
    const first = takeParam(scanner);
    if (first === 'malformed') return 'malformed';
    if (first) params.set(...first);
    else scanner.take(token68);
  }
  for (;;) {
    if (!scanner.atEnd && !scanner.at(/[ \t]*,/y)) return 'malformed';
    scanner.take(separators);
    const next = scanner.atEnd ? undefined : takeParam(scanner);
    if (next === 'malformed') return 'malformed';
    if (next === undefined) return ambiguous ? 'ambiguous' : params;
    if (params.has(next[0])) ambiguous = true;
    params.set(...next);
  }
}

/** Reads `name=value`; `undefined`, with nothing read, when what follows is something else. */
function takeParam(scanner: Scanner): readonly [string, string] | undefined | 'malformed' {
  const start = scanner.position;
  const name = scanner.take(token)?.[0];
  const isParam = name !== undefined && scanner.take(equals) !== null && !scanner.at(/=*[ \t]*(?:,|$)/y);
  if (!isParam) {
    scanner.position = start;
    return undefined;
  }
  const text = scanner.take(quoted)?.[1]?.replace(/\\(.)/g, '$1') ?? scanner.take(token)?.[0];
  return text === undefined ? 'malformed' : [name.toLowerCase(), text];
}

class Scanner {
  readonly #text: string;
  position = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get atEnd(): boolean {
    return this.position >= this.#text.length;
  }

  /** Whether a sticky pattern matches here. */
  at(pattern: RegExp): boolean {
    pattern.lastIndex = this.position;
    return pattern.test(this.#text);
  }

  /** Matches a sticky pattern here and moves past it. */
  take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.position;
    const match = pattern.exec(this.#text);
    if (match) this.position += match[0].length;
    return match;
  }
}
