import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, onTestFinished, test } from 'vitest';
import { bundleRoutes } from '../../src/http/admin/bundle-routes.ts';
import { ControlServer } from '../../src/http/server/control-server.ts';
import { silentLog } from '../../src/lib/log.ts';
import { SocketFile } from '../../src/store/disk/socket-file.ts';
import { makeImage, makeIndex, type TestImage } from '../helpers/image.ts';
import { openSite, type Site, temporaryFolder } from '../transfer/bundle/bundle-scene.ts';
import { runCli } from './run-cli.ts';

const name = 'docker.io/library/app:1.0';
const main = path.join(import.meta.dirname, '../../src/main.ts');

/** A folder with a configuration, whose storage nobody has open unless it is asked for. */
async function siteFolder(label: string) {
  const folder = path.join(await temporaryFolder(), label);
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'config.yaml'), 'listen: 127.0.0.1:0\nstorage: {path: ./storage}\n');
  const storage = path.join(folder, 'storage');
  return {
    folder,
    open: async <T>(work: (site: Site) => Promise<T>): Promise<T> => {
      const site = await openSite(storage);
      try {
        return await work(site);
      } finally {
        await site.close();
      }
    },
    run: async (...args: string[]) => runCli(args, { cwd: folder }),
    ok: async (...args: string[]) => {
      const { code, stdout, stderr } = await runCli(args, { cwd: folder });
      expect([code, stderr.replace(/^(?!entrepot:).*\n/gm, '')]).toEqual([0, '']);
      return stdout;
    },
    file: (file: string) => path.join(folder, file),
  };
}

async function sites(image: TestImage = makeImage({ layers: [200_000, 100_000] })) {
  const [a, b] = [await siteFolder('a'), await siteFolder('b')];
  await a.open((site) => site.putImage(name, image));
  return { a, b, image };
}

/** Lets commands in `folder` talk to a server with the storage below it. */
async function serve(folder: string): Promise<Site> {
  const site = await openSite(path.join(folder, 'storage'));
  const routes = bundleRoutes(
    { images: site.images, exporter: site.exporter, importer: site.importer, log: silentLog },
    { defaultRegistry: 'docker.io', registries: ['docker.io', 'ghcr.io'] },
  );
  const file = new SocketFile(path.join(folder, 'storage/control.sock'));
  const server = new ControlServer(
    { current: () => ({ control: routes }), file, log: silentLog },
    { drainTimeout: 1_000 },
  );
  onTestFinished(() => server.close());
  await server.start();
  return site;
}

