import { expect, onTestFinished, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { Tag } from '../../src/oci/reference.ts';
import type { RepositoryKey } from '../../src/oci/repository-key.ts';
import { waysTo } from '../../src/pull/ways.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { SqliteMetadata } from '../../src/store/sqlite/sqlite-metadata.ts';
import { makeBlob } from '../helpers/image.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';
import { manifest } from '../helpers/stored.ts';
import { app, child, layer, namesake, other, put, v1, v2 } from '../store/contract-content.ts';

const [first, second, third] = [manifest('1'), manifest('2'), manifest('3')];

/** The ways to a digest as `tag from digest`, noted digests behind; those from a tag must come first. */
async function ways(
  metadata: Metadata,
  digest: Digest,
  options: { current?: boolean; noted?: readonly Digest[]; key?: RepositoryKey } = {},
): Promise<readonly string[]> {
  const { current = false, noted = [], key = app } = options;
  const written: { tagged: boolean; way: string }[] = [];
  for await (const { tag, via } of waysTo(metadata.links, key, digest, { current, noted })) {
    written.push({ tagged: tag !== undefined, way: [tag ?? 'nothing', ...via].join(' ') });
  }
  const tagged = written.filter(({ tagged }) => tagged);
  expect(written.slice(0, tagged.length)).toEqual(tagged);
  const inOrder = (all: typeof written) => all.map(({ way }) => way).sort();
  return [...inOrder(tagged), ...inOrder(written.slice(tagged.length))];
}

async function openIndex(): Promise<SqliteMetadata> {
  const metadata = SqliteMetadata.open(`${await temporaryDirectory()}/index.db`);
  onTestFinished(() => metadata.close());
  return metadata;
}

const image = manifest('image');
const index = manifest('index');

/** An index, its image, and the image's layer. */
async function putIndex(metadata: Metadata, key: RepositoryKey = app, ...tags: Tag[]) {
  const [tag] = tags;
  await put(metadata, index, { key, ...(tag && { tag }), children: [child(image.digest, 'manifest')] });
  await put(metadata, image, { key, children: [child(layer)] });
}

test('a digest of which nothing is known is where its way begins', async () => {
  const metadata = await openIndex();
  expect(await ways(metadata, layer)).toEqual([`nothing ${layer}`]);
  await put(metadata, first, { tag: v1 });
  expect(await ways(metadata, layer)).toEqual([`nothing ${layer}`]);
});

test('a tag leads to its index, to the images in it, and to their blobs', async () => {
  const metadata = await openIndex();
  await putIndex(metadata, app, v1);
  for (const digest of [index.digest, image.digest, layer]) {
    expect(await ways(metadata, digest)).toEqual([`v1 ${index.digest}`]);
  }
});

test('without a tag the way begins at the index', async () => {
  const metadata = await openIndex();
  await putIndex(metadata);
  expect(await ways(metadata, layer)).toEqual([`nothing ${index.digest}`]);
});

test('a blob that several images share has a way from each', async () => {
  const metadata = await openIndex();
  await put(metadata, first, { tag: v1, children: [child(layer)] });
  await put(metadata, second, { tag: v2, children: [child(layer, 'config')] });
  await put(metadata, third, { children: [child(layer)] });
  expect(await ways(metadata, layer)).toEqual([
    `v1 ${first.digest}`,
    `v2 ${second.digest}`,
    `nothing ${third.digest}`,
  ]);
});

test('past digests of a tag count, unless only current ones are asked for', async () => {
  const metadata = await openIndex();
  await put(metadata, first, { tag: v1, at: 1, children: [child(layer)] });
  await put(metadata, second, { tag: v1, at: 2 });
  expect(await ways(metadata, layer)).toEqual([`v1 ${first.digest}`]);
  expect(await ways(metadata, layer, { current: true })).toEqual([`nothing ${first.digest}`]);
  expect(await ways(metadata, second.digest, { current: true })).toEqual([`v1 ${second.digest}`]);
  await metadata.tags.drop(app, v1);
  expect(await ways(metadata, second.digest, { current: true })).toEqual([`nothing ${second.digest}`]);
  expect(await ways(metadata, second.digest)).toEqual([`v1 ${second.digest}`]);
});

test('a tag leads to what it is set to, and not to what upstream says that it is', async () => {
  const metadata = await openIndex();
  await put(metadata, first, { tag: v1, at: 1 });
  await put(metadata, second);
  const seen = { digest: second.digest, upstream: 'up', at: 2, confirms: true };
  await metadata.tags.observe(app, v1, seen);
  expect(await ways(metadata, second.digest)).toEqual([`nothing ${second.digest}`]);
  await metadata.tags.set(app, v1, { digest: second.digest, action: 'locked', at: 3 });
  expect(await ways(metadata, second.digest)).toEqual([`v1 ${second.digest}`]);
  expect(await ways(metadata, second.digest, { current: true })).toEqual([`v1 ${second.digest}`]);
});

test('what refers to an image is led to by what leads to that image, and so are its blobs', async () => {
  const metadata = await openIndex();
  await putIndex(metadata, app, v1);
  const signature = manifest('signature');
  const payload = makeBlob('payload', 5).digest;
  const children = [child(payload), child(image.digest, 'subject')];
  await put(metadata, signature, { children });
  for (const digest of [signature.digest, payload]) {
    expect(await ways(metadata, digest)).toEqual([`v1 ${index.digest}`]);
  }
  // Not the other way round: whoever signs an image does not lead to it.
  await put(metadata, signature, { tag: v2, children });
  expect(await ways(metadata, image.digest)).toEqual([`v1 ${index.digest}`]);
});

test('what an upstream lists as referring to an image is led to by it, in that repository alone', async () => {
  const metadata = await openIndex();
  await putIndex(metadata, app, v1);
  const listed = manifest('listed').digest;
  await metadata.links.putReferrers(app, image.digest, [listed, third.digest]);
  await metadata.links.putReferrers(app, image.digest, [listed]);
  for (const digest of [listed, third.digest]) {
    expect(await ways(metadata, digest)).toEqual([`v1 ${index.digest}`]);
  }
  await putIndex(metadata, other, v1);
  expect(await ways(metadata, listed, { key: other })).toEqual([`nothing ${listed}`]);
});

test('no way crosses from one repository to another, nor to its namesake of another registry', async () => {
  const metadata = await openIndex();
  await putIndex(metadata, app, v1);
  for (const key of [other, namesake]) {
    for (const digest of [index.digest, image.digest, layer]) {
      expect(await ways(metadata, digest, { key })).toEqual([`nothing ${digest}`]);
    }
  }
  // The other repository has the image, but not the index that leads to it here.
  await put(metadata, image, { key: other, tag: v2, children: [child(layer)] });
  expect(await ways(metadata, layer, { key: other })).toEqual([`v2 ${image.digest}`]);
  expect(await ways(metadata, layer)).toEqual([`v1 ${index.digest}`]);
});

test('what lies on the way is noted where it is asked for', async () => {
  const metadata = await openIndex();
  await putIndex(metadata, app, v1);
  await put(metadata, first, { tag: v2, children: [child(layer)] });
  const noted = [image.digest, third.digest, layer];
  expect(await ways(metadata, layer, { noted })).toEqual([
    `v1 ${index.digest} ${image.digest}`,
    `v2 ${first.digest}`,
  ]);
});

test('those who refer to each other lead nowhere', async () => {
  const metadata = await openIndex();
  await metadata.links.putReferrers(app, first.digest, [second.digest]);
  await metadata.links.putReferrers(app, second.digest, [first.digest]);
  const noted = [first.digest, second.digest];
  expect(await ways(metadata, first.digest, { noted })).toEqual([]);
});
