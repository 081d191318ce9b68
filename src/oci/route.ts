import { type Digest, parseDigest } from './digest.ts';
import type { OciErrorCode } from './errors.ts';
import { parseReference, type Reference } from './reference.ts';

/** Where a repository is said to be: the path's name, and the registry if a mirror path or `ns` names one. */
export type Address = {
  /** The `<name>` as it stands in the path: may begin with a registry host; not yet checked against the grammar. */
  readonly name: string;
  /** The registry of a mirror path (`/docker.io/v2/...`, dockerd's `registry-mirrors` with a path). */
  readonly mirrorPath: string | undefined;
  /** The `ns` query value (containerd's `hosts.toml`). */
  readonly ns: string | undefined;
};

/** What a request's path asks for (distribution-spec 1.1, "Endpoints"). */
export type Route =
  | { readonly kind: 'base' }
  | { readonly kind: 'manifest'; readonly address: Address; readonly reference: Reference }
  | { readonly kind: 'blob'; readonly address: Address; readonly digest: Digest }
  | {
      readonly kind: 'tags';
      readonly address: Address;
      readonly n: number | undefined;
      readonly last: string | undefined;
    }
  | {
      readonly kind: 'referrers';
      readonly address: Address;
      readonly digest: Digest;
      readonly artifactType: string | undefined;
    }
  | { readonly kind: 'upload'; readonly address: Address }
  | { readonly kind: 'invalid'; readonly code: OciErrorCode; readonly message: string }
  | { readonly kind: 'unknown' };

/** Longer than any valid name with its host and reference; refused before anything is matched. */
const longestPath = 1024;

/**
 * Parses a request target (path and query, exactly as on the request line) into a {@link Route}.
 * The path is never percent-decoded or normalised, except that `%3A` stands for the colon of a reference: dot
 * segments and encoded slashes are therefore invalid names, not other paths.
 */
export function parseRoute(target: string): Route {
  const mark = target.indexOf('?');
  const path = mark < 0 ? target : target.slice(0, mark);
  const query = new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1));
  if (path.length > longestPath) return invalid('NAME_INVALID', 'the path is too long');
  const segments = path.split('/');
  if (segments.shift() !== '') return { kind: 'unknown' };
  const mirrorPath = segments[0] !== 'v2' && segments[1] === 'v2' ? segments.shift() : undefined;
  if (segments.shift() !== 'v2') return { kind: 'unknown' };
  if (segments.length === 0 || (segments.length === 1 && segments[0] === '')) return { kind: 'base' };
  return parseEndpoint(segments, { mirrorPath, ns: nonEmpty(query.get('ns')) }, query);
}

type Place = { readonly mirrorPath: string | undefined; readonly ns: string | undefined };

function parseEndpoint(segments: readonly string[], place: Place, query: URLSearchParams): Route {
  const [beforeLast = '', last = ''] = segments.slice(-2);
  const address = (drop: number): Address => ({ ...place, name: segments.slice(0, -drop).join('/') });
  if (segments.length > 2 && beforeLast === 'blobs' && last === 'uploads')
    return { kind: 'upload', address: address(2) };
  if (segments.length > 3 && segments.at(-3) === 'blobs' && beforeLast === 'uploads') {
    return { kind: 'upload', address: address(3) };
  }
  if (segments.length < 3) return { kind: 'unknown' };
  switch (beforeLast) {
    case 'manifests': {
      const reference = parseReference(decodeColon(last));
      if (reference === undefined) return invalidReference(last);
      return { kind: 'manifest', address: address(2), reference };
    }
    case 'blobs': {
      const digest = parseDigest(decodeColon(last));
      if (digest === undefined) return invalidReference(last);
      return { kind: 'blob', address: address(2), digest };
    }
    case 'referrers': {
      const digest = parseDigest(decodeColon(last));
      if (digest === undefined) return invalidReference(last);
      const artifactType = nonEmpty(query.get('artifactType'));
      return { kind: 'referrers', address: address(2), digest, artifactType };
    }
    case 'tags': {
      if (last !== 'list') return { kind: 'unknown' };
      const n = nonEmpty(query.get('n'));
      if (n !== undefined && !/^[0-9]{1,9}$/.test(n)) {
        return invalid('PAGINATION_NUMBER_INVALID', 'n is not a whole number of at most nine digits');
      }
      return {
        kind: 'tags',
        address: address(2),
        n: n === undefined ? undefined : Number(n),
        last: nonEmpty(query.get('last')),
      };
    }
    default:
      return { kind: 'unknown' };
  }
}

function decodeColon(text: string): string {
  return text.replace(/%3a/i, ':');
}

function nonEmpty(value: string | null): string | undefined {
  return value === null || value === '' ? undefined : value;
}

function invalidReference(text: string): Route {
  if (text.includes(':') || /%(?:25)*3a/i.test(text)) {
    return invalid('DIGEST_INVALID', 'the digest is not sha256 or sha512 followed by lower-case hex');
  }
  return invalid('MANIFEST_UNKNOWN', 'the reference is neither a tag nor a digest');
}

function invalid(code: OciErrorCode, message: string): Route {
  return { kind: 'invalid', code, message };
}