describe('export and import', () => {
  test('carry an image with no server on either side, and a receipt back', async () => {
    const { a, b, image } = await sites();
    await a.ok('export', 'app:1.0', '-o', 'bundle.tar');
    const said = await b.ok('import', a.file('bundle.tar'));
    expect(said).toContain(`${name}  ${image.manifest.digest}`);
    expect(await b.open((site) => site.whole(name))).toBe(true);
    const next = makeImage({ seed: 'next', layers: [5_000] });
    await a.open((site) => site.putImage('docker.io/library/app:2.0', next));
    await a.ok('export', '--all', '-o', 'delta.tar', '--since', 'bundle.tar.receipt.json');
    expect(readFileSync(a.file('delta.tar')).length).toBeLessThan(20_000);
    await b.ok('import', a.file('delta.tar'), '--receipt', 'back.json');
    expect(await b.open((site) => site.whole('docker.io/library/app:2.0'))).toBe(true);
    expect(existsSync(b.file('back.json'))).toBe(true);
  });

  test('carry an image from one running server to another', async () => {
    const { a, b } = await sites(makeImage({ layers: [3_000_000, 1_000_000] }));
    await serve(a.folder);
    const there = await serve(b.folder);
    const shown = JSON.parse(await a.ok('export', 'app:1.0', '-o', 'bundle.tar', '--json')) as {
      size: number;
    };
    expect(shown.size).toBe(readFileSync(a.file('bundle.tar')).length);
    const events = await b.ok('import', a.file('bundle.tar'), '--json');
    const kinds = events
      .trim()
      .split('\n')
      .map((line) => (JSON.parse(line) as { kind: string }).kind);
    expect(kinds).toEqual(['contents', 'blob', 'blob', 'blob', 'done', 'receipt']);
    expect(await there.whole(name)).toBe(true);
  });

  test('tell what is wrong though the archive is still being sent', async () => {
    const { a, b } = await sites(makeImage({ layers: [30_000_000] }));
    await serve(b.folder);
    await a.ok('export', 'app:1.0', '-o', 'bundle.tar');
    const { publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(b.file('key.pem'), publicKey.export({ format: 'pem', type: 'spki' }));
    const { code, stderr } = await b.run('import', a.file('bundle.tar'), '--verify-key', 'key.pem');
    expect([code, stderr]).toEqual([1, expect.stringContaining('the bundle is not signed')]);
  });

  test('sign with one key and verify with its other half', async () => {
    const { a, b } = await sites();
    const { privateKey, publicKey } = generateKeyPairSync('ed25519');
    writeFileSync(a.file('key.pem'), privateKey.export({ format: 'pem', type: 'pkcs8' }));
    writeFileSync(b.file('key.pub'), publicKey.export({ format: 'pem', type: 'spki' }));
    await a.ok('export', 'app:1.0', '-o', 'bundle.tar.zst', '--sign-key', 'key.pem', '--zstd');
    expect(await b.ok('import', a.file('bundle.tar.zst'), '--verify-key', 'key.pub')).toMatch(
      /signed by SHA256:/,
    );
  });

  test('refuse what is not stored, and leave no file behind', async () => {
    const { a } = await sites();
    const { code, stderr } = await a.run('export', 'other:1', '-o', 'bundle.tar');
    expect([code, stderr]).toEqual([1, expect.stringContaining('entrepot warm docker.io/library/other:1')]);
    expect(readdirSync(a.folder).sort()).toEqual(['config.yaml', 'storage']);
  });

  test.each([
    [['export', '-o', 'x']],
    [['export', 'app:1', '--all', '-o', 'x']],
    [['export', 'app:1']],
    [['export', 'app:1', '-o', 'x', '--split', 'large']],
    [['export', 'app:1', '-o', '-', '--split', '1GB']],
    [['import']],
  ])('end %j as wrong usage', async (args) => {
    const { a } = await sites();
    expect((await a.run(...args)).code).toBe(2);
  });

  test('read a folder with an image layout', async () => {
    const { a, b } = await sites();
    const layout = b.file('layout');
    const image = makeIndex();
    mkdirSync(path.join(layout, 'blobs/sha256'), { recursive: true });
    for (const blob of [
      image.manifest,
      ...image.images.flatMap((one) => [one.manifest, one.config, ...one.layers]),
    ]) {
      writeFileSync(path.join(layout, 'blobs/sha256', blob.digest.slice(7)), blob.bytes);
    }
    const { digest, mediaType, bytes } = image.manifest;
    const annotations = { 'org.opencontainers.image.ref.name': 'multi:1' };
    const manifests = [{ digest, mediaType, size: bytes.length, annotations }];
    writeFileSync(path.join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
    writeFileSync(path.join(layout, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
    await b.ok('import', layout);
    expect(await b.open((site) => site.whole('docker.io/library/multi:1'))).toBe(true);
    const { code, stderr } = await b.run('import', a.folder);
    expect([code, stderr]).toEqual([1, expect.stringContaining('holds no image layout')]);
  });
});

describe('a bundle in parts', () => {
  async function parts() {
    const { a, b } = await sites();
    await a.ok('export', 'app:1.0', '-o', 'bundle.tar');
    await a.ok('export', 'app:1.0', '-o', 'split.tar', '--split', '100KiB');
    const names = readdirSync(a.folder).filter((file) => /^split\.tar\.\d+$/.test(file));
    return { a, b, names };
  }

  test('is the bundle when the parts are put together, and imports when one of them is named', async () => {
    const { a, b, names } = await parts();
    expect(names.length).toBeGreaterThan(2);
    const joined = Buffer.concat(names.map((file) => readFileSync(a.file(file))));
    expect(joined.equals(readFileSync(a.file('bundle.tar')))).toBe(true);
    await b.ok('import', a.file('split.tar.001'));
    expect(await b.open((site) => site.whole(name))).toBe(true);
  });

  test('imports from several folders, named in any order', async () => {
    const { a, b, names } = await parts();
    renameSync(a.file('split.tar.002'), b.file('split.tar.002'));
    await b.ok('import', 'split.tar.002', a.file('split.tar.000'));
    expect(names).toContain('split.tar.003');
    expect(await b.open((site) => site.whole(name))).toBe(true);
  });

  test('names the part that is missing, with its list and without', async () => {
    const { a, b, names } = await parts();
    const last = names.at(-1) ?? '';
    renameSync(a.file(last), a.file('away'));
    expect((await b.run('import', a.file('split.tar'))).stderr).toContain(last);
    renameSync(a.file('away'), a.file(last));
    renameSync(a.file('split.tar.001'), a.file('away'));
    expect((await b.run('import', a.file('split.tar'))).stderr).toContain('split.tar.001 is not there');
    renameSync(a.file('split.tar.parts'), a.file('list'));
    expect((await b.run('import', a.file('split.tar.000'))).stderr).toContain('split.tar.001 is not there');
    renameSync(a.file('away'), a.file('split.tar.001'));
    await b.ok('import', a.file('split.tar.000'));
  });

  test('names the parts that were swapped, and the one that was damaged', async () => {
    const { a, b } = await parts();
    renameSync(a.file('split.tar.001'), a.file('away'));
    renameSync(a.file('split.tar.002'), a.file('split.tar.001'));
    renameSync(a.file('away'), a.file('split.tar.002'));
    const swapped = await b.run('import', a.file('split.tar'));
    expect(swapped.stderr).toContain('split.tar.001 is really split.tar.002');
    renameSync(a.file('split.tar.001'), a.file('away'));
    renameSync(a.file('split.tar.002'), a.file('split.tar.001'));
    renameSync(a.file('away'), a.file('split.tar.002'));
    const bytes = readFileSync(a.file('split.tar.002'));
    bytes[bytes.length - 100] = (bytes[bytes.length - 100] ?? 0) ^ 1;
    writeFileSync(a.file('split.tar.002'), bytes);
    const damaged = await b.run('import', a.file('split.tar'));
    expect([damaged.code, damaged.stderr]).toEqual([
      1,
      expect.stringContaining('split.tar.002 is not as it was'),
    ]);
    expect(await b.open((site) => site.visible())).toEqual({});
  });
});

test('an import that is killed leaves what was there, and the next one does not copy again what it stored', async () => {
  const { a, b } = await sites(makeImage({ layers: [3_000_000, 2_000_000, 1_000_000] }));
  const old = makeImage({ seed: 'old' });
  await b.open((site) => site.putImage(name, old));
  await a.ok('export', 'app:1.0', '-o', 'bundle.tar');
  const bundle = readFileSync(a.file('bundle.tar'));
  const child = spawn(process.execPath, [main, 'import', '-', '--json'], { cwd: b.folder });
  onTestFinished(() => void child.kill('SIGKILL'));
  child.stdin.on('error', () => undefined);
  child.stdin.write(bundle.subarray(0, bundle.length - 500_000));
  for await (const line of createInterface({ input: child.stdout })) {
    const event = JSON.parse(line) as { kind: string; state?: string };
    if (event.kind === 'blob' && event.state === 'stored') break;
  }
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  expect((await ended)[1]).toBe('SIGKILL');
  expect(await b.open((site) => site.visible())).toEqual({ [name]: old.manifest.digest });
  expect(await b.open((site) => site.whole(name))).toBe(true);
  const events = (await b.ok('import', a.file('bundle.tar'), '--json')).trim().split('\n');
  const done = JSON.parse(events.at(-2) ?? '') as { stored: number; present: number };
  expect(done.present).toBeGreaterThan(0);
  expect(done.stored + done.present).toBe(4);
  expect(await b.open((site) => site.whole(name))).toBe(true);
  expect(await b.open(async (site) => site.leftovers())).toEqual([]);
});
