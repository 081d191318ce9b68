import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { isIP, isIPv6, type LookupFunction } from 'node:net';
import { type AddressClass, classOfAddress } from './address-class.ts';
import { bareHost, writtenClass } from './hosts.ts';

/** What the connections on behalf of one upstream are judged by; plain data, that can be posted to a worker. */
export type EgressRule = {
  /** The upstream's origin. */
  readonly upstream: string;
  /** Further origins that the operator wrote down. */
  readonly trusted: readonly string[];
};

/** A connection that is not opened; the message is a plain clause that says where to and why not. */
export class EgressError extends Error {
  readonly code = 'EGRESS';
}

/** Where a connection is to go; `host` without the brackets of an IPv6 address. */
type Destination = { readonly host: string; readonly port: number; readonly tls: boolean };

/**
 * Decides on every connection that is opened on behalf of one upstream: to itself, to where it redirects, to the
 * realm that it names. Hosts that the operator wrote down may be anywhere. What an upstream names may be
 * at a public address; at a private one only if the upstream has a private or loopback address; at this
 * machine or a link-local address only if all addresses of the upstream are such. Plain http needs an upstream
 * that is plain http.
 *
 * `admit` is asked before each connection, `lookup` is what the connection resolves its host with: the addresses that
 * were judged are those that it gets, and those that were refused are left out. Behind an outbound proxy, which
 * resolves names itself, `admit` alone decides. The connection to the proxy is none of this.
 */
export class Egress {
  /** For the `lookup` option of `net.connect` and `tls.connect`; fails with an {@link EgressError}. */
  readonly lookup: LookupFunction;
  readonly #upstream: URL;
  readonly #origins: ReadonlySet<string>;
  readonly #hosts: ReadonlySet<string>;
  readonly #resolve: LookupFunction;

  /** `resolve` is the system's name lookup unless given. */
  constructor(rule: EgressRule, resolve: LookupFunction = systemLookup) {
    const written = [rule.upstream, ...rule.trusted].map((origin) => new URL(origin));
    this.#upstream = new URL(rule.upstream);
    this.#origins = new Set(written.map(({ origin }) => origin));
    this.#hosts = new Set(written.map(({ hostname }) => bareHost(hostname)));
    this.#resolve = resolve;
    this.lookup = (host, options, callback) => {
      resolve(host, options, (error, found, family) => {
        if (error !== null) {
          callback(error, found, family);
          return;
        }
        const addresses = typeof found === 'string' ? [{ address: found, family: family ?? 0 }] : found;
        this.#judge(host, addresses).then(
          (fine) => {
            if (typeof found !== 'string') callback(null, fine);
            else callback(null, fine[0]?.address ?? '', fine[0]?.family);
          },
          (refusal: Error) => callback(refusal, []),
        );
      });
    };
  }

  /** Judges the scheme, and a host that is an address or is known to be this machine. Rejects with {@link EgressError}. */
  async admit({ host, port, tls }: Destination): Promise<void> {
    if (!tls && this.#upstream.protocol !== 'http:') {
      const { origin } = new URL(`http://${isIPv6(host) ? `[${host}]` : host}:${port}`);
      if (!this.#origins.has(origin)) {
        throw new EgressError(`a connection to ${origin} is refused: it is not https`);
      }
    }
    if (isIP(host) !== 0) await this.#judge(host, [{ address: host, family: isIP(host) }]);
    else if (writtenClass(host) === 'loopback') {
      await this.#judge(host, [{ address: '127.0.0.1', family: 4 }]);
    }
  }

  /** The addresses of a host that may be connected to; throws an {@link EgressError} when none is. */
  async #judge(host: string, addresses: readonly LookupAddress[]): Promise<LookupAddress[]> {
    if (this.#hosts.has(host)) return [...addresses];
    const classes = addresses.map(({ address }) => classOfAddress(address));
    if (classes.every((found) => found === 'public')) return [...addresses];
    const own = await this.#ownClasses();
    const fine = addresses.filter(({ address }) => permits(own, classOfAddress(address)));
    const [refused] = addresses;
    if (fine.length > 0 || refused === undefined) return fine;
    const where = isIP(host) === 0 ? `${host} is at` : 'it goes to';
    throw new EgressError(
      `a connection to ${host} is refused: ${where} the ${classOfAddress(refused.address)} address ` +
        `${refused.address}, where the upstream itself is not`,
    );
  }

  /** The classes of the upstream's own addresses; none when they cannot be told. */
  #ownClasses(): Promise<readonly AddressClass[]> {
    const host = bareHost(this.#upstream.hostname);
    const written = writtenClass(host);
    if (written !== undefined) return Promise.resolve([written]);
    return new Promise((resolve) => {
      this.#resolve(host, { all: true }, (error, found) => {
        const addresses = error !== null || typeof found === 'string' ? [] : found;
        resolve(addresses.map(({ address }) => classOfAddress(address)));
      });
    });
  }
}

/** The rule for an upstream; `trusted` holds origins, or `host[:port]` for https. */
export function egressRule(upstream: URL, trusted: readonly string[]): EgressRule {
  const origins = trusted.flatMap((entry) => trustedOrigin(entry) ?? []);
  return { upstream: upstream.origin, trusted: origins };
}

/** The origin that an entry of `trustedRealms` stands for: `host[:port]` means https. */
export function trustedOrigin(entry: string): string | undefined {
  return URL.parse(/^https?:\/\//i.test(entry) ? entry : `https://${entry}`)?.origin;
}

/**
 * Whether an upstream with addresses of these classes may lead to an address of another class. One private address of
 * its own suffices for private ones. For this machine or its link, all of its own must be of that class.
 */
function permits(own: readonly AddressClass[], wanted: AddressClass): boolean {
  if (wanted === 'public') return true;
  if (wanted === 'private') return own.some((one) => one === 'private' || one === 'loopback');
  return own.length > 0 && own.every((one) => one === wanted);
}
