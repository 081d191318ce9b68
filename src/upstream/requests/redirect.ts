import { isLinkLocalHost, isLoopbackHost } from '../egress/hosts.ts';

/** Where a redirect leads, or why it is not followed. */
export type RedirectVerdict =
  | { readonly kind: 'follow'; readonly url: URL }
  | { readonly kind: 'refused'; readonly reason: string };

const statuses: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** Whether a status redirects a GET or HEAD. */
export function isRedirect(status: number): boolean {
  return statuses.has(status);
}

/**
 * Judges the `Location` of a redirect that `current` answered with, on behalf of `upstream`. Refused are: none
 * or no http URL, credentials in it, plain http unless the upstream itself is, this machine and link-local
 * addresses unless the upstream is there too. The caller sends its credentials only within the upstream's origin.
 */
export function judgeRedirect(location: string | undefined, current: URL, upstream: URL): RedirectVerdict {
  const url = location === undefined || location === '' ? null : URL.parse(location, current.href);
  if (!url) return refuse('it redirects to nowhere');
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    return refuse('it redirects to something that is not http');
  if (url.username !== '' || url.password !== '') return refuse('it redirects to a URL with credentials');
  if (url.protocol === 'http:' && upstream.protocol !== 'http:')
    return refuse('it redirects from https to http');
  if (isLoopbackHost(url) && !isLoopbackHost(upstream)) return refuse('it redirects to this machine');
  if (isLinkLocalHost(url) && !isLinkLocalHost(upstream))
    return refuse('it redirects to a link-local address');
  url.hash = '';
  return { kind: 'follow', url };
}

function refuse(reason: string): RedirectVerdict {
  return { kind: 'refused', reason };
}
