import type { RepositoryName } from '../oci/reference.ts';

/** A repository of one registry: the key under which everything is recorded. */
export type RepositoryKey = { readonly registry: string; readonly repository: RepositoryName };
