import fc from 'fast-check';
import type { Digest } from '../../src/oci/digest.ts';
import { derivedTags, isDerivedTag, subjectOfTag, type Tag } from '../../src/oci/reference.ts';
import type { RepositoryKey } from '../../src/oci/repository-key.ts';
import type { ChildLink, StoredManifest } from '../../src/store/manifest-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { manifest, mustKey, mustTag } from '../helpers/stored.ts';
import { child } from '../store/contract-content.ts';

/** Manifests whose children are any of each other, circles included, and two blobs that some of them name. */
const manifests = 7;
const blobs = 2;

/** What becomes known, of one of two repositories. Things are counted. */
export type Happening =
  | { readonly kind: 'put'; readonly to: number; readonly what: number; readonly tag: number | undefined }
  | { readonly kind: 'link'; readonly to: number; readonly what: number }
  | { readonly kind: 'list'; readonly to: number; readonly what: number; readonly subject: number }
  | { readonly kind: 'untag'; readonly to: number; readonly tag: number }
  | { readonly kind: 'drop'; readonly what: number };

const thing = fc.nat(manifests + blobs - 1);
const stored = fc.nat(manifests - 1);
const to = fc.nat(1);
const tag = fc.nat(6);

/** What manifests name: their children, and the subject of some. */
export const graphs = fc.array(
  fc.record({
    children: fc.uniqueArray(thing, { maxLength: 3 }),
    subject: fc.option(stored, { nil: undefined }),
  }),
  { minLength: manifests, maxLength: manifests },
);

export type Graph = readonly { readonly children: readonly number[]; readonly subject: number | undefined }[];

export const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant('put' as const),
      to,
      what: stored,
      tag: fc.option(tag, { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('link' as const), to, what: thing }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant('list' as const), to, what: thing, subject: thing }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('untag' as const), to, tag }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), what: stored }) },
);

/** What is recorded of a repository. */
type Recorded = {
  readonly links: Set<Digest>;
  readonly listed: [referrer: Digest, subject: Digest][];
  readonly served: [tag: Tag, digest: Digest][];
  readonly now: Map<Tag, Digest>;
};

let worlds = 0;

/** Two repositories of an index, and all that was recorded of them, in plain sight. */
export class World {
  readonly keys: readonly RepositoryKey[];
  readonly digests: readonly Digest[];
  readonly tags: readonly Tag[];
  readonly #metadata: Metadata;
  readonly #contents: readonly StoredManifest[];
  readonly #graph: Graph;
  readonly #stored = new Set<Digest>();
  readonly #recorded: readonly Recorded[];

  /** What worlds of one index are made of differs, so that they do not meet. */
  constructor(metadata: Metadata, graph: Graph) {
    worlds += 1;
    this.#metadata = metadata;
    this.#graph = graph;
    this.keys = ['app', 'twin'].map((name) => mustKey('ghcr.io', `org/${name}-${worlds}`));
    this.#contents = Array.from({ length: manifests + blobs }, (_, what) => manifest(`${worlds} ${what}`));
    this.digests = this.#contents.map(({ digest }) => digest);
    const [first, second] = this.digests as [Digest, Digest];
    const derived = [derivedTags(first)[0], derivedTags(first)[1], derivedTags(second)[1]] as Tag[];
    this.tags = [...['v1', 'v2', 'latest', 'nightly'].map(mustTag), ...derived];
    this.#recorded = this.keys.map(() => ({ links: new Set(), listed: [], served: [], now: new Map() }));
  }

