import type { WireResponseHead } from './messages.ts';

/** The longest response head that is read, interim (1xx) heads included. */
export const maxHeadBytes = 64 * 1024;

/** How the bytes after a head are delimited (RFC 9112, section 6.3). */
export type Framing = { kind: 'length'; length: number } | { kind: 'chunked' } | { kind: 'close' };

/** A response that is not strict HTTP/1.x; the message says what is wrong and quotes nothing of it. */
export class MalformedError extends Error {
  readonly code = 'MALFORMED';
}

/** A final response head, how its body is framed, and whether the connection outlives it. */
type ParsedHead = { head: WireResponseHead; framing: Framing; keepAlive: boolean; consumed: number };

const statusLine = /^HTTP\/1\.([01]) ([1-5][0-9]{2})(?: [\t\x20-\x7e\x80-\xff]*)?$/;
const token = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const fieldValue = /^[\t\x20-\x7e\x80-\xff]*$/;
const digits = /^[0-9]{1,16}$/;
const headEnd = Buffer.from('\r\n\r\n');

/** Fields that mean one thing only: two different values of one of these are two different messages. */
const singular: ReadonlySet<string> = new Set([
  'content-length',
  'content-range',
  'content-type',
  'content-encoding',
  'location',
  'transfer-encoding',
]);

/**
 * Reads the first final response head from the start of `bytes`, skipping interim (1xx) heads.
 * `undefined` when more bytes are needed; throws {@link MalformedError} for anything that is not strict:
 * other versions, folded lines, bare CR or LF, control characters, names that are no token, conflicting or
 * doubled framing (RFC 9112, sections 2.2, 5 and 6.3), more than {@link maxHeadBytes}.
 */
export function parseHead(bytes: Buffer): ParsedHead | undefined {
  let from = 0;
  for (;;) {
    const end = bytes.indexOf(headEnd, from);
    if (end < 0 ? bytes.length >= maxHeadBytes : end + 4 > maxHeadBytes) {
      throw new MalformedError('the response head is too long');
    }
    if (end < 0) return undefined;
    const parsed = parseOne(bytes.toString('latin1', from, end), end + 4);
    if (parsed) return parsed;
    from = end + 4;
  }
}

/** Parses one head without its final empty line; `undefined` for an interim one. */
function parseOne(text: string, consumed: number): ParsedHead | undefined {
  const lines = text.split('\r\n');
  const match = statusLine.exec(lines[0] ?? '');
  if (!match) throw new MalformedError('the status line is not HTTP/1.0 or HTTP/1.1');
  const status = Number(match[2]);
  const fields = parseFields(lines);
  if (status === 101) throw new MalformedError('the connection was switched to another protocol');
  if (status < 200) return undefined;
  const http11 = match[1] === '1';
  const framing = frame(status, http11, fields);
  const head: WireResponseHead = {
    status,
    headers: Object.fromEntries(fields),
    length: framing.kind === 'length' ? framing.length : undefined,
  };
  const options = (fields.get('connection') ?? '').toLowerCase().split(',');
  const keepAlive =
    http11 && framing.kind !== 'close' && !options.some((option) => option.trim() === 'close');
  return { head, framing, keepAlive, consumed };
}

function parseFields(lines: readonly string[]): Map<string, string> {
  const fields = new Map<string, string>();
  for (let index = 1; index < lines.length; index++) {
    const line = lines[index] ?? '';
    const colon = line.indexOf(':');
    const name = line.slice(0, Math.max(colon, 0)).toLowerCase();
    const value = line.slice(colon + 1);
    if (!token.test(name)) throw new MalformedError('a header line has no valid name');
    if (!fieldValue.test(value)) throw new MalformedError('a header holds a control character');
    const trimmed = value.replace(/^[\t ]+|[\t ]+$/g, '');
    const earlier = fields.get(name);
    if (earlier === undefined) fields.set(name, trimmed);
    else if (!singular.has(name)) fields.set(name, `${earlier}, ${trimmed}`);
    else if (earlier !== trimmed) throw new MalformedError(`the header ${name} has two values`);
    else if (name === 'transfer-encoding') throw new MalformedError('Transfer-Encoding is given twice');
  }
  return fields;
}

/** RFC 9112, section 6.3, without its leniencies: what could be read in two ways is refused. */
function frame(status: number, http11: boolean, fields: ReadonlyMap<string, string>): Framing {
  const length = fields.get('content-length');
  const coding = fields.get('transfer-encoding');
  if (length !== undefined && coding !== undefined) {
    throw new MalformedError('both Content-Length and Transfer-Encoding are given');
  }
  if (length !== undefined && !(digits.test(length) && Number.isSafeInteger(Number(length)))) {
    throw new MalformedError('Content-Length is not a number');
  }
  if (coding !== undefined && !(http11 && coding.toLowerCase() === 'chunked')) {
    throw new MalformedError('Transfer-Encoding is not "chunked" alone');
  }
  if (status === 204 || status === 304) return { kind: 'length', length: 0 };
  if (length !== undefined) return { kind: 'length', length: Number(length) };
  return coding === undefined ? { kind: 'close' } : { kind: 'chunked' };
}

/** Whether the body is sent under a content coding although only `identity` was accepted. */
export function isEncoded(head: WireResponseHead): boolean {
  const coding = head.headers['content-encoding'];
  return coding !== undefined && coding !== '' && coding.toLowerCase() !== 'identity';
}

/**
 * The bytes of a GET request. `target` is the origin-form or, towards an HTTP proxy, the absolute-form.
 * Throws a `TypeError` when a header could smuggle another line, or names one that this function owns.
 */
export function serializeGet(
  target: string,
  host: string,
  headers: Readonly<Record<string, string>>,
): string {
  let text = `GET ${target} HTTP/1.1\r\nHost: ${host}\r\nAccept-Encoding: identity\r\n`;
  for (const [name, value] of Object.entries(headers)) {
    const lower = name.toLowerCase();
    if (!token.test(name) || !fieldValue.test(value)) throw new TypeError(`invalid request header ${lower}`);
    if (owned.has(lower)) throw new TypeError(`the header ${lower} is not the caller's to set`);
    text += `${name}: ${value}\r\n`;
  }
  return `${text}\r\n`;
}

const owned: ReadonlySet<string> = new Set([
  'host',
  'accept-encoding',
  'connection',
  'content-length',
  'transfer-encoding',
  'proxy-authorization',
]);
