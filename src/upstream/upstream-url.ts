/**
 * Reads an upstream's URL. `base` is what it puts before every repository: empty, or path components with a slash
 * behind. Throws a `TypeError` for another scheme than https (or http with `insecure`), for credentials (they
 * have settings of their own), and for a query.
 */
export function parseUpstreamUrl(options: { readonly url: string; readonly insecure: boolean }): {
  url: URL;
  base: string;
} {
  const url = new URL(options.url);
  if (url.protocol !== 'https:' && url.protocol !== 'http:')
    throw new TypeError('an upstream URL is https or http');
  if (url.protocol === 'http:' && !options.insecure) {
    throw new TypeError(`the upstream ${url.host} is plain http: set insecure to use it`);
  }
  if (url.username !== '' || url.password !== '')
    throw new TypeError('credentials do not belong in an upstream URL');
  if (url.search !== '' || url.hash !== '') throw new TypeError('an upstream URL has no query');
  const path = url.pathname.replace(/^\/+|\/+$/g, '');
  return { url, base: path === '' ? '' : `${path}/` };
}
