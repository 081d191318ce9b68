import type { Digest } from '../../oci/digest.ts';
import type {
  ChildLink,
  ImportedManifest,
  LinkRole,
  RepositoryKey,
  StoredBlob,
  StoredManifest,
  TagEvent,
} from '../metadata.ts';
import type { Statements } from './statements.ts';
import { observeTag, putTag, repositoryId, tagRecord } from './tags.ts';

type ChildRow = { digest: Digest; role: LinkRole; size: number; media_type: string; platform: string | null };
type BlobRow = { digest: Digest; size: number; stored_at: number };

/** Records a manifest with its links, within a transaction. */
export function putManifest(
  s: Statements,
  key: RepositoryKey,
  { digest, mediaType, bytes }: StoredManifest,
  children: readonly ChildLink[],
  at: number,
): void {
  const repository = repositoryId(s, key);
  s.putManifest.run(digest, mediaType, bytes, at);
  s.putLink.run(repository, digest, bytes.length, mediaType);
  for (const child of children) {
    s.putChild.run(digest, child.digest, child.role, child.size, child.mediaType, child.platform ?? null);
    if (child.role !== 'subject') s.putLink.run(repository, child.digest, child.size, child.mediaType);
  }
}

/** `Metadata.importManifests`, within a transaction. */
export function importManifests(s: Statements, entries: readonly ImportedManifest[]): readonly TagEvent[] {
  const moves: TagEvent[] = [];
  for (const { key, manifest, children, at } of entries) putManifest(s, key, manifest, children, at);
  for (const { key, manifest, tag, at } of entries) {
    if (tag === undefined) continue;
    const seen = { digest: manifest.digest, upstream: '', at };
    const move = tagRecord(s, key, tag)?.pinned
      ? observeTag(s, key, tag, { ...seen, confirms: true })
      : putTag(s, key, tag, seen);
    if (move !== undefined) moves.push(move);
  }
  return moves;
}

/** `Metadata.children`. */
export function children(s: Statements, digest: Digest): readonly ChildLink[] {
  const rows = s.children.all(digest) as ChildRow[];
  return rows.map(({ media_type: mediaType, platform, ...row }) => {
    return { ...row, mediaType, platform: platform ?? undefined };
  });
}

/** `Metadata.referrersOf`. */
export function referrersOf(s: Statements, key: RepositoryKey, subject: Digest): readonly Digest[] {
  const { registry, repository } = key;
  return s.referrersOf.all({ registry, repository, subject }) as Digest[];
}

/** `Metadata.storedAt`. */
export function storedAt(s: Statements, digests: readonly Digest[]): ReadonlyMap<Digest, number> {
  const times = new Map<Digest, number>();
  for (const digest of digests) {
    const at = s.storedAt.get(digest, digest) as number | undefined;
    if (at !== undefined) times.set(digest, at);
  }
  return times;
}

/** `Metadata.blobsStored`. */
export function blobsStored(s: Statements): readonly StoredBlob[] {
  const rows = s.blobs.all() as BlobRow[];
  return rows.map(({ digest, size, stored_at }) => ({ digest, size, storedAt: stored_at }));
}
