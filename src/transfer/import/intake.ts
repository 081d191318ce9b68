import type { Digest } from '../../oci/digest.ts';
import type { Staging } from '../../store/disk/import-staging.ts';
import type { Lease, StoredBlobs } from '../../store/stored-blobs.ts';
import {
  type BundleContents,
  largestContents,
  layoutFile,
  memberNames,
  parseContents,
  sha256,
} from '../bundle/bundle-contents.ts';
import { BundleError } from '../bundle/bundle-error.ts';
import { compressionOf } from '../bundle/codec.ts';
import { largestSignature } from '../bundle/signature.ts';
import { type TarEntry, TarReader } from '../bundle/tar-read.ts';
import type { ImportEvent } from './import-events.ts';
import { digestOfBlob, isPlain, linkTarget, type StagedContent, stageMember } from './member.ts';

/** What an archive held. */
export type Intake = {
  readonly contents: BundleContents | undefined;
  /** `index.json` of an image layout. */
  readonly index: Buffer | undefined;
  /** `manifest.json` of `docker save`. */
  readonly docker: Buffer | undefined;
  /** Small members that begin as JSON does: each may be a manifest or a config. */
  readonly staged: ReadonlyMap<Digest, StagedContent>;
  /** Blobs of an image layout that are stored now. */
  readonly stored: ReadonlyMap<Digest, number>;
  /** Other files, by name. */
  readonly loose: ReadonlyMap<string, StagedContent>;
  /** Links: the member that each of these names stands for. */
  readonly links: ReadonlyMap<string, string>;
};

/** What a bundle says of one of its blobs. */
type Listed = { readonly size: number; readonly manifest: boolean };

/** Members that an archive may have. */
const mostMembers = 500_000;

/** Bytes of `index.json` and `manifest.json`. */
const largestIndex = 16 * 1024 * 1024;

/** Files of `docker save` that nothing is read from. */
const passedOver = /(?:^|\/)(?:VERSION|json|repositories|oci-layout)$/;

/**
 * Takes in one archive: blobs are verified and stored as they come, which nobody can see before a manifest names them;
 * everything else is kept aside. Names of members are compared, never used as paths.
 */
