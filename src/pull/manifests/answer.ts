import type { StoredManifest } from '../../store/manifest-records.ts';
import type { CacheOutcome } from '../repository.ts';

/** A manifest, and how it was come by. */
export type ManifestAnswer = {
  readonly manifest: StoredManifest;
  readonly outcome: CacheOutcome;
  /** The upstream that was asked, when one was. */
  readonly upstream: string | undefined;
  /** Why a stale answer is stale. */
  readonly staleBecause: string | undefined;
};

/** A manifest that was here, and may be served without asking. */
export function hit(manifest: StoredManifest): ManifestAnswer {
  return { manifest, outcome: 'hit', upstream: undefined, staleBecause: undefined };
}

/** A manifest that an upstream sent. */
export function miss(manifest: StoredManifest, upstream: string): ManifestAnswer {
  return { manifest, outcome: 'miss', upstream, staleBecause: undefined };
}

/** A manifest of which no upstream could say whether it still is the right one. */
export function stale(manifest: StoredManifest, because: string): ManifestAnswer {
  return { manifest, outcome: 'stale', upstream: undefined, staleBecause: because };
}
