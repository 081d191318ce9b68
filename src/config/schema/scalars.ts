import { isIPv4, isIPv6 } from 'node:net';
import * as z from 'zod';
import { parseDuration, parseSize } from '../../lib/units.ts';

/** What came of reading one string: the value, or why it is refused (without quoting it). */
export type Reading<T> =
  | { readonly kind: 'value'; readonly value: T }
  | { readonly kind: 'refused'; readonly message: string };

/** The address a server listens on; `host` is without brackets. */
type ListenAddress = { readonly host: string; readonly port: number };

/** What schema metadata says beyond JSON Schema's own words: `title` is the type's name in the documentation. */
type Annotation = { title: string; description: string; pattern?: string };

/** Timers hold at most 2^31-1 ms: a longer one would fire at once. */
const longestTimer = 24 * 86_400_000;

const durationPattern = '^(?=[0-9])(?:[0-9]+d)?(?:[0-9]+h)?(?:[0-9]+m)?(?:[0-9]+s)?(?:[0-9]+ms)?$';
const sizePattern = '^[0-9]+(?:\\.[0-9]+)?(?:[KkMmGgTtPp][Ii]?)?[Bb]$';
const speedOrOffPattern = `^off$|${sizePattern}`;
const hostPattern =
  /^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::([0-9]{1,5}))?$/;
const prefixPattern = /^(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$/;

/** A span for which something is remembered: `0s` means not at all. */
export function durationSchema(description: string) {
  return readString(readDuration, { title: 'duration', description, pattern: durationPattern });
}

/** A limit on waiting: longer than nothing (unless `zero`), at most 24 days. */
export function timeoutSchema(description: string, options: { zero: boolean } = { zero: false }) {
  return readString((text) => readTimeout(text, options), {
    title: 'duration',
    description,
    pattern: durationPattern,
  });
}

/** A number of bytes, at least `min`, which `minText` writes. */
export function sizeSchema(description: string, options: { min: number; minText: string }) {
  return readString((text) => readSize(text, options), { title: 'size', description, pattern: sizePattern });
}

/** A speed in bytes per second, at least `min`, which `minText` writes; with `off`, the word `off` reads as 0. */
export function speedSchema(description: string, options: { min: number; minText: string; off?: true }) {
  return readString((text) => readSpeed(text, options), {
    title: 'speed',
    description,
    pattern: options.off ? speedOrOffPattern : sizePattern,
  });
}

/** A whole number from `min` to `max`. */
export function wholeNumberSchema(description: string, { min, max }: { min: number; max: number }) {
  const message = `must be a whole number from ${min} to ${max}, without quotes`;
  return z
    .int({ error: unlessMissing(message) })
    .min(min, message)
    .max(max, message)
    .meta({ title: `whole number, ${min} to ${max}`, description });
}

/** An address to listen on. */
export function listenSchema(description: string) {
  return readString(readListen, { title: 'host:port', description });
}

/** The URL of an upstream, normalised: no trailing slash, no default port. */
export function upstreamUrlSchema(description: string) {
  return readString(readUpstreamUrl, { title: 'URL', description });
}

/** A string that is not empty. */
export function textSchema(title: string, description: string) {
  return z
    .string({ error: unlessMissing('must be text (quote it if it looks like a number)') })
    .min(1, 'must not be empty')
    .meta({ title, description });
}

/** One string or a list of them, each read by `read`; the result is a list that is not empty. */
export function oneOrMoreSchema<T>(read: (text: string) => Reading<T>, what: string, description: string) {
  const message = `must be ${what} or a list of them, none of them empty`;
  const error = unlessMissing(message);
  const text = z.string({ error }).min(1, message);
  return z
    .union([text, z.array(text, { error }).min(1, message)], { error })
    .transform((given, context) => {
      const texts = typeof given === 'string' ? [given] : given;
      return texts.flatMap((each, index) => {
        const reading = read(each);
        if (reading.kind === 'value') return [reading.value];
        const path = typeof given === 'string' ? [] : [index];
        context.addIssue({ code: 'custom', message: reading.message, path });
        return [];
      });
    })
    .meta({ title: `${what.replace(/^an? /, '')} or list`, description });
}

/** Reads `host:port`, the host an IPv4 address, a name, or an IPv6 address in brackets. */
function readListen(text: string): Reading<ListenAddress> {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text);
  const [, bracketed, plain, portText] = match ?? [];
  const host = bracketed ?? plain;
  const port = Number(portText);
  const valid = bracketed === undefined ? plain !== undefined && isHostOrAddress(plain) : isIPv6(bracketed);
  if (host !== undefined && valid && port <= 65_535) return { kind: 'value', value: { host, port } };
  return refused('must be host:port, such as 0.0.0.0:5000 or [::]:5000, with a port of at most 65535');
}

