import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../../oci/repository-key.ts';
import type { TagEvent, TagRecord } from '../tag-records.ts';
import { nextTag, type TagStep } from '../tag-state.ts';
import type { Statements } from './statements.ts';

type TagRow = {
  digest: Digest;
  checked_at: number;
  changed_at: number;
  pinned: number;
  candidate: Digest | null;
  candidate_at: number | null;
};

/** What a step came to: the tag's record before and after it, and what it added to the history. */
type TagStepped = {
  readonly before: TagRecord | undefined;
  readonly record: TagRecord | undefined;
  readonly event: TagEvent | undefined;
};

/** The id of a repository, which is recorded if need be; within a transaction. */
export function repositoryId(s: Statements, { registry, repository }: RepositoryKey): number | bigint {
  const id = s.repository.get(registry, repository) as number | undefined;
  return id ?? s.putRepository.run(registry, repository).lastInsertRowid;
}

/** What a tag is served as. */
export function tagRecord(s: Statements, key: RepositoryKey, tag: Tag): TagRecord | undefined {
  const row = s.tag.get(key.registry, key.repository, tag) as TagRow | undefined;
  if (row === undefined) return undefined;
  const { candidate, candidate_at: since } = row;
  return {
    digest: row.digest,
    checkedAt: row.checked_at,
    changedAt: row.changed_at,
    pinned: row.pinned === 1,
    candidate: candidate === null || since === null ? undefined : { digest: candidate, since },
  };
}

/**
 * Takes a tag one step further, within a transaction: its record and its history are saved. The answer is the records and
 * what the step added to the history.
 */
export function stepTag(s: Statements, key: RepositoryKey, tag: Tag, step: TagStep): TagStepped {
  const before = tagRecord(s, key, tag);
  const { record, entry } = nextTag(before, step);
  if (record === before && entry === undefined) return { before, record, event: undefined };
  const repository = repositoryId(s, key);
  if (record === undefined) s.dropTag.run(repository, tag);
  else saveTag(s, repository, tag, record, 'upstream' in step ? step.upstream : '');
  // Whoever asked for a pinned tag before it was pinned gets what was fetched for it.
  if (step.kind === 'served') s.putTagDigest.run(repository, step.digest, tag);
  if (entry === undefined) return { before, record, event: undefined };
  const { action, old, upstream, at } = entry;
  s.putTagEvent.run(repository, tag, action, old ?? null, entry.new, upstream, at);
  return { before, record, event: { tag, ...entry } };
}

function saveTag(
  s: Statements,
  repository: number | bigint,
  tag: Tag,
  { digest, checkedAt, changedAt, pinned, candidate }: TagRecord,
  upstream: string,
): void {
  const awaited = [candidate?.digest ?? null, candidate?.since ?? null];
  s.putTag.run(repository, tag, digest, upstream, checkedAt, changedAt, pinned ? 1 : 0, ...awaited);
  s.putTagDigest.run(repository, digest, tag);
}
