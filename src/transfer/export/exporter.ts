import { formatSize } from '../../lib/units.ts';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import { isIndexMediaType } from '../../oci/media-types.ts';
import type { DigestStream } from '../../store/disk/digest-stream.ts';
import type { DigestThread } from '../../store/disk/digest-thread.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { Lease, StoredBlobs } from '../../store/stored-blobs.ts';
import { nameOfImage } from '../bundle/bundle-contents.ts';
import { BundleError } from '../bundle/bundle-error.ts';
import type { ChosenImage } from '../bundle/layout-files.ts';
import type { Receipt } from '../bundle/receipt.ts';
import { tarEnd, tarHead, tarPadding } from '../bundle/tar-write.ts';
import { type ImageState, type Images, type ImageTarget, imageTitle } from '../images/images.ts';
import { type BundlePlan, type PlannedMember, planBundle } from './plan.ts';

/** What is to be exported. */
export type ExportRequest = {
  /** `all` means every image with a tag of which some platform is stored whole. */
  readonly images: readonly ImageTarget[] | 'all';
  /** `os/architecture[/variant]`; empty: those that are stored whole. */
  readonly platforms: readonly string[];
  /** What the other side has. */
  readonly since: Receipt | undefined;
};

/** A bundle that is ready to be written, and what is not in it. */
export type ExportPlan = BundlePlan & {
  /** Names of images that are not stored whole for any platform; only where all images were asked for. */
  readonly skipped: readonly string[];
  /** Lets go of what the bundle holds; to be called when it was written, or is not going to be. Idempotent. */
  release(): void;
};

/** What an export works with. */
type ExportDeps = {
  readonly images: Images;
  readonly metadata: Pick<Metadata, 'manifests' | 'tags'>;
  readonly blobs: StoredBlobs;
  readonly digests: DigestThread;
};

/** Bytes of a file that are read at a time. */
const readSize = 512 * 1024;

/** Small pieces are put together until they are this long, in bytes. */
const pieceSize = 64 * 1024;

/** Writes images that are stored whole as a bundle: an OCI image layout in a tar archive. No upstream is asked. */
export class Exporter {
  readonly #deps: ExportDeps;

  constructor(deps: ExportDeps) {
    this.#deps = deps;
  }

