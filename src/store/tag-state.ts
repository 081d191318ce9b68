import type { Digest } from '../oci/digest.ts';
import type { TagEvent, TagRecord, TagSighting } from './tag-records.ts';

/** What happens to a tag. Times are milliseconds since the epoch. */
export type TagStep =
  /** Its manifest was fetched by the tag: it is served as that, unless it is pinned. */
  | ({ readonly kind: 'served' } & Omit<TagSighting, 'confirms' | 'known'>)
  /** An upstream said what it names; that is not what it is served as because of it. */
  | ({ readonly kind: 'seen' } & TagSighting)
  /** Its manifest was carried in from elsewhere: it is served as that, unless it is pinned. */
  | { readonly kind: 'imported'; readonly digest: Digest; readonly at: number }
  /** It was set to a digest here; rolled back, it is pinned. */
  | { readonly kind: 'locked' | 'rolled back'; readonly digest: Digest; readonly at: number }
  /** It is left to upstream again, if it is pinned. */
  | { readonly kind: 'released'; readonly at: number }
  /** It is gone upstream. Where `known` is given and the tag has come to be another since, nothing happens. */
  | { readonly kind: 'dropped'; readonly known: TagRecord | undefined };

/** What has become of a tag: its record, and the history's entry for it, where it is worth one. */
export type TagOutcome = {
  readonly record: TagRecord | undefined;
  readonly entry: Omit<TagEvent, 'tag'> | undefined;
};

/**
 * The life of a tag: what `step` makes of what is recorded of it. A step that changes nothing gives the same record back.
 * @param record `undefined` for a tag that is not known
 */
export function nextTag(record: TagRecord | undefined, step: TagStep): TagOutcome {
  switch (step.kind) {
    case 'served':
      return record?.pinned ? seen(record, { ...step, confirms: true }) : served(record, step);
    case 'imported':
      return nextTag(record, { ...step, kind: 'served', upstream: '' });
    case 'seen':
      return seen(record, step);
    case 'released':
      return released(record, step.at);
    case 'dropped':
      return {
        record: step.known === undefined || same(record, step.known) ? undefined : record,
        entry: undefined,
      };
    default:
      return set(record, step);
  }
}

/** What upstream says that a tag names, as far as is known. */
export function namedUpstream({ digest, candidate }: TagRecord): Digest {
  return candidate?.digest ?? digest;
}

/** Since when upstream has been known to say so. */
function namedSince({ changedAt, candidate }: TagRecord): number {
  return candidate?.since ?? changedAt;
}

function served(
  record: TagRecord | undefined,
  { digest, upstream, at }: Omit<TagSighting, 'confirms' | 'known'>,
): TagOutcome {
  const next = {
    digest,
    checkedAt: at,
    changedAt: record?.digest === digest ? record.changedAt : at,
    pinned: false,
    candidate: undefined,
  };
  return { record: next, entry: moved(record, { digest, upstream, at }) };
}

function seen(record: TagRecord | undefined, sighting: TagSighting): TagOutcome {
  if (record === undefined) return { record, entry: undefined };
  const { digest, upstream, at, known } = sighting;
  const confirms = sighting.confirms && (known === undefined || same(record, known));
  const since = digest === namedUpstream(record) ? namedSince(record) : at;
  const next = {
    ...record,
    checkedAt: confirms ? at : record.checkedAt,
    candidate: digest === record.digest ? undefined : { digest, since },
  };
  return { record: next, entry: moved(record, { digest, upstream, at }) };
}

function set(
  record: TagRecord | undefined,
  { kind, digest, at }: { kind: 'locked' | 'rolled back'; digest: Digest; at: number },
): TagOutcome {
  const pinned = kind === 'rolled back';
  if (record?.digest === digest && record.pinned === pinned) return { record, entry: undefined };
  const entry = { action: kind, old: record?.digest, new: digest, upstream: '', at };
  if (record === undefined) {
    return { record: { digest, checkedAt: at, changedAt: at, pinned, candidate: undefined }, entry };
  }
  const upstream = namedUpstream(record);
  const next = {
    digest,
    checkedAt: record.checkedAt,
    changedAt: record.digest === digest ? record.changedAt : at,
    pinned,
    candidate: upstream === digest ? undefined : { digest: upstream, since: namedSince(record) },
  };
  return { record: next, entry };
}

/** Its time of confirmation is taken away, so that upstream is asked at the next pull. */
function released(record: TagRecord | undefined, at: number): TagOutcome {
  if (!record?.pinned) return { record, entry: undefined };
  const { digest } = record;
  const entry = { action: 'released', old: digest, new: digest, upstream: '', at } as const;
  return { record: { ...record, checkedAt: 0, pinned: false }, entry };
}

/** The entry for what upstream says, where it says something else than before. */
function moved(
  record: TagRecord | undefined,
  { digest, upstream, at }: Omit<TagSighting, 'confirms' | 'known'>,
): TagOutcome['entry'] {
  const old = record && namedUpstream(record);
  return digest === old ? undefined : { action: 'moved', old, new: digest, upstream, at };
}

function same(record: TagRecord | undefined, known: TagRecord): boolean {
  if (record === undefined) return false;
  const { digest, checkedAt, pinned } = record;
  return digest === known.digest && checkedAt === known.checkedAt && pinned === known.pinned;
}
