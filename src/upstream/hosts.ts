import { BlockList, isIP } from 'node:net';

const loopback = new BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

const linkLocal = new BlockList();
linkLocal.addSubnet('169.254.0.0', 16, 'ipv4');
linkLocal.addSubnet('fe80::', 10, 'ipv6');

/** The ranges of the IANA special-purpose registries that no public service is reached at. */
const special = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(net, prefix, 'ipv4');
}
for (const [net, prefix] of [
  ['::', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2002::', 16],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  special.addSubnet(net, prefix, 'ipv6');
}

/** Whether a URL's host is this machine: a loopback address, `localhost` or a name under it. */
export function isLoopbackHost(url: URL): boolean {
  const name = url.hostname.toLowerCase();
  return name === 'localhost' || name.endsWith('.localhost') || holds(loopback, address(url));
}

/** Whether a URL's host is written as a link-local address, where clouds keep their metadata services. */
export function isLinkLocalHost(url: URL): boolean {
  return holds(linkLocal, address(url));
}

/** Whether a URL's host is written as an address that is not public (private, loopback, link-local, reserved). */
export function isPrivateHost(url: URL): boolean {
  return isLoopbackHost(url) || holds(special, address(url));
}

/** Whether a URL's host is written as an address. */
export function isAddress(url: URL): boolean {
  return isIP(address(url)) !== 0;
}

function address(url: URL): string {
  return url.hostname.startsWith('[') ? url.hostname.slice(1, -1) : url.hostname;
}

function holds(list: BlockList, text: string): boolean {
  const family = isIP(text);
  return family !== 0 && list.check(text, family === 4 ? 'ipv4' : 'ipv6');
}
