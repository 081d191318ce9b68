import type { IncomingHttpHeaders } from 'node:http';
import { within } from './gate.ts';

/** What a registry request is about. */
export type RequestKind = 'ping' | 'manifest' | 'blob' | 'tags' | 'referrers' | 'token' | 'other';

/** One request that a fake server received, and how far its answer went. */
export type JournalEntry = {
  readonly method: string;
  /** The path as it came over the wire, without the query. */
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingHttpHeaders;
  readonly kind: RequestKind;
  readonly repository: string | undefined;
  /** The tag or digest of a manifest, the digest of a blob or of a referrers' subject. */
  readonly reference: string | undefined;
  /** The status sent; 0 while none was. */
  status: number;
  /** Body bytes handed to the socket. */
  bytes: number;
  /** `cut`: the answer was broken off, by a fault or by the client. */
  state: 'open' | 'done' | 'cut';
  /** When it came, as the turn of its journal: a number that each arrival and each written piece raises by one. */
  began: number;
  /** The turn at which a piece of its body was last handed to the socket; `began` before the first. */
  wrote: number;
};

/** Which entries are meant: equal in every given field, or a predicate. */
export type JournalFilter =
  | Partial<Pick<JournalEntry, 'method' | 'path' | 'kind' | 'repository' | 'reference' | 'status' | 'state'>>
  | ((entry: JournalEntry) => boolean);

const notPing = ({ kind }: JournalEntry): boolean => kind !== 'ping';

/** The requests that a fake server received, in order of arrival. */
export class Journal {
  readonly entries: JournalEntry[] = [];
  #waiters = new Set<() => void>();
  #turn = 0;

  /** Takes note of a request. */
  add(entry: JournalEntry): void {
    this.#turn += 1;
    entry.began = this.#turn;
    entry.wrote = this.#turn;
    this.entries.push(entry);
    this.touch();
  }

  /** Takes note of body bytes that were handed to the socket. */
  wrote(entry: JournalEntry, bytes: number): void {
    this.#turn += 1;
    entry.wrote = this.#turn;
    entry.bytes += bytes;
    this.touch();
  }

  /** Tells the waiters that an entry changed. */
  touch(): void {
    for (const check of [...this.#waiters]) check();
  }

  /** The entries that match; by default all but pings, with which the server probes an idle upstream on its own. */
  filter(filter: JournalFilter = notPing): JournalEntry[] {
    return this.entries.filter((entry) => matches(entry, filter));
  }

  /** How many entries match; see {@link Journal.filter}. */
  count(filter: JournalFilter = notPing): number {
    return this.filter(filter).length;
  }

  /** Body bytes that were sent in answer to the requests that match. */
  bytes(filter: JournalFilter): number {
    return this.filter(filter).reduce((sum, entry) => sum + entry.bytes, 0);
  }

  /** Body bytes of a blob that were sent, over all its GET requests. */
  blobBytes(digest: string): number {
    return this.bytes({ method: 'GET', kind: 'blob', reference: digest });
  }

  /**
   * How many of the matching requests were being answered at one time, at most. A request counts from its arrival
   * to the last piece written for it, so that a connection closed a moment ago is not counted with its successor.
   */
  mostAtOnce(filter: JournalFilter = {}): number {
    const entries = this.filter(filter);
    const overlaps = entries.map(({ began }) => {
      return entries.filter((other) => other.began <= began && other.wrote >= began).length;
    });
    return Math.max(0, ...overlaps);
  }

  /** Waits until `count` entries match, those already there included, and returns the last of them. */
  async wait(filter: JournalFilter, count = 1, ms?: number): Promise<JournalEntry> {
    const found = new Promise<JournalEntry>((resolve) => {
      const check = () => {
        const entry = this.filter(filter)[count - 1];
        if (!entry) return;
        this.#waiters.delete(check);
        resolve(entry);
      };
      this.#waiters.add(check);
      check();
    });
    return within(found, () => `${count} of ${JSON.stringify(filter)} in\n${this.toString()}`, ms);
  }

  /** Waits for the next entry that matches, not counting those already there. */
  next(filter: JournalFilter, ms?: number): Promise<JournalEntry> {
    return this.wait(filter, this.count(filter) + 1, ms);
  }

  /** Waits until some entry satisfies a condition that changes while it is answered (bytes, state). */
  reaches(condition: (entry: JournalEntry) => boolean, ms?: number): Promise<JournalEntry> {
    return this.wait(condition, 1, ms);
  }

  /** Forgets everything so far. */
  clear(): void {
    this.entries.length = 0;
  }

  /** One line an entry, for failure messages. */
  toString(): string {
    const lines = this.entries.map((entry) => {
      const range = entry.headers.range ? ` ${entry.headers.range}` : '';
      return `${entry.method} ${entry.path}${range} -> ${entry.status}, ${entry.bytes} bytes, ${entry.state}`;
    });
    return lines.join('\n') || '(no request)';
  }
}

/** Whether an entry is meant by a filter. */
export function matches(entry: JournalEntry, filter: JournalFilter): boolean {
  if (typeof filter === 'function') return filter(entry);
  return Object.entries(filter).every(([key, value]) => entry[key as keyof JournalEntry] === value);
}

/** What a registry path names (distribution-spec, "Endpoints"). */
export function classify(path: string): Pick<JournalEntry, 'kind' | 'repository' | 'reference'> {
  if (path === '/v2/' || path === '/v2') return { kind: 'ping', repository: undefined, reference: undefined };
  if (path === '/token') return { kind: 'token', repository: undefined, reference: undefined };
  const match = /^\/v2\/(.+)\/(manifests|blobs|referrers|tags)\/([^/]+)$/.exec(path);
  const [, repository, noun, reference] = match ?? [];
  if (noun === 'manifests') return { kind: 'manifest', repository, reference };
  if (noun === 'blobs') return { kind: 'blob', repository, reference };
  if (noun === 'referrers') return { kind: 'referrers', repository, reference };
  if (noun === 'tags' && reference === 'list') return { kind: 'tags', repository, reference: undefined };
  return { kind: 'other', repository: undefined, reference: undefined };
}
