import { BlockList, isIP } from 'node:net';

/** The outbound proxies, and the hosts that are reached without one. */
export type ProxyOptions = {
  readonly https?: string;
  readonly http?: string;
  readonly noProxy: readonly string[];
};

/**
 * The proxy URL for a request, if any. A `noProxy` entry is `*`, a host (which stands for the names under it
 * too), `.suffix` or `*.suffix` (only the names under it), each optionally with `:port`; or a block of addresses
 * (`10.0.0.0/8`, `fd00::/8`; RFC 4632), which holds for hosts that are written as addresses: a name is not looked
 * up for it. An entry that is none of these exempts nothing.
 */
export function proxyFor(url: URL, options: ProxyOptions | undefined): string | undefined {
  const proxy = url.protocol === 'https:' ? options?.https : options?.http;
  if (!options || proxy === undefined || proxy === '') return undefined;
  return options.noProxy.some((entry) => exempts(entry, url)) ? undefined : proxy;
}

function exempts(text: string, url: URL): boolean {
  const entry = text.trim().toLowerCase();
  if (entry === '*') return true;
  if (entry.includes('/')) return isInBlock(unbracketed(url.hostname), entry);
  const match = /^(\[[0-9a-f:.]+\]|[0-9a-f:]*:[0-9a-f:.]*:[0-9a-f:.]*|[^:]+)(?::([0-9]+))?$/.exec(entry);
  if (!match) return false;
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  if (match[2] !== undefined && match[2] !== port) return false;
  const host = unbracketed(url.hostname);
  const name = unbracketed((match[1] ?? '').replace(/^\*(?=\.)/, ''));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

/** Whether `host` is an address in the block; an IPv4 address written as IPv6 counts as IPv4. */
function isInBlock(host: string, block: string): boolean {
  const [, net = '', length = ''] = /^([^/]+)\/(\d{1,3})$/.exec(block) ?? [];
  const family = familyOf(net);
  const own = familyOf(host);
  if (!family || !own || Number(length) > (family === 'ipv4' ? 32 : 128)) return false;
  // BlockList would see an IPv4 address as one of ::ffff:0:0/96.
  if (family === 'ipv6' && own === 'ipv4') return false;
  const list = new BlockList();
  list.addSubnet(net, Number(length), family);
  return list.check(host, own);
}

function familyOf(address: string): 'ipv4' | 'ipv6' | undefined {
  const version = isIP(address);
  return version === 0 ? undefined : version === 4 ? 'ipv4' : 'ipv6';
}

function unbracketed(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}
