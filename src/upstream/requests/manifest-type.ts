import { bareMediaType, isManifestMediaType, isSchema1MediaType } from '../../oci/media-types.ts';

/** The media type to read a manifest as, or why there is none. */
export type ManifestType =
  | { readonly kind: 'value'; readonly value: string }
  | { readonly kind: 'refused'; readonly reason: string };

const generic: ReadonlySet<string> = new Set([
  '',
  'application/json',
  'application/octet-stream',
  'text/plain',
]);

/**
 * The bare media type of a manifest: the header's where it names a manifest type (schema 1 included, for the
 * caller to refuse), else, under a generic header, what the body itself says. Nothing is guessed from its shape.
 */
export function manifestType(header: string | undefined, body: Buffer): ManifestType {
  const named = bareMediaType(header ?? '');
  if (isManifestMediaType(named) || isSchema1MediaType(named)) return { kind: 'value', value: named };
  if (named === 'text/html') return html;
  const own = generic.has(named) ? ownMediaType(body) : undefined;
  if (own !== undefined && isManifestMediaType(own)) return { kind: 'value', value: own };
  return { kind: 'refused', reason: `it sent ${shown(named)} where a manifest was due` };
}

/** The bare media type of a HEAD's answer, whatever it is; `''` when absent. HTML is a portal's page, not an answer. */
export function manifestHeadType(header: string | undefined): ManifestType {
  const named = bareMediaType(header ?? '');
  return named === 'text/html' ? html : { kind: 'value', value: named };
}

const html: ManifestType = { kind: 'refused', reason: 'it sent a web page where a manifest was due' };

function shown(named: string): string {
  if (named === '') return 'no media type';
  return /^[a-z0-9][a-z0-9!#$&^_.+-]*\/[a-z0-9][a-z0-9!#$&^_.+-]*$/.test(named)
    ? named.slice(0, 100)
    : 'a malformed media type';
}

function ownMediaType(body: Buffer): string | undefined {
  try {
    const parsed: unknown = JSON.parse(body.toString('utf8'));
    if (typeof parsed !== 'object' || parsed === null || !('mediaType' in parsed)) return undefined;
    return typeof parsed.mediaType === 'string' ? parsed.mediaType : undefined;
  } catch {
    return undefined;
  }
}
