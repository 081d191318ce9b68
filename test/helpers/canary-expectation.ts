import { expect } from 'vitest';
import { type CanarySide, canaryFinder, derivedTag, piecesOf } from './canary-side.ts';
import type { TestImage } from './image.ts';
import { type Answer, ociError } from './request.ts';

/** What a client asks a repository for. */
export type Asked = { readonly noun: 'manifests' | 'blobs' | 'referrers'; readonly reference: string };

/** What may come out of one repository, and what of it is known to be allowed by now. */
export class Expectation {
  readonly allowed: CanarySide;
  readonly #denied: ReadonlySet<string>;
  readonly #find: ReturnType<typeof canaryFinder>;
  readonly #known = new Set<string>();
  readonly #failClosed: boolean;

  constructor(allowed: CanarySide, denied: CanarySide, failClosed: boolean) {
    this.allowed = allowed;
    this.#failClosed = failClosed;
    const ours = new Set(digestsOf(allowed));
    this.#denied = new Set(digestsOf(denied).filter((digest) => !ours.has(digest)));
    this.#find = canaryFinder(denied);
  }

  /** Checks one answer, and takes note of what it makes known. */
  check({ noun, reference }: Asked, answer: Answer): void {
    expect(answer.complete || answer.status < 400).toBe(true);
    expect(this.#find(answer.body)).toEqual([]);
    expect(this.#denied.has(answer.digest)).toBe(false);
    const about = aboutOf(reference);
    if (reference === 'latest' && this.#failClosed && answer.status === 200) {
      expect(answer.headers['docker-content-digest']).not.toBe(undefined);
      expect(this.#denied.has(String(answer.headers['docker-content-digest']))).toBe(false);
      return;
    }
    if (reference === 'latest' || this.#denied.has(about)) {
      expect(answer.status).toBe(403);
      if (answer.length > 0) expect(ociError(answer).code).toBe('DENIED');
      return;
    }
    if (reference === 'v1' || this.#known.has(about)) this.#mustBeThere({ noun, reference }, answer);
    if (answer.status < 300) this.#learn({ noun, reference });
  }

  #mustBeThere({ noun, reference }: Asked, answer: Answer): void {
    const { index } = this.allowed;
    const there =
      noun === 'referrers' ||
      reference === 'v1' ||
      [derivedTag(index.manifest, ''), derivedTag(index.manifest, '.sig')].includes(reference) ||
      this.#has(noun, reference);
    if (!there) return;
    expect([200, 206, 304]).toContain(answer.status);
    if (answer.status === 200 && answer.length > 0 && reference.includes(':') && noun !== 'referrers') {
      expect(answer.digest).toBe(reference);
    }
  }

  #has(noun: Asked['noun'], reference: string): boolean {
    const { manifests: ours, blobs: content } = piecesOf(this.allowed);
    const all = noun === 'manifests' ? ours : [...ours, ...content];
    return all.some(({ digest }) => digest === reference);
  }

  /** What follows from an answer: what a manifest names, and what a list of referrers lists. */
  #learn({ noun, reference }: Asked): void {
    const { index, signature, sbom, fallback } = this.allowed;
    const named = new Map<string, readonly string[]>([
      [index.manifest.digest, index.images.map(({ manifest }) => manifest.digest)],
      [fallback.digest, [sbom.manifest.digest]],
      ...[...index.images, signature, sbom].map((image): [string, readonly string[]] => [
        image.manifest.digest,
        contentOf(image),
      ]),
    ]);
    const tagged = new Map([
      ['v1', index.manifest.digest],
      [derivedTag(index.manifest, '.sig'), signature.manifest.digest],
      [derivedTag(index.manifest, ''), fallback.digest],
    ]);
    if (noun === 'manifests') {
      const digest = tagged.get(reference) ?? reference;
      for (const each of [digest, ...(named.get(digest) ?? [])]) this.#known.add(each);
    } else if (noun === 'referrers' && reference === index.manifest.digest) {
      for (const { manifest } of [signature, sbom]) this.#known.add(manifest.digest);
    }
  }
}

/** The digests of an image's config and layers. */
export function contentOf({ config, layers }: TestImage): readonly string[] {
  return [config, ...layers].map(({ digest }) => digest);
}

function digestsOf(side: CanarySide): readonly string[] {
  const pieces = piecesOf(side);
  return [...pieces.manifests, ...pieces.blobs].map(({ digest }) => digest);
}

/** The digest that a reference is about: itself, or what a derived tag is derived from. */
function aboutOf(reference: string): string {
  return /^sha256-[0-9a-f]{64}/.test(reference) ? reference.slice(0, 71).replace('-', ':') : reference;
}
