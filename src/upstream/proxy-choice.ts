/** The outbound proxies, and the hosts that are reached without one. */
export type ProxyOptions = {
  readonly https?: string;
  readonly http?: string;
  readonly noProxy: readonly string[];
};

/**
 * The proxy URL for a request, if any. A `noProxy` entry is `*`, a host (which stands for the names under it
 * too), `.suffix` or `*.suffix` (only the names under it), each optionally with `:port`.
 */
export function proxyFor(url: URL, options: ProxyOptions | undefined): string | undefined {
  const proxy = url.protocol === 'https:' ? options?.https : options?.http;
  if (!options || proxy === undefined || proxy === '') return undefined;
  return options.noProxy.some((entry) => exempts(entry, url)) ? undefined : proxy;
}

function exempts(text: string, url: URL): boolean {
  const entry = text.trim().toLowerCase();
  if (entry === '*') return true;
  const match = /^(\[[0-9a-f:.]+\]|[0-9a-f:]*:[0-9a-f:.]*:[0-9a-f:.]*|[^:]+)(?::([0-9]+))?$/.exec(entry);
  if (!match) return false;
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  if (match[2] !== undefined && match[2] !== port) return false;
  const host = unbracketed(url.hostname);
  const name = unbracketed((match[1] ?? '').replace(/^\*(?=\.)/, ''));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

function unbracketed(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}
