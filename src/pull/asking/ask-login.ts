import type { Reference } from '../../oci/reference.ts';
import { imageName, ownHost, type ResolvedRepository } from '../repository.ts';
import { upstreamsOf } from '../source.ts';
import { verdictError, weigh } from './outcomes.ts';

/** Whether a login may pull; `unknown` when the upstream has no such manifest, or there was nothing to ask about. */
export type LoginAnswer = 'yes' | 'no' | 'unknown';

/**
 * Asks a registry whether a client's own login for it may pull a manifest. Only the registry itself is asked: a mirror
 * of it is somebody else, to whom the login was not given.
 * @param authorization the client's `Authorization` header (Basic)
 * @throws OciError `UNAVAILABLE` or `TOOMANYREQUESTS` when the registry cannot tell now
 */
export async function askAboutLogin(
  target: ResolvedRepository,
  authorization: string,
  reference: Reference | undefined,
  signal: AbortSignal,
): Promise<LoginAnswer> {
  const own = ownHost(target.registry);
  const upstream = upstreamsOf(target.registry).find(({ origin }) => new URL(origin).host === own);
  if (upstream === undefined || reference === undefined) return 'unknown';
  const result = await upstream.mayPull(target.repository, reference, authorization, signal);
  switch (result.kind) {
    case 'ok':
      return 'yes';
    case 'denied':
      return 'no';
    case 'missing':
      return 'unknown';
    case 'limited':
    case 'unavailable':
      throw verdictError(weigh([result]), `the login for ${imageName(target)}`, 'NAME_UNKNOWN');
    default:
      return result satisfies never;
  }
}
