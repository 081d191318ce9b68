import { isIP } from 'node:net';
import { type AddressClass, classOfAddress } from './address-class.ts';

/**
 * The class that a host is known to have by the way it is written: an address, or `localhost` and the names under
 * it (RFC 6761, section 6.3). `undefined` for any other name. IPv6 addresses with or without brackets.
 */
export function writtenClass(host: string): AddressClass | undefined {
  const name = bareHost(host.toLowerCase()).replace(/\.$/, '');
  if (name === 'localhost' || name.endsWith('.localhost')) return 'loopback';
  return isIP(name) === 0 ? undefined : classOfAddress(name);
}

/** A URL's host without the brackets of an IPv6 address. */
export function bareHost(host: string): string {
  return host.startsWith('[') ? host.slice(1, -1) : host;
}

/** Whether a URL's host is this machine: a loopback address, `localhost` or a name under it. */
export function isLoopbackHost(url: URL): boolean {
  return writtenClass(url.hostname) === 'loopback';
}

/** Whether a URL's host is written as a link-local address, where clouds keep their metadata services. */
export function isLinkLocalHost(url: URL): boolean {
  return writtenClass(url.hostname) === 'link-local';
}

/** Whether a URL's host is written as an address that is not public (private, loopback, link-local, reserved). */
export function isPrivateHost(url: URL): boolean {
  return (writtenClass(url.hostname) ?? 'public') !== 'public';
}

/** Whether a URL's host is written as an address. */
export function isAddress(url: URL): boolean {
  return isIP(bareHost(url.hostname)) !== 0;
}
