import { type Reference, type RepositoryName, referenceText } from './reference.ts';

/** A repository of one registry, by name: the key under which everything about it is recorded. */
export type RepositoryKey = { readonly registry: string; readonly repository: RepositoryName };

/** `registry/repository`: the name that people read, that rules match, and that memories are keyed by. */
export function repositoryText({ registry, repository }: RepositoryKey): string {
  return `${registry}/${repository}`;
}

/** `registry/repository:tag` or `registry/repository@digest`. */
export function imageText(key: RepositoryKey, reference: Reference): string {
  return `${repositoryText(key)}${reference.kind === 'tag' ? ':' : '@'}${referenceText(reference)}`;
}
