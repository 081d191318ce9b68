import type { Reference, RepositoryName } from '../oci/reference.ts';
import { type RepositoryKey, repositoryText } from '../oci/repository-key.ts';
import type { BackgroundBudget } from './background-budget.ts';
import type { Source } from './source.ts';

/** A source host that the configuration names, and where its content comes from. */
export type Registry = {
  readonly name: string;
  readonly source: Source;
  /** Milliseconds for which a tag is served without asking again. */
  readonly tagTtl: number;
  /** Milliseconds for which an absence is remembered. */
  readonly negativeTtl: number;
};

/** A repository of a known registry. */
export type ResolvedRepository = {
  readonly registry: Registry;
  readonly repository: RepositoryName;
  /** What may be taken from upstreams for this, where no client asks. */
  readonly budget?: BackgroundBudget;
};

/** What is asked for of a repository. The signal aborts when nobody waits for the answer. */
export type Ask<R extends Reference | undefined = Reference> = {
  readonly target: ResolvedRepository;
  readonly reference: R;
  readonly signal: AbortSignal;
};

/** What is asked for by its digest. */
export type DigestAsk = Ask<Extract<Reference, { kind: 'digest' }>>;

/** What is asked for by its tag. */
export type TagAsk = Ask<Extract<Reference, { kind: 'tag' }>>;

/** Where Docker Hub is, which is not at the name by which it is known. */
const dockerHub = { name: 'docker.io', host: 'registry-1.docker.io' };

/** The host of a registry's own endpoint. */
export function ownHost({ name }: Pick<Registry, 'name'>): string {
  return name === dockerHub.name ? dockerHub.host : name;
}

/** `registry/repository`, as shown to people and matched by policy. */
export function imageName(target: ResolvedRepository): string {
  return repositoryText(keyOf(target));
}

/** The key under which a repository's content is recorded. */
export function keyOf({ registry, repository }: ResolvedRepository): RepositoryKey {
  return { registry: registry.name, repository };
}

/** How an answer came about; the log, the metrics and `X-Cache` say the same word. */
export type CacheOutcome = 'hit' | 'miss' | 'joined' | 'revalidated' | 'stale';
