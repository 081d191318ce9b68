import type { KeyObject } from 'node:crypto';
import type { Clock } from '../../lib/clock.ts';
import type { Digest } from '../../oci/digest.ts';
import type { ImageName } from '../../oci/image-name.ts';
import type { Descriptor } from '../../oci/manifest.ts';
import { repositoryText } from '../../oci/repository-key.ts';
import type { DigestThread } from '../../store/disk/digest-thread.ts';
import type { ImportStaging, Staging } from '../../store/disk/import-staging.ts';
import type { ImportedManifest, ImportedTag, ManifestRecords } from '../../store/manifest-records.ts';
import type { Metadata } from '../../store/metadata.ts';
import type { Lease, StoredBlobs } from '../../store/stored-blobs.ts';
import type { TagRecord } from '../../store/tag-records.ts';
import { nameOfImage } from '../bundle/bundle-contents.ts';
import { BundleError, isDiskFull } from '../bundle/bundle-error.ts';
import { makeReceipt, type Receipt } from '../bundle/receipt.ts';
import { ImportGraph, wrongSize } from './graph.ts';
import { admitBundle, checkRegistries, checkSigned } from './import-admission.ts';
import type { ImportEvent, ImportedImage, ImportSummary } from './import-events.ts';
import { ImportIntake, type Intake } from './intake.ts';
import { type Root, rootsOfContents, rootsOfLayout, savedImages, unnamed } from './roots.ts';
import { remakeImage } from './saved.ts';

/** What an import works with. */
type ImportDeps = {
  readonly metadata: Pick<Metadata, 'blobs' | 'manifests'>;
  /** Makes manifests visible, all of them or none, in memory too. */
  readonly manifests: Pick<ManifestRecords, 'import'>;
  readonly blobs: StoredBlobs;
  readonly staging: ImportStaging;
  readonly digests: DigestThread;
  readonly clock: Clock;
};

/** How an archive is to be read. */
export type ImportRequest = {
  /** What its images are called: one image with its tag, or the repository of all. */
  readonly name: ImageName | undefined;
  /** The key that the bundle must be signed with. */
  readonly verifyKey: KeyObject | undefined;
};

/**
 * Brings images in from an archive: a bundle of `entrepot export`, an OCI image layout in a tar, or what `docker save`
 * writes. Nothing of it can be seen until all of it was checked; then all of it can. The next import finds the blobs
 * that one stored which failed or was killed.
 */
export class Importer {
  readonly #deps: ImportDeps;
  readonly #options: { registries: readonly string[]; manifestSize: number };

  /**
   * @param options.registries the names of those that are configured
   * @param options.manifestSize the largest manifest accepted, in bytes
   */
  constructor(deps: ImportDeps, options: { registries: readonly string[]; manifestSize: number }) {
    this.#deps = deps;
    this.#options = options;
  }

  /**
   * Reads a tar archive to its end and imports what it holds.
   * @throws BundleError; the signal's reason when it aborts; what is stored already stays as it was
   */
  async run(
    archive: AsyncIterable<Uint8Array>,
    request: ImportRequest,
    emit: (event: ImportEvent) => void,
    signal: AbortSignal,
  ): Promise<ImportSummary> {
    try {
      const staging = await this.#deps.staging.begin();
      const lease = this.#deps.blobs.lease();
      try {
        return await this.#run(archive, request, { staging, lease, emit, signal });
      } finally {
        lease.release();
        await staging.close();
      }
    } catch (error) {
      if (!isDiskFull(error)) throw error;
      const message =
        'the disk is full: make space in the storage, then import again; what was there is untouched';
      throw new BundleError('NO_SPACE', message, { cause: error });
    }
  }

