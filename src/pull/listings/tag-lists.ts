import type { Clock } from '../../lib/clock.ts';
import { Semaphore, type Slice, type Slices } from '../../lib/concurrency.ts';
import { OciError } from '../../oci/errors.ts';
import { type RepositoryKey, repositoryText } from '../../oci/repository-key.ts';
import type { Metadata } from '../../store/metadata.ts';
import { Memory } from '../memory.ts';
import { type Ask, imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { absentError, isClosed } from '../source.ts';
import { FreshLists, type Listed } from './fresh-lists.ts';
import type { HowListed } from './pages.ts';
import { TagList } from './tag-list.ts';

/** More tags than any repository has; what an upstream lists beyond is cut. */
const mostTags = 100_000;

/** Bytes of a list that is read without waiting for others. */
const small = 64 * 1024;

/** Long lists that are in memory at once to be read, whatever is remembered. */
const mostRead = 4;

/** Lists of one registry that are in memory at once because they are being fetched. */
const mostFetched = 8;

/** Tags that are read from the index at once. */
const indexPage = 1_000;

/** Bytes that a list takes in memory beside its text. */
const overhead = 512;

/** A list in memory, and when an upstream confirmed it. */
type Remembered = { readonly list: TagList; readonly checkedAt: number };

/** A list that is kept: when an upstream confirmed it, and its bytes. */
type Kept = { readonly checkedAt: number; readonly bytes: number };

/** Of what repository tags are asked for, and until when somebody waits. */
type Waiting = Pick<Ask, 'target' | 'signal'>;

/** Reads a list, in slices; nothing of the list is to be kept. */
export type ReadTags<T> = (list: TagList, slice: Slice) => T | Promise<T>;

/**
 * The tags of repositories: as upstreams list them, kept in the index, or all that are stored where no upstream is
 * asked. However many are asked for at once, few are in memory.
 */
export class TagLists {
  readonly #metadata: Pick<Metadata, 'listings' | 'tags'>;
  readonly #clock: Clock;
  readonly #slices: Slices;
  readonly #fresh: FreshLists<readonly string[], Kept>;
  readonly #reading = new Semaphore({ most: mostRead });
  readonly #fetching = new Map<string, Semaphore>();
  /** By the image's name where an upstream listed them, by `storedName` where they are what is stored. */
  readonly #memory: Memory<Remembered>;

  /** @param options.memory bytes of lists that are remembered */
  constructor(
    deps: { metadata: Pick<Metadata, 'listings' | 'tags'>; clock: Clock; slices: Slices },
    options: { memory: number },
  ) {
    this.#memory = new Memory({
      maxSize: options.memory,
      sizeOf: ({ list }) => list.bytes + overhead,
    });
    this.#metadata = deps.metadata;
    this.#clock = deps.clock;
    this.#slices = deps.slices;
    this.#fresh = new FreshLists(deps);
  }

  /**
   * Has the repository's tags read, as an upstream lists them. The list is the same object as long as it says the same
   * and is remembered.
   * @throws OciError `NAME_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS` or `UNAVAILABLE`; what `read` throws
   */
  async read<T>(ask: Waiting, read: ReadTags<T>): Promise<HowListed & { value: T }> {
    const { target, signal } = ask;
    if (isClosed(target.registry)) return this.#readStored(ask, read);
    const { kept, ...how } = await this.#fresh.current(ask, this.#describe(target));
    const release = kept.bytes > small ? await this.#reading.acquire(signal) : undefined;
    try {
      const slice = this.#slices.begin();
      return { ...how, value: await read(await this.#list(ask, slice), slice) };
    } finally {
      release?.();
    }
  }

  /** Forgets what is remembered of a repository's stored tags: they may be others. */
  forget(key: RepositoryKey): void {
    this.#memory.forget(storedName(repositoryText(key)));
  }

  /** Aborts what is under way, and resolves when it has ended. */
  close(): Promise<void> {
    return this.#fresh.close();
  }

  #describe(target: ResolvedRepository): Listed<readonly string[], Kept> {
    const image = imageName(target);
    const key = keyOf(target);
    const name = 'tags';
    const { listings } = this.#metadata;
    return {
      name,
      title: `the list of tags of ${image}`,
      missing: 'NAME_UNKNOWN',
      next: 'check the name',
      limit: this.#limitOf(target.registry.name),
      kept: async () => {
        const known = this.#memory.get(image);
        if (known !== undefined) return { checkedAt: known.checkedAt, bytes: known.list.json.length };
        const stored = await listings.get(key, name);
        return stored && { checkedAt: stored.checkedAt, bytes: stored.body.length };
      },
      ask: (upstream, signal) => upstream.listTags(target.repository, mostTags, signal),
      keep: async (tags, signal) => {
        const fetched = await TagList.of(tags, this.#slices.begin(), signal);
        const known = this.#memory.get(image)?.list;
        const list = known?.json.equals(fetched.json) ? known : fetched;
        const checkedAt = this.#clock.now();
        await this.#memory.write(image, { list, checkedAt }, () =>
          listings.put(key, name, { body: list.json, mediaType: 'application/json', checkedAt }),
        );
        return { checkedAt, bytes: list.json.length };
      },
      drop: () => this.#memory.change(image, () => listings.drop(key, name)),
    };
  }

  /** The list that is kept, from memory or from the index. */
  async #list({ target, signal }: Waiting, slice: Slice): Promise<TagList> {
    const image = imageName(target);
    const kept = await this.#memory.read(image, async () => {
      const stored = await this.#metadata.listings.get(keyOf(target), 'tags');
      if (stored === undefined) return undefined;
      const { checkedAt } = stored;
      return { list: await TagList.read(stored.body, slice, signal), checkedAt };
    });
    if (kept !== undefined) return kept.list;
    throw new OciError('NAME_UNKNOWN', `the list of tags of ${image} is not there any more: check the name`);
  }

  async #readStored<T>({ target, signal }: Waiting, read: ReadTags<T>): Promise<HowListed & { value: T }> {
    const name = storedName(imageName(target));
    const known = this.#memory.get(name)?.list;
    const release = known && known.json.length <= small ? undefined : await this.#reading.acquire(signal);
    try {
      const slice = this.#slices.begin();
      const load = async () => ({ list: await this.#gather({ target, signal }, slice), checkedAt: 0 });
      const kept = await this.#memory.read(name, load);
      if (kept === undefined) throw new Error('loading a list came to nothing');
      return { value: await read(kept.list, slice), outcome: 'hit', staleBecause: undefined };
    } finally {
      release?.();
    }
  }

  /** All tags that are served without upstreams. */
  async #gather({ target, signal }: Waiting, slice: Slice): Promise<TagList> {
    const image = imageName(target);
    const tags: string[] = [];
    for (let after: string | undefined; ; after = tags.at(-1)) {
      const page = await this.#metadata.tags.names(keyOf(target), { after, most: indexPage });
      tags.push(...page);
      if (page.length < indexPage) break;
      if (slice.over) await slice.pause(signal);
    }
    if (tags.length > 0) return TagList.of(tags, slice, signal);
    throw absentError(target.registry.source, 'NAME_UNKNOWN', `nothing of ${image}`, `${image}:TAG`);
  }

  #limitOf(registry: string): Semaphore {
    const known = this.#fetching.get(registry);
    if (known !== undefined) return known;
    const limit = new Semaphore({ most: mostFetched });
    this.#fetching.set(registry, limit);
    return limit;
  }
}

function storedName(image: string): string {
  return `stored ${image}`;
}
