import path from 'node:path';
import { type Digest, digestAlgorithm, digestHex, parseDigest } from '../../oci/digest.ts';

/** The paths below one storage folder; built from validated digests only. `storage/README.md` explains them to people. */
export type Layout = {
  /** Whole, verified blobs: `blobs/<algorithm>/<first two hex digits>/<hex>`. */
  blob(digest: Digest): string;
  /** A download under way or interrupted: `fills/<algorithm>-<hex>`, and beside it `.map`. */
  fill(digest: Digest): string;
  /** A blob whose bytes have another digest than its name says: `quarantine/<algorithm>-<hex>`. */
  quarantined(digest: Digest): string;
  readonly blobs: string;
  readonly fills: string;
  readonly quarantine: string;
  /** Files of imports under way, until it is known what they are: `imports/import-<random>/`. */
  readonly imports: string;
  readonly index: string;
  /** The key that tokens are signed with. */
  readonly tokenKey: string;
  /** The socket on which commands reach the running server. */
  readonly control: string;
};

/** The layout of the storage folder at `root` (absolute). */
export function storageLayout(root: string): Layout {
  const blobs = path.join(root, 'blobs');
  const fills = path.join(root, 'fills');
  const quarantine = path.join(root, 'quarantine');
  return {
    blobs,
    fills,
    quarantine,
    imports: path.join(root, 'imports'),
    index: path.join(root, 'index.db'),
    tokenKey: path.join(root, 'token.key'),
    control: path.join(root, 'control.sock'),
    blob: (digest) => {
      const hex = digestHex(digest);
      return path.join(blobs, digestAlgorithm(digest), hex.slice(0, 2), hex);
    },
    quarantined: (digest) => path.join(quarantine, `${digestAlgorithm(digest)}-${digestHex(digest)}`),
    fill: (digest) => path.join(fills, `${digestAlgorithm(digest)}-${digestHex(digest)}`),
  };
}

/** The path of the map that says what has arrived in the fill at `path`. */
export function mapOfFill(path: string): string {
  return `${path}.map`;
}

/** The digest that a file in `fills/` is of, or the map beside it; `undefined` for a name that no fill has. */
export function digestOfFill(fileName: string): Digest | undefined {
  return parseDigest(fileName.replace(/\.map$/, '').replace('-', ':'));
}
