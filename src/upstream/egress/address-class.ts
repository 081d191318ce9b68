import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * Where an address leads: `loopback` to this machine; `link-local` to this link, or to where a cloud answers for its
 * metadata service, whatever range that is in; `private` to whatever else is not reached over the Internet
 * (the IANA special-purpose registries); `public` anywhere else.
 */
export type AddressClass = 'public' | 'private' | 'loopback' | 'link-local';

const loopback = listOf([
  ['127.0.0.0', 8],
  // A connection to 0.0.0.0 is one to this machine.
  ['0.0.0.0', 8],
  ['::', 127],
]);

const linkLocal = listOf([
  ['169.254.0.0', 16],
  ['fe80::', 10],
  // The metadata services of Alibaba Cloud, Oracle, Azure, AWS and Google outside of the range for it.
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
  ['168.63.129.16', 32],
  ['fd00:ec2::254', 128],
  ['fd20:ce::254', 128],
]);

const special = listOf([
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['fc00::', 7],
  ['fec0::', 10],
  ['ff00::', 8],
]);

/** The class of an IP address; an IPv6 address that stands for an IPv4 one has its class. No address is `private`. */
export function classOfAddress(text: string): AddressClass {
  const address = text.replace(/%.*$/, '');
  const v6 = isIPv6(address);
  if (!v6 && !isIPv4(address)) return 'private';
  const inner = v6 ? embedded(groupsOf(address)) : undefined;
  if (inner !== undefined) return classOfAddress(inner);
  const family = v6 ? 'ipv6' : 'ipv4';
  if (loopback.check(address, family)) return 'loopback';
  if (linkLocal.check(address, family)) return 'link-local';
  return special.check(address, family) ? 'private' : 'public';
}

/** The IPv4 address within a mapped, compatible, translated (RFC 6052, RFC 7915) or 6to4 IPv6 address. */
function embedded(groups: readonly number[]): string | undefined {
  const [first = 0, second = 0, third = 0] = groups;
  const prefix = groups.slice(0, 6).map((group) => group.toString(16));
  if (first === 0x2002) return dotted(second, third);
  const translated = ['0:0:0:0:0:ffff', '0:0:0:0:ffff:0', '64:ff9b:0:0:0:0', '0:0:0:0:0:0'];
  if (!translated.includes(prefix.join(':'))) return undefined;
  const [high = 0, low = 0] = groups.slice(6);
  // The unspecified address and ::1 are their own.
  return first === 0 && prefix[5] === '0' && prefix[4] === '0' && high === 0 && low <= 1
    ? undefined
    : dotted(high, low);
}

function dotted(high: number, low: number): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): readonly number[] {
  // The URL parser writes every address the same way (RFC 5952), without a dotted part.
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::').map((part) => part.split(':').filter((hex) => hex !== ''));
  const left = head === '' ? [] : head;
  const right = tail ?? [];
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].map((hex) => Number.parseInt(hex, 16));
}

function listOf(nets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [net, prefix] of nets) list.addSubnet(net, prefix, isIPv6(net) ? 'ipv6' : 'ipv4');
  return list;
}
