import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey } from '../repository-key.ts';
import type { TagEvent, TagRecord, TagSighting } from '../tag-records.ts';
import type { Statements } from './statements.ts';

type TagRow = {
  digest: Digest;
  checked_at: number;
  changed_at: number;
  pinned: number;
  candidate: Digest | null;
  candidate_at: number | null;
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

/** `TagRecords.observe`, within a transaction. */
export function observeTag(
  s: Statements,
  key: RepositoryKey,
  tag: Tag,
  { digest, upstream, at, confirms }: TagSighting,
): TagEvent | undefined {
  const record = tagRecord(s, key, tag);
  if (record === undefined) return undefined;
  const before = record.candidate?.digest ?? record.digest;
  const served = digest === record.digest;
  const since = digest === before ? (record.candidate?.since ?? at) : at;
  const { registry, repository } = key;
  const candidate = served ? [null, null] : [digest, since];
  const checkedAt = confirms ? at : record.checkedAt;
  s.observeTag.run(checkedAt, ...candidate, registry, repository, tag);
  if (digest === before) return undefined;
  return putTagEvent(s, key, { tag, action: 'moved', old: before, new: digest, upstream, at });
}

/** Serves a tag as a manifest that is stored by now, within a transaction; the answer is the move. */
export function putTag(
  s: Statements,
  key: RepositoryKey,
  tag: Tag,
  { digest, upstream, at }: Omit<TagSighting, 'confirms'>,
): TagEvent | undefined {
  const repository = repositoryId(s, key);
  const known = tagRecord(s, key, tag);
  const before = known?.candidate?.digest ?? known?.digest;
  s.putTag.run(repository, tag, digest, upstream, at, at);
  s.putTagDigest.run(repository, digest, tag);
  if (before === digest) return undefined;
  return putTagEvent(s, key, { tag, action: 'moved', old: before, new: digest, upstream, at });
}

/** Adds to a history, within a transaction; the answer is what was added. */
export function putTagEvent(s: Statements, key: RepositoryKey, event: TagEvent): TagEvent {
  const { tag, action, old, upstream, at } = event;
  s.putTagEvent.run(repositoryId(s, key), tag, action, old ?? null, event.new, upstream, at);
  return event;
}
