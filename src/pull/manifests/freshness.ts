import { isDerivedTag } from '../../oci/reference.ts';

/** Signatures and the like change when somebody signs, so they are asked for again sooner. */
const derivedTagTtl = 60_000;

/** Milliseconds for which a tag's answer holds. */
export function ttlOfTag(tag: string, tagTtl: number): number {
  return isDerivedTag(tag) ? Math.min(tagTtl, derivedTagTtl) : tagTtl;
}

/** Whether what was confirmed at `checkedAt` may still be served without asking. A clock set back makes it stale. */
export function isFresh(checkedAt: number, ttl: number, now: number): boolean {
  const age = now - checkedAt;
  return age >= 0 && age < ttl;
}