  /**
   * Finds out what a bundle would hold, and keeps that until the plan is released.
   * @throws BundleError `NOT_STORED` for an image that is not stored whole
   */
  async plan({ images, platforms, since }: ExportRequest, signal: AbortSignal): Promise<ExportPlan> {
    const lease = this.#deps.blobs.lease();
    try {
      const chosen: ChosenImage[] = [];
      const skipped: string[] = [];
      for await (const image of images === 'all' ? this.#deps.images.all() : images) {
        signal.throwIfAborted();
        const found = await this.#choose(image, platforms, lease);
        if ('state' in found) chosen.push(found);
        else if (images === 'all') skipped.push(imageTitle(image));
        else throw new BundleError('NOT_STORED', found.why);
      }
      if (chosen.length === 0) {
        throw new BundleError(
          'NOT_STORED',
          'no image is stored whole: "entrepot warm IMAGE" brings one here',
        );
      }
      const plan = await planBundle(this.#deps.metadata, chosen, since);
      return { ...plan, skipped, release: lease.release };
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  /**
   * The bytes of a bundle, in memory that does not grow with it; every blob's digest is checked on the way.
   * @throws BundleError `NOT_STORED` when content went away or is damaged since it was planned: the archive is void
   */
  async *bytes({ members }: BundlePlan, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    let small: Buffer[] = [];
    let length = 0;
    for await (const piece of this.#pieces(members)) {
      signal.throwIfAborted();
      small.push(piece);
      length += piece.length;
      if (length < pieceSize) continue;
      for (const whole of small.length > 8 ? [Buffer.concat(small)] : small) yield whole;
      [small, length] = [[], 0];
    }
    yield Buffer.concat(small);
  }

  async *#pieces(members: readonly PlannedMember[]): AsyncGenerator<Buffer, void, undefined> {
    for (const member of members) {
      yield tarHead(member);
      const { content } = member;
      if (content.kind === 'bytes') yield content.bytes;
      else if (content.kind === 'blob') yield* this.#blob(content.digest, member.size);
      else {
        const manifest = await this.#deps.metadata.manifests.get(content.key, content.digest);
        if (manifest?.bytes.length !== member.size) throw changed(content.digest);
        yield manifest.bytes;
      }
      yield tarPadding(member.size);
    }
    yield tarEnd;
  }

  async *#blob(digest: Digest, size: number): AsyncGenerator<Buffer, void, undefined> {
    const file = await this.#deps.blobs.open(digest);
    if (file === undefined || file.size !== size) {
      await file?.close();
      throw changed(digest);
    }
    const read = async (position: number) => {
      const length = Math.min(readSize, size - position);
      const buffer = Buffer.allocUnsafeSlow(length);
      const bytes = await file.read(buffer, length, position);
      if (bytes === 0) throw changed(digest);
      return buffer.subarray(0, bytes);
    };
    let ahead: Promise<Buffer> | undefined;
    let stream: DigestStream | undefined;
    try {
      stream = this.#deps.digests.begin(digestAlgorithm(digest));
      ahead = size === 0 ? undefined : read(0);
      for (let position = 0; ahead !== undefined; ) {
        const piece: Buffer = await ahead;
        position += piece.length;
        // The disk works on the next piece while this one is sent.
        ahead = position < size ? read(position) : undefined;
        await stream.write(piece);
        if (ahead === undefined && (await stream.end()) !== digest) throw changed(digest);
        yield piece;
      }
    } finally {
      await stream?.drop();
      await ahead?.catch(() => undefined);
      await file.close();
    }
  }

  async #choose(
    image: ImageTarget,
    platforms: readonly string[],
    lease: Lease,
  ): Promise<ChosenImage | { readonly why: string }> {
    const { images } = this.#deps;
    const state = await images.state(image, platforms, lease);
    const title = imageTitle(image);
    if (state === undefined)
      return { why: `${title} is not stored here: "entrepot warm ${title}" brings it` };
    if (state.whole) {
      const chosen = platforms.length === 0 ? state.platforms : platforms;
      return { image, state, platforms: isIndexMediaType(state.mediaType) ? chosen : [] };
    }
    if (platforms.length === 0 && isIndexMediaType(state.mediaType)) {
      const whole: string[] = [];
      for (const platform of state.platforms) {
        if ((await images.state(image, [platform], lease))?.whole) whole.push(platform);
      }
      const some = whole.length === 0 ? undefined : await images.state(image, whole, lease);
      if (some?.whole) return { image, state: some, platforms: whole };
    }
    return { why: missingFrom(title, state, platforms) };
  }
}

/** What an export will write, for people. */
export function planSummary({ contents, size, skipped }: ExportPlan) {
  const { images, manifests, blobs, leftOut } = contents;
  return {
    size,
    images: images
      .filter(({ referrer }) => !referrer)
      .map((image) => ({
        image: nameOfImage(image),
        digest: image.digest,
        ...(image.platforms.length > 0 && { platforms: image.platforms }),
      })),
    manifests: manifests.length,
    blobs: blobs.length,
    leftOut: leftOut ? leftOut.manifests.length + leftOut.blobs.length : 0,
    skipped,
  };
}

function missingFrom(title: string, state: ImageState, platforms: readonly string[]): string {
  const missing = state.parts.filter(({ stored, role }) => !stored && role !== 'referrer');
  const size = formatSize(missing.reduce((sum, part) => sum + part.size, 0));
  const warm = `"entrepot warm ${[title, ...platforms.map((each) => `--platform ${each}`)].join(' ')}"`;
  if (state.lacking.length > 0) {
    return `${title} has no image for ${state.lacking.join(', ')}: it has ${state.platforms.join(', ')}`;
  }
  return `${title} is not stored whole: ${missing.length} parts (${size}) are missing; ${warm} brings them`;
}

function changed(digest: Digest): BundleError {
  return new BundleError(
    'NOT_STORED',
    `${digest} went away or is damaged: run "entrepot verify", warm the image again, then export it again`,
  );
}
