import { BundleError } from './bundle-error.ts';

/** One of the files that a bundle was split into. */
export type BundlePart = {
  /** Its file's name, without a folder. */
  readonly name: string;
  /** Bytes. */
  readonly size: number;
  /** The sha256 of its first bytes (as many as {@link headLength}), in hex. */
  readonly head: string;
  /** The sha256 of all of it, in hex. */
  readonly sha256: string;
};

/** What is known of a part file before it is read whole. */
export type FoundPart = Omit<BundlePart, 'sha256'>;

/** Bytes at the beginning of a part by which it is told from others before it is read whole. */
export const headLength = 4096;

const format = 'entrepot-parts';
const version = 1;

/** The name of part `number` (from 0) of the bundle called `name`. */
export function partName(name: string, number: number): string {
  return `${name}.${String(number).padStart(3, '0')}`;
}

/** Takes a part's name apart; `undefined` for a name that no part has. */
export function splitPartName(
  name: string,
): { readonly bundle: string; readonly number: number } | undefined {
  const [, bundle, digits] = /^(.+)\.([0-9]{3,6})$/s.exec(name) ?? [];
  if (bundle === undefined || digits === undefined) return undefined;
  return partName(bundle, Number(digits)) === name ? { bundle, number: Number(digits) } : undefined;
}

/** The name of the file that lists a bundle's parts. */
export function partListName(bundle: string): string {
  return `${bundle}.parts`;
}

/** The text of the file that lists a bundle's parts. */
export function encodePartList(parts: readonly BundlePart[]): string {
  return `${JSON.stringify({ format, version, parts }, undefined, 1)}\n`;
}

/**
 * Reads a list of parts.
 * @throws BundleError `BUNDLE_PARTS` when it is none
 */
export function parsePartList(text: string, file: string): readonly BundlePart[] {
  try {
    const document = JSON.parse(text) as Record<string, unknown>;
    const { parts } = document;
    if (document['format'] === format && document['version'] === version && Array.isArray(parts)) {
      if (parts.length > 0 && parts.every(isPart)) return parts;
    }
  } catch {
    // Not JSON at all is as malformed as other JSON.
  }
  throw new BundleError('BUNDLE_PARTS', `${file} is damaged: copy it again, or import without it`);
}

/**
 * Checks parts against their list, before any of them is read whole.
 * @param found the parts that there are, by number
 * @throws BundleError `BUNDLE_PARTS` that names the part that is missing, cut or in another's place
 */
export function checkParts(listed: readonly BundlePart[], found: ReadonlyMap<number, FoundPart>): void {
  const missing = listed.filter((_, number) => !found.has(number)).map(({ name }) => name);
  if (missing.length > 0) {
    const all = `the bundle has ${listed.length} parts`;
    throw new BundleError('BUNDLE_PARTS', `${all}, and ${missing.join(', ')} is not there: bring it, too`);
  }
  for (const [number, part] of listed.entries()) {
    const here = found.get(number);
    if (here === undefined || (here.size === part.size && here.head === part.head)) continue;
    const real = listed.findIndex(({ size, head }) => size === here.size && head === here.head);
    if (real >= 0) {
      throw new BundleError('BUNDLE_PARTS', `${here.name} is really ${listed[real]?.name}: rename it back`);
    }
    const what =
      here.size < part.size && here.head === part.head
        ? `ends too early: it has ${here.size} of ${part.size} bytes`
        : 'is not the part that was written';
    throw new BundleError('BUNDLE_PARTS', `${here.name} ${what}; copy it again`);
  }
}

/**
 * Checks, where there is no list, that no part is missing between those that there are.
 * @throws BundleError `BUNDLE_PARTS`
 */
export function checkNumbers(bundle: string, numbers: Iterable<number>): void {
  const all = new Set(numbers);
  for (let number = 0; number < all.size; number += 1) {
    if (all.has(number)) continue;
    throw new BundleError('BUNDLE_PARTS', `${partName(bundle, number)} is not there: bring it, too`);
  }
}

function isPart(value: unknown): value is BundlePart {
  const { name, size, head, sha256 } = (value ?? {}) as Record<string, unknown>;
  return [name, head, sha256].every((text) => typeof text === 'string') && Number.isSafeInteger(size);
}