  /** Records what happens, in the index and in plain sight; the answer is the repositories of which something changed. */
  async record(what: Happening): Promise<void> {
    const { manifests: records, links, tags } = this.#metadata;
    if (what.kind === 'drop') {
      this.#stored.delete(this.#digest(what.what));
      return records.drop(this.#digest(what.what));
    }
    const key = this.keys[what.to] as RepositoryKey;
    const recorded = this.#recorded[what.to] as Recorded;
    if (what.kind === 'untag') {
      const tag = this.tags[what.tag] as Tag;
      recorded.now.delete(tag);
      await tags.drop(key, tag);
      return;
    }
    const digest = this.#digest(what.what);
    if (what.kind === 'link') {
      recorded.links.add(digest);
      return links.put(key, digest, undefined);
    }
    if (what.kind === 'list') {
      recorded.listed.push([digest, this.#digest(what.subject)]);
      return links.putReferrers(key, this.#digest(what.subject), [digest]);
    }
    const children = this.#childrenOf(what.what);
    const tag = what.tag === undefined ? undefined : this.tags[what.tag];
    this.#stored.add(digest);
    recorded.links.add(digest);
    for (const each of children) if (each.role !== 'subject') recorded.links.add(each.digest);
    if (tag !== undefined) {
      recorded.served.push([tag, digest]);
      recorded.now.set(tag, digest);
    }
    await records.put(key, this.#contents[what.what] as StoredManifest, children, {
      tag,
      upstream: 'up',
      at: 1,
    });
  }

  /** The ways to a digest by all that was recorded, each as its tag and what is noted on it, in alphabetical order. */
  ways(
    repository: number,
    digest: Digest,
    { current, noted }: { readonly current: boolean; readonly noted: readonly Digest[] },
  ): readonly string[] {
    const found = this.#ways(repository, digest, [], { current, noted, depth: 3 });
    return [...new Set(found)].sort();
  }

  #ways(
    repository: number,
    asked: Digest,
    below: readonly Digest[],
    options: { readonly current: boolean; readonly noted: readonly Digest[]; readonly depth: number },
  ): readonly string[] {
    const { listed, served, now } = this.#recorded[repository] as Recorded;
    const found: string[] = [];
    const reached = new Set<string>();
    const reach = (digest: Digest, noted: readonly Digest[]) => {
      const name = JSON.stringify([digest, noted]);
      if (reached.has(name)) return;
      reached.add(name);
      const via = [digest, ...noted];
      const tags = options.current
        ? [...now].filter(([, named]) => named === digest)
        : served.filter(([, named]) => named === digest);
      for (const [tag] of tags) {
        const subject = isDerivedTag(tag) && options.depth > 0 ? subjectOfTag(tag) : undefined;
        if (!isDerivedTag(tag)) found.push(written(tag, via));
        else if (subject === undefined) found.push(written(undefined, via));
        else {
          const own = options.noted.includes(subject) ? [...via, subject] : via;
          found.push(...this.#ways(repository, subject, own, { ...options, depth: options.depth - 1 }));
        }
      }
      const above = [
        ...this.#parents(repository, digest),
        ...this.#subjects(digest),
        ...listed.filter(([referrer]) => referrer === digest).map(([, subject]) => subject),
      ];
      if (tags.length + above.length === 0) found.push(written(undefined, via));
      for (const each of above) {
        const isNew = options.noted.includes(each) && !noted.includes(each);
        reach(each, isNew ? [...noted, each] : noted);
      }
    };
    reach(asked, below);
    return found;
  }

  #parents(repository: number, digest: Digest): readonly Digest[] {
    const { links } = this.#recorded[repository] as Recorded;
    return this.digests.filter((parent, what) => {
      const names = this.#childrenOf(what).some((each) => each.digest === digest && each.role !== 'subject');
      return this.#stored.has(parent) && links.has(parent) && names;
    });
  }

  #subjects(digest: Digest): readonly Digest[] {
    if (!this.#stored.has(digest)) return [];
    const children = this.#childrenOf(this.digests.indexOf(digest));
    return children.filter(({ role }) => role === 'subject').map((each) => each.digest);
  }

  #childrenOf(what: number): readonly ChildLink[] {
    const { children, subject } = this.#graph[what] ?? { children: [], subject: undefined };
    const named = children.map((each) => child(this.#digest(each)));
    return subject === undefined ? named : [...named, child(this.#digest(subject), 'subject')];
  }

  #digest(what: number): Digest {
    return this.digests[what] as Digest;
  }
}

/** A way as text; in which order digests were met on it makes no difference. */
export function written(tag: Tag | undefined, via: readonly Digest[]): string {
  return [tag ?? 'nothing', ...[...new Set(via)].sort()].join(' ');
}
