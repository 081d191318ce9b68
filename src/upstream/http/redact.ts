/** A URL as it may be logged: without userinfo, query (signatures, tokens) and fragment. */
export function redactUrl(url: URL): string {
  return `${url.protocol}//${url.host}${url.pathname}`;
}
