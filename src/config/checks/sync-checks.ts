import type { Finding } from '../problems.ts';
import { isMap, listAt } from '../raw.ts';

/**
 * What no single key of `sync` can tell, of a raw document.
 * @param registries the names of those that are configured
 */
export function syncFindings(document: unknown, registries: readonly string[]): Finding[] {
  return listAt(document, 'sync').flatMap((entry, index) => {
    return isMap(entry) ? entryFindings(entry, index, registries) : [];
  });
}

function entryFindings(
  entry: Readonly<Record<string, unknown>>,
  index: number,
  registries: readonly string[],
): Finding[] {
  const path = ['sync', index];
  const findings: Finding[] = [];
  const { image } = entry;
  if (typeof image === 'string' && image.includes('/')) {
    const message = `begins with no registry that is configured: ${registries.join(', ')}`;
    if (!registries.some((name) => image.startsWith(`${name}/`)))
      findings.push({ path: [...path, 'image'], message });
  }
  if (['tags', 'semver', 'newest'].every((key) => entry[key] === undefined)) {
    const message = 'does not say which tags: give tags, semver or newest (tags: "*" for all of them)';
    findings.push({ path, message });
  }
  return findings;
}
