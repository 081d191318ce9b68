import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { onTestFinished } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { parseRepositoryName, parseTag, type RepositoryName, type Tag } from '../../../src/oci/reference.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { Namespaces } from '../../../src/pull/namespaces.ts';
import type { Registry } from '../../../src/pull/repository.ts';
import { DigestThread } from '../../../src/store/disk/digest-thread.ts';
import { DiskBlobStore } from '../../../src/store/disk/disk-blob-store.ts';
import { ImportStaging } from '../../../src/store/disk/import-staging.ts';
import { storageLayout } from '../../../src/store/disk/layout.ts';
import type { ManifestRecords } from '../../../src/store/manifest-records.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { StoredBlobs } from '../../../src/store/stored-blobs.ts';
import { Exporter, type ExportRequest } from '../../../src/transfer/export/exporter.ts';
import { Images, type ImageTarget } from '../../../src/transfer/images/images.ts';
import type { ImportEvent, ImportSummary } from '../../../src/transfer/import/import-events.ts';
import { Importer, type ImportRequest } from '../../../src/transfer/import/importer.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { nobody } from '../../helpers/facts.ts';
import { blobsOf, type TestBlob, type TestImage, type TestIndex } from '../../helpers/image.ts';
import { filesUnder } from '../../helpers/leaks.ts';
import { holdableMetadata } from '../../helpers/wrapped-metadata.ts';

/** One entrepot's storage, with what carries images out of it and into it. */
export type Site = Awaited<ReturnType<typeof openSite>>;

const noAbort = new AbortController().signal;

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'entrepot-bundle-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** Opens the storage in `root`; closed after the test at the latest. */
export async function openSite(root: string, registries: readonly string[] = ['docker.io', 'ghcr.io']) {
  await mkdir(root, { recursive: true });
  const layout = storageLayout(root);
  const { metadata, hold } = holdableMetadata(metadataUnderTest(SqliteMetadata.open(layout.index)));
  onTestFinished(() => metadata.close());
  const clock = { now: () => 1_000 };
  const blobs = new StoredBlobs({
    records: metadata.blobs,
    bytes: new DiskBlobStore(layout),
    clock,
    facts: nobody,
  });
  const digests = new DigestThread();
  onTestFinished(() => digests.close());
  const known = registries.map((name): Registry => {
    return {
      name,
      source: { kind: 'mirror', upstreams: [] },
      tagTtl: 0,
      negativeTtl: 0,
    } as unknown as Registry;
  });
  const namespaces = new Namespaces(known, { aliases: new Map(), defaultRegistry: registries[0] ?? '' });
  const images = new Images({ metadata, blobs, namespaces });
  const exporter = new Exporter({ images, metadata, blobs, digests });
  const staging = new ImportStaging({ layout, digests });
  let transactions = 0;
  const manifests: Pick<ManifestRecords, 'import'> = {
    import: (entries) => {
      transactions += 1;
      return metadata.manifests.import(entries);
    },
  };
  const importer = new Importer(
    { metadata, manifests, blobs, staging, digests, clock },
    { registries, manifestSize: 4 * 1024 * 1024 },
  );
  const store = new ManifestStore({ metadata, facts: nobody });

  const target = (name: string): ImageTarget => {
    const [, registry, repository, mark, reference] = /^([^/]+)\/([^:@]+)([:@])(.+)$/.exec(name) ?? [];
    const found = namespaces.all().find((each) => each.name === registry);
    if (found === undefined || repository === undefined || reference === undefined) throw new Error(name);
    return {
      target: { registry: found, repository: parseRepositoryName(repository) as RepositoryName },
      reference:
        mark === ':'
          ? { kind: 'tag', tag: parseTag(reference) as Tag }
          : { kind: 'digest', digest: reference as Digest },
    };
  };
  const putBlob = async ({ digest, bytes }: TestBlob) => {
    const file = path.join(root, 'incoming');
    await writeFile(file, bytes);
    await blobs.adopt(digest, file, bytes.length);
  };
  const putManifest = async (name: string, manifest: TestBlob) => {
    const { target: repository, reference } = target(name);
    await store.admit(
      { registry: repository.registry.name, repository: repository.repository },
      { bytes: manifest.bytes, mediaType: manifest.mediaType, digestHint: undefined },
      {
        digest: manifest.digest,
        tag: reference.kind === 'tag' ? reference.tag : undefined,
        upstream: 'up',
        at: 1,
      },
    );
  };
  const putImage = async (name: string, image: TestImage) => {
    for (const blob of blobsOf(image)) await putBlob(blob);
    await putManifest(name, image.manifest);
  };
  return {
    root,
    metadata,
    /** Stops the next call of a method of the index. */
    hold,
    blobs,
    images,
    exporter,
    importer,
    target,
    putBlob,
    putManifest,
    putImage,
    /** Stores an index with the images of some platforms. */
    putIndex: async (
      name: string,
      index: TestIndex,
      platforms = index.images.map((each) => each.platform),
    ) => {
      for (const image of index.images.filter((each) => platforms.includes(each.platform))) {
        await putImage(name.replace(/[:@][^/]*$/, `@${image.manifest.digest}`), image);
      }
      await putManifest(name, index.manifest);
    },
    export: async (names: readonly string[] | 'all', options: Partial<ExportRequest> = {}) => {
      const chosen = names === 'all' ? names : names.map(target);
      const plan = await exporter.plan(
        { platforms: [], since: undefined, ...options, images: chosen },
        noAbort,
      );
      const pieces: Uint8Array[] = [];
      for await (const piece of exporter.bytes(plan, noAbort)) pieces.push(piece);
      plan.release();
      return Buffer.concat(pieces);
    },
    import: async (
      archive: Buffer | AsyncIterable<Uint8Array>,
      options: Partial<ImportRequest> = {},
    ): Promise<ImportSummary & { events: readonly ImportEvent[] }> => {
      const events: ImportEvent[] = [];
      const pieces = Buffer.isBuffer(archive) ? piecesOf(archive, 10_007) : archive;
      const summary = await importer.run(
        pieces,
        { name: undefined, verifyKey: undefined, ...options },
        (event) => events.push(event),
        noAbort,
      );
      return { ...summary, events };
    },
    /** Everything that a client could see: tags, and the files of blobs. */
    visible: async () => {
      const tags: Record<string, string> = {};
      for (const key of await metadata.links.repositories()) {
        for (const tag of await metadata.tags.names(key)) {
          const record = await metadata.tags.get(key, tag as Tag);
          tags[`${key.registry}/${key.repository}:${tag}`] = record?.digest ?? '';
        }
      }
      return tags;
    },
    whole: async (name: string, platforms: readonly string[] = []) => {
      return (await images.state(target(name), platforms))?.whole ?? false;
    },
    /** How often manifests became visible. */
    transactions: () => transactions,
    blobFiles: () => filesUnder(path.join(root, 'blobs')).map((file) => path.basename(file)),
    leftovers: () => filesUnder(path.join(root, 'imports')),
    close: () => metadata.close(),
  };
}

/** Bytes in pieces of one size. */
export async function* piecesOf(bytes: Buffer, size: number): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
