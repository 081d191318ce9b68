import { execFile } from 'node:child_process';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import SqliteDatabase from 'better-sqlite3';
import { expect, onTestFinished, test } from 'vitest';
import { IndexError } from '../../../src/store/sqlite/migrations.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { makeBlob } from '../../helpers/image.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { manifest, mustKey, mustTag } from '../../helpers/stored.ts';
import { describeMetadata } from '../contract-metadata.ts';

const app = mustKey('ghcr.io', 'org/app');
const v1 = mustTag('v1');

async function openIndex(file: string): Promise<SqliteMetadata> {
  const metadata = SqliteMetadata.open(file);
  onTestFinished(() => metadata.close());
  return metadata;
}

const openEmpty = async () => openIndex(join(await temporaryDirectory(), 'index.db'));
describeMetadata('SqliteMetadata', openEmpty);

test('the index is made with its folder, and what it holds is there after a restart', async () => {
  const file = join(await temporaryDirectory(), 'new', 'folder', 'index.db');
  const first = await openIndex(file);
  const stored = manifest('kept');
  await first.manifests.put(app, stored, [], { tag: v1, upstream: 'u', at: 7 });
  await first.close();
  const second = await openIndex(file);
  expect(await second.tags.get(app, v1)).toMatchObject({ digest: stored.digest, checkedAt: 7 });
  expect((await second.manifests.get(app, stored.digest))?.bytes.equals(stored.bytes)).toBe(true);
});

test('a second server in the same process is refused, and gets in once the first has closed', async () => {
  const file = join(await temporaryDirectory(), 'index.db');
  const first = await openIndex(file);
  expect(() => SqliteMetadata.open(file)).toThrow(IndexError);
  // The refusal left the first one whole.
  await first.manifests.put(app, manifest('m'), [], { tag: v1, upstream: 'u', at: 1 });
  await first.close();
  const second = await openIndex(file);
  expect(await second.tags.names(app)).toEqual(['v1']);
});

test('a second process is refused, with the folder and the reason in the message', async () => {
  const folder = await temporaryDirectory();
  const file = join(folder, 'index.db');
  const first = await openIndex(file);
  await first.blobs.put(makeBlob('b', 1).digest, 1, 1);
  const script = `
    import { SqliteMetadata } from ${JSON.stringify(new URL('../../../src/store/sqlite/sqlite-metadata.ts', import.meta.url).href)};
    try {
      SqliteMetadata.open(${JSON.stringify(file)});
      process.stdout.write('opened');
    } catch (error) {
      process.stdout.write(JSON.stringify({ code: error.code, message: error.message }));
    }
  `;
  const run = promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', script]);
  const told = JSON.parse((await run).stdout);
  expect(told.code).toBe('INDEX');
  expect(told.message).toContain(folder);
  expect(told.message).toContain('another entrepot');
});

test('a process that is killed holds the index no longer', async () => {
  const file = join(await temporaryDirectory(), 'index.db');
  const script = `
    import { SqliteMetadata } from ${JSON.stringify(new URL('../../../src/store/sqlite/sqlite-metadata.ts', import.meta.url).href)};
    const metadata = SqliteMetadata.open(${JSON.stringify(file)});
    await metadata.blobs.put('sha256:${'ab'.repeat(32)}', 1, 1);
    process.kill(process.pid, 'SIGKILL');
  `;
  const run = promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', script]);
  await expect(run).rejects.toMatchObject({ signal: 'SIGKILL' });
  await openIndex(file);
});

test('a newer version’s index is refused untouched', async () => {
  const file = join(await temporaryDirectory(), 'index.db');
  (await openIndex(file)).close();
  const raw = new SqliteDatabase(file);
  raw.pragma('user_version = 99');
  raw.close();
  expect(() => SqliteMetadata.open(file)).toThrow(/schema 99.*start the newer version/);
  const again = new SqliteDatabase(file);
  expect(again.pragma('user_version', { simple: true })).toBe(99);
  again.close();
});

test('a file that is no index is refused', async () => {
  const file = join(await temporaryDirectory(), 'index.db');
  await writeFile(file, 'this is a text file, and a long one at that. '.repeat(50));
  expect(() => SqliteMetadata.open(file)).toThrow();
});

test('pull times are noted on the manifest, the blob and the tag that were pulled', async () => {
  const file = join(await temporaryDirectory(), 'index.db');
  const metadata = await openIndex(file);
  const stored = manifest('m');
  const blob = makeBlob('b', 1);
  await metadata.manifests.put(app, stored, [], { tag: v1, upstream: 'u', at: 1 });
  await metadata.blobs.put(blob.digest, 1, 1);
  await metadata.journal.recordPulls([
    { kind: 'manifest', ...app, digest: stored.digest, tag: v1, at: 50 },
    { kind: 'blob', digest: blob.digest, at: 60 },
  ]);
  await metadata.close();
  const raw = new SqliteDatabase(file, { readonly: true });
  const pulledAt = (table: string) => raw.prepare(`SELECT pulled_at FROM ${table}`).pluck().all();
  expect({ manifest: pulledAt('manifest'), blob: pulledAt('blob'), tag: pulledAt('tag') }).toEqual({
    manifest: [50],
    blob: [60],
    tag: [50],
  });
  raw.close();
});