/**
 * Reads an upstream's URL. Refused: another scheme than http and https, credentials, a query or fragment, `/v2`
 * (added by the client of the distribution-spec), and a path that could not begin a repository name.
 */
function readUpstreamUrl(text: string): Reading<string> {
  const match = /^https?:\/\/([^/\\\s?#]+)([^\s?#\\]*)([?#].*)?$/.exec(text);
  const url = match && URL.parse(text);
  if (!match || !url) return refused('must be a URL such as https://registry.example.com');
  const [, authority = '', path = '', extra] = match;
  if (authority.includes('@')) return refused('must hold no credentials: use the keys username and password');
  if (extra !== undefined) return refused('must have no query and no fragment');
  const prefix = path.replace(/\/+$/, '');
  if (/^\/v2(?:\/|$)/.test(prefix)) return refused('must not name /v2: it is added to every request');
  if (!prefixPattern.test(prefix)) {
    return refused(
      'must have a path that can begin a repository name (lower case, such as /dockerhub), or none',
    );
  }
  return { kind: 'value', value: `${url.protocol}//${url.host}${prefix}` };
}

/** Whether `text` has the form of a registry host: lower case, optional port, no scheme, no path. */
export function isRegistryHostText(text: string): boolean {
  const match = hostPattern.exec(text);
  return text.length <= 255 && match !== null && Number(match[1] ?? 1) <= 65_535;
}

function isHostOrAddress(text: string): boolean {
  return /^[0-9.]+$/.test(text) ? isIPv4(text) : /^[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$/.test(text);
}

function readDuration(text: string): Reading<number> {
  const value = parseDuration(text);
  if (value !== undefined) return { kind: 'value', value };
  return refused('must be a duration with a unit (ms, s, m, h, d), such as 30s or 1h30m');
}

function readTimeout(text: string, options: { zero: boolean }): Reading<number> {
  const reading = readDuration(text);
  if (reading.kind === 'refused') return reading;
  if (reading.value > longestTimer) return refused('must be at most 24d');
  if (reading.value === 0 && !options.zero) return refused('must be longer than 0s');
  return reading;
}

function readSize(text: string, limits: { min: number; minText: string }): Reading<number> {
  const value = /[bB]$/.test(text) ? parseSize(text) : undefined;
  if (value === undefined) return refused('must be a size with a unit (B, KiB, MiB, GiB), such as 4MiB');
  return value < limits.min ? refused(`must be at least ${limits.minText}`) : { kind: 'value', value };
}

/** Reads a size as a number of bytes per second; where `off` is permitted it stands for 0. */
export function readSpeed(
  text: string,
  options: { min: number; minText: string; off?: true },
): Reading<number> {
  const orOff = options.off ? ', or off' : '';
  if (options.off && text === 'off') return { kind: 'value', value: 0 };
  const value = /[bB]$/.test(text) ? parseSize(text) : undefined;
  if (value === undefined)
    return refused(`must be a size per second with a unit (KiB, MiB, GiB), such as 20MiB${orOff}`);
  return value < options.min
    ? refused(`must be at least ${options.minText} (per second)${orOff}`)
    : { kind: 'value', value };
}

/** A string that `read` reads; what it says of an empty string is said of any value that is no string. */
export function readString<T>(read: (text: string) => Reading<T>, annotation: Annotation) {
  // Reading an empty string yields the message that names the form wanted, for values that are no strings at all.
  const form = read('');
  return z
    .string({ error: unlessMissing(form.kind === 'refused' ? form.message : 'must be text') })
    .transform((text, context) => {
      const reading = read(text);
      if (reading.kind === 'value') return reading.value;
      context.addIssue({ code: 'custom', message: reading.message });
      return z.NEVER;
    })
    .meta(annotation);
}

/** For an absent or empty value the caller's words about that serve better than the form wanted. */
export function unlessMissing(message: string): (issue: { readonly input?: unknown }) => string | undefined {
  return (issue) => (issue.input === undefined || issue.input === null ? undefined : message);
}

/** A reading that failed; `message` says what was wanted and quotes nothing. */
export function refused(message: string): { readonly kind: 'refused'; readonly message: string } {
  return { kind: 'refused', message };
}
