import type { Digest } from '../oci/digest.ts';
import { OciError, type OciErrorCode } from '../oci/errors.ts';
import { isDerivedTag, type Tag } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';
import type { Metadata } from '../store/metadata.ts';
import type { Registry } from './repository.ts';

/**
 * The error for something that is not stored where no upstream is asked.
 * @param what what was asked for, as the message names it
 * @param bundle the image that `entrepot export` is to be given at a site with a connection
 */
export function offlineError(code: OciErrorCode, what: string, bundle: string): OciError {
  return new OciError(
    code,
    `this mirror is offline and ${what} is not stored here: where there is a connection, run ` +
      `"entrepot export ${bundle} -o bundle.tar", then "entrepot import bundle.tar" here`,
  );
}

/** A tag that is known to lead to a digest, or to have done so: the image whose bundle holds it. */
export async function tagLeadingTo(
  metadata: Pick<Metadata, 'links'>,
  key: RepositoryKey,
  digest: Digest,
): Promise<Tag | undefined> {
  const leads = await metadata.links.leadsTo(key, digest, { current: false });
  return leads.map(({ tag }) => tag).find((tag) => tag !== undefined && !isDerivedTag(tag));
}

/**
 * Says no to work that consists of asking upstreams.
 * @throws OciError `UNSUPPORTED` for a registry whose upstreams are never asked
 */
export function requireOnline({ name, offline }: Pick<Registry, 'name' | 'offline'>): void {
  if (offline !== true) return;
  throw new OciError(
    'UNSUPPORTED',
    `this mirror is offline (offline: true in its configuration), so nothing can be fetched from ${name}: ` +
      'bring images with "entrepot export" and "entrepot import"',
  );
}
