import { OciError, type OciErrorCode } from '../oci/errors.ts';
import type { UpstreamClient } from '../upstream/client.ts';

/** Where the content of a registry comes from. */
export type Source =
  /** From its upstreams, in the configured order: what is lacking here is fetched there. */
  | { readonly kind: 'mirror'; readonly upstreams: readonly UpstreamClient[] }
  /** From archives that were carried in. */
  | { readonly kind: 'offline' }
  /** From clients that pushed it here. */
  | { readonly kind: 'hosted' };

/** A registry, as far as its source goes. */
type Sourced = { readonly name: string; readonly source: Source };

/** Whom to ask for what is lacking: nobody, unless the registry is mirrored. */
export function upstreamsOf({ source }: Sourced): readonly UpstreamClient[] {
  return source.kind === 'mirror' ? source.upstreams : [];
}

/** Whether what is stored of a registry is all there is: no upstream is ever asked, and tags are what they are here. */
export function isClosed({ source }: Sourced): boolean {
  return source.kind !== 'mirror';
}

/**
 * The error for something of a closed registry that is not stored.
 * @param what what was asked for, as the message names it
 * @param image the image that would bring it, as `entrepot export` takes it
 */
export function absentError(source: Source, code: OciErrorCode, what: string, image: string): OciError {
  if (source.kind === 'hosted') return new OciError(code, `${what} is not stored here: push ${image} first`);
  return new OciError(
    code,
    `this mirror is offline and ${what} is not stored here: where there is a connection, run ` +
      `"entrepot export ${image} -o bundle.tar", then "entrepot import bundle.tar" here`,
  );
}

/**
 * Says no to work that consists of asking upstreams.
 * @throws OciError `UNSUPPORTED` for a closed registry
 */
export function requireUpstreams({ name, source }: Sourced): void {
  if (source.kind === 'mirror') return;
  const why =
    source.kind === 'hosted'
      ? `${name} is hosted here, so there is nowhere to fetch from: push images to it`
      : `this mirror is offline (offline: true in its configuration), so nothing can be fetched from ${name}: ` +
        'bring images with "entrepot export" and "entrepot import"';
  throw new OciError('UNSUPPORTED', why);
}
