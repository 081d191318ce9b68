import { type CompiledRule, indexOrEnd, shortList, speaksOfAll } from './compiled-rule.ts';

/**
 * Says in one sentence what would be allowed of an image: up to three of its `known` version tags, in the order
 * given, else what the rules that allow some of it look for.
 * @param rules those about the image, in order
 */
export function remedyFor(
  rules: readonly CompiledRule[],
  allowsByDefault: boolean,
  known: readonly string[],
  allows: (tag: string) => boolean,
): string {
  const served: string[] = [];
  for (const tag of known) {
    if (allows(tag) && served.push(tag) === 3) break;
  }
  if (served.length > 0) return `Allowed tags of it are, for example: ${served.join(', ')}.`;
  const end = indexOrEnd(rules, speaksOfAll);
  const selecting = rules.slice(0, end).filter(({ allowance }) => allowance);
  const patterns = [...new Set(selecting.flatMap(selectorsOf))];
  if (patterns.length > 0) return `Allowed of it are: ${shortList(patterns)}.`;
  const rest = rules[end];
  if (rest ? rest.allowance : allowsByDefault) {
    const refusing = rules.slice(0, end).map(({ number }) => `${number}`);
    if (refusing.length === 0) return 'All of it is allowed.';
    const those =
      refusing.length === 1 ? `rule ${shortList(refusing)} denies` : `rules ${shortList(refusing)} deny`;
    return `Every tag of it is allowed but those that ${those}.`;
  }
  return 'Nothing of it is known to be allowed: ask who runs this mirror to allow it under "policy" in its configuration.';
}

function selectorsOf({ rule }: CompiledRule): readonly string[] {
  const range = rule.semver === undefined ? [] : [`versions ${rule.semver}`];
  const tags = (rule.tags ?? []).map((tag) => `tags like ${tag}`);
  if (range.length + tags.length > 0) return [...tags, ...range];
  return (rule.digests ?? []).map((digest) => `the digest ${digest}`);
}
