const longest = 8192;
const linkValue =
  /[ \t,]*<([^<>"\s]*)>((?:[ \t]*;[ \t]*[A-Za-z0-9*-]+(?:[ \t]*=[ \t]*(?:"[^"]*"|[^",;\s]*))?)*)/y;
const relNext = /;[ \t]*rel[ \t]*=[ \t]*(?:"(?:[^"]* )?next(?: [^"]*)?"|next(?![^,;\s]))/i;

/**
 * The URL of the next page of a listing, from its `Link` header (RFC 8288), resolved against `current`.
 * `undefined` when there is none or when it leaves the origin: credentials for one host page through one host.
 */
export function nextPage(link: string | undefined, current: URL): URL | undefined {
  if (link === undefined || link.length > longest) return undefined;
  linkValue.lastIndex = 0;
  for (let match = linkValue.exec(link); match; match = linkValue.exec(link)) {
    if (!relNext.test(match[2] ?? '')) continue;
    const target = URL.parse(match[1] ?? '', current.href);
    if (!target || target.origin !== current.origin || target.username !== '' || target.password !== '')
      return undefined;
    return target;
  }
  return undefined;
}
