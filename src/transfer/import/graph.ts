import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import { type Descriptor, type ParsedManifest, parseManifest, platformText } from '../../oci/manifest.ts';
import { isManifestMediaType } from '../../oci/media-types.ts';
import { imageText, type RepositoryKey } from '../../oci/repository-key.ts';
import type { ChildLink, ImportedManifest, StoredManifest } from '../../store/manifest-records.ts';
import { BundleError } from '../bundle/bundle-error.ts';
import type { Nameless, Root } from './roots.ts';

/** Where a graph looks things up. */
type GraphSource = {
  /** The bytes of a manifest that the archive brings, or leaves out as stored here; `undefined` for others. */
  manifest(digest: Digest): Promise<Buffer | undefined>;
  /**
   * Makes sure that a blob of an image is stored with this size.
   * @throws BundleError when it is not
   */
  needBlob(descriptor: Descriptor): Promise<void>;
};

/** How deep indexes may be nested. */
const deepest = 4;

/** Media types of layers that may not be redistributed. Clients fetch them from elsewhere, or do without. */
const foreignLayer = /(?:nondistributable|foreign)/;

/**
 * Finds out all that is to be recorded for what an archive brings: each manifest with its children, once for every
 * repository and tag. Entries of an index that the archive does not bring are passed over, as their platforms are.
 */
export class ImportGraph {
  readonly #source: GraphSource;
  readonly #at: number;
  readonly #entries: ImportedManifest[] = [];
  readonly #seen = new Map<string, ImportedManifest>();

  /** @param options.at milliseconds since the epoch */
  constructor(source: GraphSource, options: { at: number }) {
    this.#source = source;
    this.#at = options.at;
  }

  /** What is to be recorded: every manifest comes after those that it names. */
  get entries(): readonly ImportedManifest[] {
    return this.#entries;
  }

  /** @throws BundleError for what is missing, OciError for a manifest that is invalid */
  async add({ key, tag, digest, mediaType }: Root): Promise<void> {
    const entry = await this.#walk(key, digest, mediaType, 0);
    if (entry === undefined) throw missing(digest);
    if (tag !== undefined) this.#entries.push({ ...entry, tag });
  }

  /** Adds a manifest without a name that refers to one with a name; `false`, and nothing is added, when it does not. */
  async addReferrer({ digest, mediaType }: Nameless): Promise<boolean> {
    const parsed = parsedAs(digest, await this.#bytes(digest), mediaType);
    const { subject } = parsed;
    const keys = this.#entries
      .filter(({ manifest }) => manifest.digest === subject?.digest)
      .map(({ key }) => key);
    for (const key of keys) await this.#walk(key, digest, mediaType, 0);
    return keys.length > 0;
  }

  async #walk(
    key: RepositoryKey,
    digest: Digest,
    mediaType: string | undefined,
    depth: number,
  ): Promise<ImportedManifest | undefined> {
    const name = imageText(key, { kind: 'digest', digest });
    const known = this.#seen.get(name);
    if (known !== undefined) return known;
    const bytes = await this.#source.manifest(digest);
    if (bytes === undefined) return undefined;
    if (depth > deepest)
      throw new BundleError('BUNDLE_UNSUPPORTED', `${digest} is an index in an index in an index`);
    const parsed = parsedAs(digest, bytes, mediaType);
    if (parsed.kind === 'index') await this.#children(key, digest, parsed.manifests, depth);
    else {
      for (const descriptor of [parsed.config, ...parsed.layers]) {
        if (!foreignLayer.test(descriptor.mediaType)) await this.#source.needBlob(descriptor);
      }
    }
    const manifest: StoredManifest = { digest, mediaType: parsed.mediaType, bytes };
    const entry = { key, manifest, children: childrenOf(parsed), tag: undefined, at: this.#at };
    this.#seen.set(name, entry);
    this.#entries.push(entry);
    return entry;
  }

  async #children(
    key: RepositoryKey,
    digest: Digest,
    manifests: readonly Descriptor[],
    depth: number,
  ): Promise<void> {
    let found = manifests.length === 0;
    for (const child of manifests) {
      const entry = await this.#walk(key, child.digest, child.mediaType, depth + 1);
      if (entry === undefined) continue;
      if (entry.manifest.bytes.length !== child.size) throw wrongSize(child.digest);
      found = true;
    }
    if (!found) {
      throw new BundleError(
        'BUNDLE_TRUNCATED',
        `the archive has the index ${digest}, but none of its images`,
      );
    }
  }

  async #bytes(digest: Digest): Promise<Buffer> {
    const bytes = await this.#source.manifest(digest);
    if (bytes === undefined) throw missing(digest);
    return bytes;
  }
}

/** The error for a blob or manifest whose size is not the one that its descriptor has. */
export function wrongSize(digest: Digest): BundleError {
  return new BundleError(
    'BUNDLE_CORRUPT',
    `${digest} is of another size than the manifest that names it says`,
  );
}

function parsedAs(digest: Digest, bytes: Buffer, mediaType: string | undefined): ParsedManifest {
  const type = mediaType !== undefined && isManifestMediaType(mediaType) ? mediaType : ownType(bytes);
  try {
    return parseManifest(bytes, type ?? mediaType ?? '');
  } catch (error) {
    if (!(error instanceof OciError)) throw error;
    throw new BundleError('BUNDLE_UNSUPPORTED', `${digest} cannot be imported: ${error.message}`, {
      cause: error,
    });
  }
}

/** The media type that a manifest's own bytes name. Image layouts may name none beside it. */
function ownType(bytes: Buffer): string | undefined {
  try {
    const { mediaType } = JSON.parse(bytes.toString('utf8')) as Record<string, unknown>;
    return typeof mediaType === 'string' ? mediaType : undefined;
  } catch {
    return undefined;
  }
}

function childrenOf(parsed: ParsedManifest): readonly ChildLink[] {
  const children =
    parsed.kind === 'index'
      ? parsed.manifests.map((child) => link('manifest', child))
      : [link('config', parsed.config), ...parsed.layers.map((child) => link('layer', child))];
  return parsed.subject === undefined ? children : [...children, link('subject', parsed.subject)];
}

function link(role: ChildLink['role'], { digest, size, mediaType, platform }: Descriptor): ChildLink {
  return { role, digest, size, mediaType, platform: platform && platformText(platform) };
}

function missing(digest: Digest): BundleError {
  return new BundleError(
    'BUNDLE_TRUNCATED',
    `the archive names ${digest} but lacks it: it was not copied whole`,
  );
}
