import type { Digest } from '../../oci/digest.ts';
import type { Tag } from '../../oci/reference.ts';
import type { RepositoryKey, TagEvent, TagRecord, TagSighting } from '../metadata.ts';
import type { Statements } from './statements.ts';

type TagRow = {
  digest: Digest;
  checked_at: number;
  changed_at: number;
  pinned: number;
  candidate: Digest | null;
  candidate_at: number | null;
};
type TagEventRow = Omit<TagEvent, 'old'> & { old: Digest | null };

/** The id of a repository, which is recorded if need be; within a transaction. */
export function repositoryId(s: Statements, { registry, repository }: RepositoryKey): number | bigint {
  const id = s.repository.get(registry, repository) as number | undefined;
  return id ?? s.putRepository.run(registry, repository).lastInsertRowid;
}

/** `Metadata.tag`. */
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

/** `Metadata.observeTag`, within a transaction. */
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

/** `Metadata.setTag`, within a transaction. */
export function setTag(
  s: Statements,
  key: RepositoryKey,
  tag: Tag,
  { digest, action, at }: { digest: Digest; action: 'locked' | 'rolled back'; at: number },
): boolean {
  if (s.manifest.get(digest, key.registry, key.repository) === undefined) return false;
  const before = tagRecord(s, key, tag);
  const repository = repositoryId(s, key);
  const pinned = action === 'rolled back' ? 1 : 0;
  s.setTag.run(repository, tag, digest, at, at, pinned);
  s.putTagDigest.run(repository, digest, tag);
  if (before?.digest !== digest || before.pinned !== (pinned === 1)) {
    putTagEvent(s, key, { tag, action, old: before?.digest, new: digest, upstream: '', at });
  }
  return true;
}

/** `Metadata.releaseTag`, within a transaction. */
export function releaseTag(s: Statements, key: RepositoryKey, tag: Tag, at: number): boolean {
  const before = tagRecord(s, key, tag);
  const { changes } = s.releaseTag.run(key.registry, key.repository, tag);
  if (before === undefined || changes === 0) return false;
  const { digest } = before;
  putTagEvent(s, key, { tag, action: 'released', old: digest, new: digest, upstream: '', at });
  return true;
}

/** `Metadata.tagHistory`. */
export function tagHistory(s: Statements, key: RepositoryKey, tag: Tag | undefined): readonly TagEvent[] {
  const rows = s.tagHistory.all(key.registry, key.repository, tag ?? null) as TagEventRow[];
  return rows.map((row) => ({ ...row, old: row.old ?? undefined }));
}

function putTagEvent(s: Statements, key: RepositoryKey, event: TagEvent): TagEvent {
  const { tag, action, old, upstream, at } = event;
  s.putTagEvent.run(repositoryId(s, key), tag, action, old ?? null, event.new, upstream, at);
  return event;
}
