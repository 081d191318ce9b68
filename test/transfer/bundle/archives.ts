import { gzipSync } from 'node:zlib';
import { tarEnd, tarHead, tarPadding } from '../../../src/transfer/bundle/tar-write.ts';
import {
  blobOf,
  descriptorOf,
  digestOf,
  manifestOf,
  seededBytes,
  type TestBlob,
  type TestImage,
} from '../../helpers/image.ts';

/** A member of an archive that a test makes; a text as content is that of a symbolic link. */
export type Member = readonly [name: string, content: Buffer | { readonly link: string }];

/** Packs members in the order given. */
export function tarOf(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(([name, content]) => {
    if (!Buffer.isBuffer(content)) return [linkHead(name, content.link)];
    return [tarHead({ name, size: content.length }), content, tarPadding(content.length)];
  });
  return Buffer.concat([...blocks, tarEnd]);
}

/** The members of an OCI image layout, in the order in which skopeo writes them: what describes it comes last. */
export function layoutOf(
  images: readonly TestImage[],
  annotations: readonly (Readonly<Record<string, string>> | undefined)[],
): Member[] {
  const manifests = images.map((image, position) => {
    const given = annotations[position];
    return { ...descriptorOf(image.manifest), ...(given && { annotations: given }) };
  });
  const blobs = new Map<string, TestBlob>();
  for (const image of images) {
    for (const blob of [image.manifest, image.config, ...image.layers]) blobs.set(blob.digest, blob);
  }
  return [
    ['blobs/', Buffer.alloc(0)],
    ['blobs/sha256/', Buffer.alloc(0)],
    ...[...blobs.values()].map((blob): Member => [`blobs/sha256/${blob.digest.slice(7)}`, blob.bytes]),
    ['index.json', json({ schemaVersion: 2, manifests })],
    ['oci-layout', json({ imageLayoutVersion: '1.0.0' })],
  ];
}

/** What `docker save` wrote before version 25: a folder a layer, a link where a layer comes twice. */
export function dockerSave(options: {
  tags: readonly string[] | null;
  gzip?: boolean;
  layers?: readonly Buffer[];
}): { members: Member[]; config: TestBlob; layers: readonly TestBlob[] } {
  const plain = options.layers ?? [seededBytes('one', 3_000), seededBytes('two', 2_000)];
  const layers = plain.map((bytes) => blobOf(options.gzip ? gzipSync(bytes) : bytes));
  const config = manifestOf(
    {
      os: 'linux',
      architecture: 'amd64',
      rootfs: { type: 'layers', diff_ids: plain.map((bytes) => digestOf(bytes)) },
    },
    'application/vnd.oci.image.config.v1+json',
  );
  const configName = `${config.digest.slice(7)}.json`;
  const members: Member[] = layers.flatMap((layer, position): Member[] => [
    [`layer${position}/`, Buffer.alloc(0)],
    [`layer${position}/VERSION`, Buffer.from('1.0')],
    [`layer${position}/json`, json({ id: `layer${position}` })],
    [`layer${position}/layer.tar`, layer.bytes],
  ]);
  members.push(['twice/layer.tar', { link: '../layer0/layer.tar' }]);
  members.push([configName, config.bytes]);
  const names = [
    'twice/layer.tar',
    ...layers.slice(1).map((_, position) => `layer${position + 1}/layer.tar`),
  ];
  members.push(['manifest.json', json([{ Config: configName, RepoTags: options.tags, Layers: names }])]);
  members.push(['repositories', json({})]);
  return { members, config, layers };
}

/** A value as the bytes of a JSON file. */
export function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function linkHead(name: string, target: string): Buffer {
  const head = tarHead({ name, size: 0 });
  head.write('2', 156);
  head.write(target, 157, 'latin1');
  const sum = head.reduce((total, byte, at) => total + (at >= 148 && at < 156 ? 32 : byte), 0);
  head.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return head;
}
