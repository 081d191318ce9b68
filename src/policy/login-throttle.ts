import { LRUCache } from 'lru-cache';
import type { Clock } from '../lib/clock.ts';

/** Clients remembered at once; the one heard of longest ago is forgotten first. */
const mostClients = 10_000;

/** Failed logins that a client has, and the milliseconds in which they come back. */
const usual = { attempts: 10, period: 60_000 };

type Bucket = { left: number; at: number };

/**
 * Bounds failed logins of each client: a bucket of `attempts` that fills up again over `period`. An attempt is
 * taken before the password is looked at, so that many at once count too, and given back when it was right.
 */
export class LoginThrottle {
  readonly #clock: Clock;
  readonly #attempts: number;
  readonly #period: number;
  readonly #buckets = new LRUCache<string, Bucket>({ max: mostClients });

  /** @param options.period milliseconds in which `attempts` come back; ten a minute unless given */
  constructor(deps: { clock: Clock }, options: { attempts: number; period: number } = usual) {
    this.#clock = deps.clock;
    this.#attempts = options.attempts;
    this.#period = options.period;
  }

  /** Takes an attempt of a client (an IP address); when none is left, the whole seconds until the next. */
  take(client: string): number | undefined {
    const bucket = this.#bucket(throttleKey(client));
    if (bucket.left < 1) return Math.max(1, Math.ceil(((1 - bucket.left) * this.#each) / 1000));
    bucket.left -= 1;
    return undefined;
  }

  /** Gives an attempt back: it was no failure. */
  giveBack(client: string): void {
    const bucket = this.#bucket(throttleKey(client));
    bucket.left = Math.min(this.#attempts, bucket.left + 1);
  }

  /** Milliseconds in which one attempt comes back. */
  get #each(): number {
    return this.#period / this.#attempts;
  }

  #bucket(key: string): Bucket {
    const now = this.#clock.now();
    let bucket = this.#buckets.get(key);
    if (bucket === undefined) {
      bucket = { left: this.#attempts, at: now };
      this.#buckets.set(key, bucket);
    }
    const passed = Math.max(0, now - bucket.at);
    bucket.left = Math.min(this.#attempts, bucket.left + passed / this.#each);
    bucket.at = now;
    return bucket;
  }
}

/** What counts as one client: an IPv4 address, or an IPv6 network of 64 bits, which one host has to itself. */
export function throttleKey(address: string): string {
  const [plain = ''] = address.toLowerCase().split('%');
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(plain)?.[1];
  if (mapped !== undefined) return mapped;
  if (!plain.includes(':')) return plain;
  const [before = '', after] = plain.split('::');
  const head = groupsOf(before);
  const tail = groupsOf(after ?? '');
  const missing = after === undefined ? 0 : Math.max(0, 8 - head.length - tail.length);
  const groups = [...head, ...Array.from({ length: missing }, () => '0'), ...tail];
  return `${groups
    .slice(0, 4)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`;
}

function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':');
}
