import type { PolicyConfig } from '../config/config.ts';
import type { Digest } from '../oci/digest.ts';
import { type LockedImages, PolicyRules } from '../policy/rules.ts';

/** The lockfile of a configuration as rules and tags need it; one that locks nothing without a file. */
export function lockOf({ lockfile }: PolicyConfig): LockedImages {
  const tags = new Map<string, Digest>();
  const images = new Map<string, Set<string>>();
  for (const [image, locked] of Object.entries(lockfile?.images ?? {})) {
    const digests = new Set<string>();
    images.set(image, digests);
    for (const [tag, { digest, platforms }] of Object.entries(locked)) {
      // The configuration's schema has checked its form.
      tags.set(`${image}:${tag}`, digest as Digest);
      for (const each of [digest, ...Object.values(platforms ?? {})]) digests.add(each);
    }
  }
  return {
    digest: (image, tag) => tags.get(`${image}:${tag}`),
    holds: (image, digest) => images.get(image)?.has(digest) === true,
    names: (image) => images.has(image),
  };
}

/** The rules of a configuration. */
export function rulesOf(policy: PolicyConfig, locked: LockedImages): PolicyRules {
  const rules = policy.rules.map((rule) => ({
    ...rule,
    digests: rule.digests as readonly Digest[] | undefined,
  }));
  return new PolicyRules({ default: policy.default, rules, locked });
}