  async #run(
    archive: AsyncIterable<Uint8Array>,
    request: ImportRequest,
    {
      staging,
      lease,
      emit,
      signal,
    }: { staging: Staging; lease: Lease; emit: (event: ImportEvent) => void; signal: AbortSignal },
  ): Promise<ImportSummary> {
    const { metadata, blobs } = this.#deps;
    let signedBy: string | undefined;
    const counts = { stored: 0, bytes: 0, present: 0 };
    const intake = new ImportIntake(
      {
        blobs,
        lease,
        staging,
        admit: async (contents, bytes, signature) => {
          signedBy = checkSigned(contents, bytes, signature, request.verifyKey);
          if (contents === undefined) return;
          this.#checkRegistries(rootsOfContents(contents));
          emit(await admitBundle(contents, { blobs, lease, metadata, staging }));
        },
        emit: (event) => {
          if (event.kind === 'blob') {
            counts[event.state] += 1;
            if (event.state === 'stored') counts.bytes += event.size;
          }
          emit(event);
        },
      },
      { manifestSize: this.#options.manifestSize },
    );
    const held = await intake.read(archive, signal);
    const { roots, entries, made } = await this.#resolve(held, request, intake, signal);
    signal.throwIfAborted();
    const imported = await this.#deps.manifests.import(entries);
    const images = named(roots, made, imported);
    return { images, ...counts, signedBy, receipt: await this.#receipt(images) };
  }

  async #resolve(
    held: Intake,
    { name }: ImportRequest,
    intake: ImportIntake,
    signal: AbortSignal,
  ): Promise<{
    roots: readonly Root[];
    entries: readonly ImportedManifest[];
    made: ReadonlySet<Digest>;
  }> {
    const { contents, index, docker } = held;
    const remade = new Map<Digest, Buffer>();
    let roots: readonly Root[] = [];
    let nameless: ReturnType<typeof rootsOfLayout>['nameless'] = [];
    if (contents !== undefined) roots = rootsOfContents(contents);
    else if (index !== undefined) ({ roots, nameless } = rootsOfLayout(index, name));
    else if (docker !== undefined) {
      const found: Root[] = [];
      const images = savedImages(docker, name);
      for (const image of images) this.#checkRegistries(image.names.map((key) => ({ key })));
      for (const image of images) {
        const { roots: own, manifest, blobs } = await remakeImage(image, held, this.#deps.digests, signal);
        for (const blob of blobs) await intake.store(blob);
        for (const { digest } of own) remade.set(digest, manifest);
        found.push(...own);
      }
      roots = found;
    } else {
      throw new BundleError(
        'BUNDLE_UNSUPPORTED',
        'the archive has neither an index.json nor a manifest.json: it is no image layout and not from docker save, or was not copied whole',
      );
    }
    this.#checkRegistries(roots);
    const graph = this.#graph(held, remade, intake);
    for (const root of roots) await graph.add(root);
    for (const each of nameless) if (!(await graph.addReferrer(each))) throw unnamed();
    if (graph.entries.length === 0)
      throw new BundleError('BUNDLE_UNSUPPORTED', 'the archive has no image in it');
    return { roots, entries: graph.entries, made: new Set(remade.keys()) };
  }

  #graph(held: Intake, remade: ReadonlyMap<Digest, Buffer>, intake: ImportIntake): ImportGraph {
    const { metadata, blobs, clock } = this.#deps;
    const leftOut = new Set(held.contents?.leftOut?.manifests.map(({ digest }) => digest));
    return new ImportGraph(
      {
        manifest: async (digest) => {
          const aside = held.staged.get(digest);
          if (aside !== undefined) return aside.file.content();
          return remade.get(digest) ?? (leftOut.has(digest) ? metadata.manifests.bytes(digest) : undefined);
        },
        needBlob: async ({ digest, size }: Descriptor) => {
          const aside = held.staged.get(digest);
          const found = held.stored.get(digest) ?? aside?.size ?? (await blobs.present(digest));
          if (found === undefined) {
            throw new BundleError('BUNDLE_TRUNCATED', `the archive lacks ${digest}: it was not copied whole`);
          }
          if (found !== size) throw wrongSize(digest);
          if (aside !== undefined) await intake.store(aside);
        },
      },
      { at: clock.now() },
    );
  }

  #checkRegistries(roots: readonly Pick<Root, 'key'>[]): void {
    checkRegistries(
      roots.map(({ key }) => key.registry),
      this.#options.registries,
    );
  }

  async #receipt(images: readonly ImportedImage[]): Promise<Receipt> {
    const { metadata } = this.#deps;
    const blobs = await metadata.blobs.all();
    return makeReceipt({
      images: images.map(({ image, digest }) => ({ image, digest })),
      manifests: await metadata.manifests.digests(),
      blobs: blobs.map(({ digest }) => digest),
    });
  }
}

/** How images are named, and what their tags were served as before the import. */
function named(
  roots: readonly Root[],
  made: ReadonlySet<Digest>,
  imported: readonly ImportedTag[],
): readonly ImportedImage[] {
  const before = new Map<string, TagRecord | undefined>();
  for (const { key, tag, before: record } of imported) {
    const name = `${repositoryText(key)}:${tag}`;
    // A tag may come twice: what it was before the first was there before the import.
    if (!before.has(name)) before.set(name, record);
  }
  const images = new Map<string, ImportedImage>();
  for (const { key, tag, digest, referrer } of roots) {
    const image = nameOfImage({ image: repositoryText(key), tag, digest });
    const record = before.get(`${repositoryText(key)}:${tag}`);
    const other = record?.digest === digest ? undefined : record;
    const was = { before: other?.digest, held: other?.pinned === true };
    images.set(image, { image, digest, ...was, made: made.has(digest), referrer });
  }
  return [...images.values()];
}
