import type { Digest } from '../../oci/digest.ts';
import { mediaTypes } from '../../oci/media-types.ts';
import { type ReferrersBody, UpstreamError, type UpstreamResult } from '../result.ts';
import { isReferrersType, mergeReferrers, readTagPage } from './listing-page.ts';
import type { RegistryRequests } from './registry-requests.ts';

/** The longest page of a list of tags, in bytes. */
const maxTagPage = 4 * 1024 * 1024;

/** Lists tags: see `UpstreamClient`. */
export async function listTags(
  requests: RegistryRequests,
  repository: string,
  limit: number,
  signal: AbortSignal,
): Promise<UpstreamResult<readonly string[]>> {
  const path = requests.endpoint(repository, 'tags/list');
  path.searchParams.set('n', String(Math.max(1, Math.min(limit, 1000))));
  const tags = new Set<string>();
  const result = await requests.pages(
    'list-tags',
    repository,
    { path, accept: 'application/json', maxBytes: maxTagPage },
    ({ body }) => {
      const found = readTagPage(body);
      if (!found) return { kind: 'refused', reason: 'its list of tags is malformed' };
      for (const tag of found) if (tags.size < limit) tags.add(tag);
      return { kind: 'value', value: tags.size < limit ? 'more' : 'enough' };
    },
    signal,
  );
  return result.kind === 'ok' ? { ...result, value: [...tags] } : result;
}

/** Lists referrers: see `UpstreamClient`. */
export async function listReferrers(
  requests: RegistryRequests,
  repository: string,
  wanted: { digest: Digest; artifactType: string | undefined; maxBytes: number },
  signal: AbortSignal,
): Promise<UpstreamResult<ReferrersBody>> {
  const { digest, artifactType, maxBytes } = wanted;
  const path = requests.endpoint(repository, `referrers/${digest}`);
  if (artifactType !== undefined) path.searchParams.set('artifactType', artifactType);
  const bodies: Buffer[] = [];
  let filtersApplied: string | undefined;
  let left = maxBytes;
  const result = await requests.pages(
    'list-referrers',
    repository,
    { path, accept: mediaTypes.ociIndex, maxBytes },
    ({ headers, body }) => {
      left -= body.length;
      if (left < 0) return { kind: 'refused', reason: `its list of referrers exceeds ${maxBytes} bytes` };
      if (!isReferrersType(headers['content-type'])) {
        return { kind: 'refused', reason: 'it sent something else where a list of referrers was due' };
      }
      filtersApplied ??= headers['oci-filters-applied'];
      bodies.push(body);
      return { kind: 'value', value: 'more' };
    },
    signal,
  );
  if (result.kind !== 'ok') return result;
  const { upstream } = result;
  const bytes = mergeReferrers(bodies);
  if (bytes) return { ...result, value: { bytes, mediaType: mediaTypes.ociIndex, filtersApplied } };
  const cause = new UpstreamError('its list of referrers is malformed', { upstream, op: 'list-referrers' });
  return { kind: 'unavailable', upstream, cause };
}
