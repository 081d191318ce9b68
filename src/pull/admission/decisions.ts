import { LRUCache } from 'lru-cache';
import type { Digest } from '../../oci/digest.ts';
import type { PolicyDecision } from '../../policy/rules.ts';

/** Bytes that remembered decisions may take, about. */
const mostBytes = 16 * 1024 * 1024;

/** Repositories of which it is remembered when they changed. */
const mostRepositories = 10_000;

/** Bytes of a remembered decision beside its text. */
const overhead = 200;

/** A decision about a digest, and what it rests on. */
export type Decided = {
  readonly decision: PolicyDecision;
  /** Whether a tag that is allowed led to the digest: whatever else leads there makes no difference. */
  readonly byTag: boolean;
};

/** What became known of a repository. */
export type ProvenanceChange = {
  /** Whether what led to digests may lead to them no longer. */
  readonly other: boolean;
  /** Whether a manifest became known: what it names may be known by it in other repositories too. */
  readonly manifest: boolean;
};

/** When a repository changed, by the count of changes. */
type Changed = { readonly ever: number; readonly other: number };

/**
 * Remembers decisions about digests for as long as nothing became known that may turn them. An allowance by a tag
 * outlasts that more leads to the digest. A denial, and an allowance that no tag gave, do not.
 */
export class Decisions {
  #count = 0;
  /** When a manifest last became known, of whatever repository. */
  #manifest = 0;
  /** What holds of repositories of which it is not remembered when they changed. */
  #forgotten: Changed = { ever: 0, other: 0 };
  readonly #changed = new LRUCache<string, Changed>({
    max: mostRepositories,
    dispose: (changed, _image, reason) => {
      if (reason === 'evict') this.#forgotten = latest(this.#forgotten, changed);
    },
  });
  readonly #decided = new LRUCache<string, Decided & { readonly since: number }>({
    maxSize: mostBytes,
    sizeCalculation: ({ decision }, name) =>
      overhead + name.length + (decision.kind === 'deny' ? decision.message.length : 0),
  });

  /** The count of changes so far, which tells what a decision that begins now can know of. */
  get count(): number {
    return this.#count;
  }

  /** Whether nothing became known since the count stood there that any decision about the repository may rest on. */
  isCurrent(image: string, since: number): boolean {
    return since >= this.#manifest && since >= this.#changeOf(image).ever;
  }

  /** The decision about a digest that still holds. */
  get(image: string, digest: Digest): PolicyDecision | undefined {
    const known = this.#decided.get(`${image} ${digest}`);
    if (known === undefined) return undefined;
    const holds = known.byTag
      ? known.since >= this.#changeOf(image).other
      : this.isCurrent(image, known.since);
    return holds ? known.decision : undefined;
  }

  /** @param since where the count stood when the decision began: what became known meanwhile may not be in it */
  remember(image: string, digest: Digest, decided: Decided, since: number): void {
    this.#decided.set(`${image} ${digest}`, { ...decided, since });
  }

  /** Something became known of a repository. */
  changed(image: string, { other, manifest }: ProvenanceChange): void {
    this.#count += 1;
    if (manifest) this.#manifest = this.#count;
    const before = this.#changeOf(image);
    this.#changed.set(image, { ever: this.#count, other: other ? this.#count : before.other });
  }

  /** Forgets all decisions of all repositories. */
  clear(): void {
    this.#count += 1;
    this.#forgotten = { ever: this.#count, other: this.#count };
    this.#changed.clear();
    this.#decided.clear();
  }

  #changeOf(image: string): Changed {
    return this.#changed.get(image) ?? this.#forgotten;
  }
}

function latest(one: Changed, other: Changed): Changed {
  return { ever: Math.max(one.ever, other.ever), other: Math.max(one.other, other.other) };
}
