/** A tag under which signatures and other referrers are filed (cosign's scheme and the spec's fallback). */
const derivedTag = /^sha(?:256|512)-[0-9a-f]{64}/;

/** Such tags change when somebody signs, so they are asked for again sooner. */
const derivedTagTtl = 60_000;

/** Whether a tag names what refers to a digest (`sha256-<hex>`, `.sig`, `.att`, `.sbom`) rather than a version. */
export function isDerivedTag(tag: string): boolean {
  return derivedTag.test(tag);
}

/** Milliseconds for which a tag's answer holds. */
export function ttlOfTag(tag: string, tagTtl: number): number {
  return isDerivedTag(tag) ? Math.min(tagTtl, derivedTagTtl) : tagTtl;
}

/** Whether what was confirmed at `checkedAt` may still be served without asking. A clock set back makes it stale. */
export function isFresh(checkedAt: number, ttl: number, now: number): boolean {
  const age = now - checkedAt;
  return age >= 0 && age < ttl;
}
