import { type Digest, parseDigest } from '../../oci/digest.ts';
import { sha256 } from './bundle-contents.ts';

/**
 * What a site holds after an import, to be carried back: the next export leaves out what is listed. Manifests and blobs
 * are the whole site's, sorted.
 */
export type Receipt = {
  readonly id: string;
  /** Of the bundle: `registry/repository`, tag and digest. */
  readonly images: readonly { readonly image: string; readonly tag?: string; readonly digest: Digest }[];
  readonly manifests: readonly Digest[];
  readonly blobs: readonly Digest[];
};

const format = 'entrepot-receipt';
const version = 1;

/** A receipt of what is listed; its id follows from that. */
export function makeReceipt({ images, manifests, blobs }: Omit<Receipt, 'id'>): Receipt {
  const listed = { images, manifests: [...manifests].sort(), blobs: [...blobs].sort() };
  return { id: sha256(JSON.stringify(listed)), ...listed };
}

/** The text of a receipt's file. */
export function encodeReceipt(receipt: Receipt): string {
  return `${JSON.stringify({ format, version, ...receipt }, undefined, 1)}\n`;
}

/** Reads a receipt's file, or the same as JSON value; `undefined` when it is not one, or was changed. */
export function parseReceipt(value: unknown): Receipt | undefined {
  const document = (typeof value === 'object' && value !== null ? value : {}) as Record<string, unknown>;
  const { images, manifests, blobs } = document;
  if (document['format'] !== format || document['version'] !== version) return undefined;
  if (!isDigestList(manifests) || !isDigestList(blobs) || !Array.isArray(images)) return undefined;
  const receipt = makeReceipt({ images: images as Receipt['images'], manifests, blobs });
  return receipt.id === document['id'] ? receipt : undefined;
}

function isDigestList(value: unknown): value is readonly Digest[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string' && parseDigest(entry));
}
