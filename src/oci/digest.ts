/**
 * A content digest, `algorithm:hex`, of an algorithm this registry verifies (sha256 or sha512).
 * Only {@link parseDigest} mints one, so holding a `Digest` proves that it is safe to build a path from.
 */
export type Digest = string & { readonly __brand: 'Digest' };

/** The algorithms that are verified: the two that the image-spec registers as required or recommended. */
export const digestAlgorithms = ['sha256', 'sha512'] as const;

/** One of {@link digestAlgorithms}. */
export type DigestAlgorithm = (typeof digestAlgorithms)[number];

const pattern = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** Parses a digest of the image-spec's grammar; `undefined` when malformed or of another algorithm. */
export function parseDigest(text: string): Digest | undefined {
  return pattern.test(text) ? (text as Digest) : undefined;
}

/** The algorithm part of a digest. */
export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.startsWith('sha256:') ? 'sha256' : 'sha512';
}

/** The hexadecimal part of a digest. */
export function digestHex(digest: Digest): string {
  return digest.slice(7);
}