export class ImportIntake {
  readonly #deps: {
    blobs: StoredBlobs;
    /** Keeps what the archive has until manifests name it. */
    lease: Lease;
    staging: Staging;
  };
  readonly #options: { manifestSize: number };
  readonly #admit: (
    contents: BundleContents | undefined,
    bytes: Buffer,
    signature: Buffer | undefined,
  ) => Promise<void>;
  readonly #emit: (event: ImportEvent) => void;
  readonly #staged = new Map<Digest, StagedContent>();
  readonly #stored = new Map<Digest, number>();
  readonly #loose = new Map<string, StagedContent>();
  readonly #links = new Map<string, string>();
  readonly #plain = new Map<string, Buffer>();
  #contents: BundleContents | undefined;
  #listed: ReadonlyMap<Digest, Listed> | undefined;
  #admitted = false;

  /**
   * @param deps.admit is asked once, before anything is stored: with the contents if the archive begins with some, and
   *   their signature if there is one; it throws to refuse
   * @param options.manifestSize bytes up to which JSON may be a manifest
   */
  constructor(
    deps: {
      blobs: StoredBlobs;
      lease: Lease;
      staging: Staging;
      admit: (
        contents: BundleContents | undefined,
        bytes: Buffer,
        signature: Buffer | undefined,
      ) => Promise<void>;
      emit: (event: ImportEvent) => void;
    },
    options: { manifestSize: number },
  ) {
    this.#deps = deps;
    this.#admit = deps.admit;
    this.#emit = deps.emit;
    this.#options = options;
  }

  /** @throws BundleError, and whatever the archive's source or the disk throws */
  async read(archive: AsyncIterable<Uint8Array>, signal: AbortSignal): Promise<Intake> {
    const reader = new TarReader(archive);
    try {
      let members = 0;
      for (let entry = await reader.next(); entry !== undefined; entry = await reader.next()) {
        signal.throwIfAborted();
        members += 1;
        if (members > mostMembers) throw unsupported(`it has more than ${mostMembers} members`);
        await this.#take(entry, reader, signal);
      }
      await this.#admitOnce();
      if (this.#contents !== undefined) this.#checkBundle(this.#contents, reader.deviation);
      return {
        contents: this.#contents,
        index: this.#plain.get(memberNames.index),
        docker: this.#plain.get(memberNames.docker),
        staged: this.#staged,
        stored: this.#stored,
        loose: this.#loose,
        links: this.#links,
      };
    } finally {
      await reader.close();
    }
  }

  async #take(entry: TarEntry, reader: TarReader, signal: AbortSignal): Promise<void> {
    const name = entry.name.replace(/^(?:\.?\/)+/, '');
    if (entry.kind === 'link') {
      // A link is a second name within the archive, as docker writes for a layer that it has twice.
      if (entry.target !== undefined) this.#links.set(name, linkTarget(name, entry.target));
      return;
    }
    if (entry.kind !== 'file') return;
    if (isPlain(name)) {
      if (this.#plain.has(name)) throw unsupported(`it has ${name} twice`);
      const most = name === memberNames.contents ? largestContents : largestIndex;
      const bytes = await reader.readWhole(name === memberNames.signature ? largestSignature : most);
      this.#plain.set(name, bytes);
      if (name === memberNames.contents) this.#describe(bytes);
      return;
    }
    await this.#admitOnce();
    const digest = digestOfBlob(name);
    if (digest !== undefined) await this.#takeBlob(digest, entry, reader, signal);
    else if (this.#contents !== undefined) throw damaged(`${name} is not in its contents`);
    else if (!this.#plain.has(memberNames.layout) && !passedOver.test(name))
      await this.#takeLoose(name, entry, reader, signal);
  }

  #describe(bytes: Buffer): void {
    if (this.#admitted) throw unsupported(`${memberNames.contents} comes after what it describes`);
    const contents = parseContents(bytes);
    this.#contents = contents;
    const listed = new Map<Digest, Listed>();
    for (const { digest, size } of contents.manifests) listed.set(digest, { size, manifest: true });
    for (const { digest, size } of contents.blobs) listed.set(digest, { size, manifest: false });
    this.#listed = listed;
  }

  /** Asks, before anything is stored, whether the archive is taken: what is refused leaves nothing behind. */
  async #admitOnce(): Promise<void> {
    if (this.#admitted) return;
    this.#admitted = true;
    const bytes = this.#plain.get(memberNames.contents) ?? Buffer.alloc(0);
    await this.#admit(this.#contents, bytes, this.#plain.get(memberNames.signature));
  }

  async #takeBlob(digest: Digest, entry: TarEntry, reader: TarReader, signal: AbortSignal): Promise<void> {
    const listed = this.#listed?.get(digest);
    if (this.#contents !== undefined && listed?.size !== entry.size) {
      throw damaged(
        `${digest} is ${listed === undefined ? 'not in its contents' : 'of another size than its contents say'}`,
      );
    }
    if (this.#stored.has(digest) || this.#staged.has(digest)) return;
    const { blobs, lease } = this.#deps;
    lease.hold(digest);
    if (listed?.manifest !== true && (await blobs.present(digest)) === entry.size) {
      this.#stored.set(digest, entry.size);
      this.#emit({ kind: 'blob', digest, size: entry.size, state: 'present' });
      return;
    }
    const { file, found, first } = await stageMember(
      entry,
      reader,
      { staging: this.#deps.staging, digest },
      signal,
    );
    if (found !== digest) {
      await file.discard();
      throw damaged(`${digest} has other bytes: they are ${found}`);
    }
    const aside = listed?.manifest ?? this.#mayBeManifest(entry, first);
    if (aside) this.#staged.set(digest, { digest, size: entry.size, file, compression: undefined });
    else await this.store({ digest, size: entry.size, file, compression: undefined });
  }

  async #takeLoose(name: string, entry: TarEntry, reader: TarReader, signal: AbortSignal): Promise<void> {
    const { file, found, first } = await stageMember(
      entry,
      reader,
      { staging: this.#deps.staging, digest: undefined },
      signal,
    );
    const content = { digest: found, size: entry.size, file, compression: compressionOf(first) };
    await this.#loose.get(name)?.file.discard();
    this.#loose.set(name, content);
  }

  /** Stores what was kept aside, once it is known to be a blob. */
  async store({ digest, size, file }: StagedContent): Promise<void> {
    const { blobs, lease } = this.#deps;
    if (this.#stored.has(digest)) return;
    lease.hold(digest);
    const present = (await blobs.present(digest)) === size;
    if (present) await file.discard();
    else await blobs.adopt(digest, file.path, size);
    this.#stored.set(digest, size);
    this.#emit({ kind: 'blob', digest, size, state: present ? 'present' : 'stored' });
  }

  #mayBeManifest({ size }: TarEntry, first: Buffer): boolean {
    return size <= this.#options.manifestSize && /^\s*\{/.test(first.toString('latin1'));
  }

  /** Checks what of a bundle is no blob. Every such byte has a checksum, or is the same in all bundles. */
  #checkBundle(contents: BundleContents, deviation: string | undefined): void {
    if (deviation !== undefined) throw damaged(`bytes ${deviation} are not what was written`);
    if (!this.#plain.get(memberNames.layout)?.equals(layoutFile)) throw damaged(memberNames.layout);
    for (const name of [memberNames.index, memberNames.docker]) {
      const bytes = this.#plain.get(name);
      if (contents.files[name] !== (bytes && sha256(bytes))) throw damaged(name);
    }
    for (const digest of this.#listed?.keys() ?? []) {
      if (this.#staged.has(digest) || this.#stored.has(digest)) continue;
      throw new BundleError('BUNDLE_TRUNCATED', `the bundle lacks ${digest}: it was not copied whole`);
    }
  }
}

function damaged(what: string): BundleError {
  return new BundleError('BUNDLE_CORRUPT', `the archive is damaged: ${what}; copy it again`);
}

function unsupported(what: string): BundleError {
  return new BundleError('BUNDLE_UNSUPPORTED', `this archive cannot be imported: ${what}`);
}
