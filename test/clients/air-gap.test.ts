import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, inject, type TestContext, test } from 'vitest';
import { openSite, type Site, siteServer } from './air-gapped-site.ts';
import type { PushedImage } from './images.ts';
import { type Lab, openLab } from './lab.ts';
import { pushNextVersion } from './next-version.ts';
import { mustRun, run } from './process.ts';
import { inSidRoot } from './sandbox.ts';

const main = path.join(import.meta.dirname, '../../src/main.ts');

/** A lab whose server is the site with a network, a site without one, and the stick that is carried between them. */
async function twoSites(context: TestContext, options?: Parameters<typeof openSite>[2]) {
  const lab = await openLab(context);
  const stick = path.join(lab.directory, 'stick');
  await mkdir(stick);
  const there = await openSite(context, path.join(lab.directory, 'there'), options);
  return { lab, there, home: home(lab), stick, on: (name: string) => path.join(stick, name) };
}

/** The command line at the site with a network; rejects when it fails. */
function home(lab: Lab) {
  const config = ['--config', path.join(lab.directory, 'config.yaml')];
  return async (...args: string[]) => {
    const { stdout, stderr } = await mustRun([process.execPath, main, ...args, ...config]);
    return stdout + stderr;
  };
}

/** Runs the command line at a site, which must succeed. */
async function must(site: Site, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await site.entrepot(...args);
  expect([code, stdout + stderr]).toEqual([0, expect.anything()]);
  return stdout + stderr;
}

/** How an image is pulled at a site: Docker has mirrors for Docker Hub alone, others are pulled by prefix. */
function nameThere({ reference }: PushedImage): string {
  return reference.startsWith('docker.io/') ? reference : `${siteServer}/${reference}`;
}

test('images are warmed, carried to a site with no way out and run there, and then only what changed is carried', async (context) => {
  const { lab, there, home, stick, on } = await twoSites(context);
  const { app, multi, tool } = inject('images');
  const list = path.join(lab.directory, 'images.txt');
  const references = [app, multi, tool].map(({ reference }) => reference);
  await writeFile(list, references.join('\n'));
  await home('warm', '-f', list);
  for (const [upstream, images] of [
    [lab.dockerHub, [app, multi]],
    [lab.ghcr, [tool]],
  ] as const) {
    const blobs = new Set(images.flatMap(({ blobs }) => Object.keys(blobs)));
    expect((await upstream.journal()).blobGets).toEqual(new Map([...blobs].map((digest) => [digest, 1])));
  }
  const [key, publicKey] = [path.join(lab.directory, 'bundle.key'), path.join(there.directory, 'bundle.pub')];
  await mustRun(['openssl', 'genpkey', '-algorithm', 'ed25519', '-out', key]);
  await mustRun(['openssl', 'pkey', '-in', key, '-pubout', '-out', publicKey]);
  await home('export', '-f', list, '-o', on('one.tar'), '--split', '20MB', '--sign-key', key);
  expect((await readdir(stick)).filter((name) => /\.\d+$/.test(name)).length).toBe(4);

  const links = await mustRun(there.inside(['ip', '-json', 'link']));
  const routes = await mustRun(there.inside(['ip', 'route', 'show']));
  expect((JSON.parse(links.stdout) as { ifname: string }[]).map(({ ifname }) => ifname)).toEqual(['lo']);
  expect(routes.stdout).toBe('');
  const server = await there.serve({ offline: true });
  const docker = await there.startDocker();
  expect((await there.entrepot('status', app.reference)).code).toBe(1);
  const said = await must(there, 'import', on('one.tar'), '--verify-key', publicKey);
  for (const image of [app, multi, tool]) expect(said).toContain(`${image.reference}  ${image.digest}`);
  await must(there, 'status', ...references);
  for (const image of [app, multi, tool]) {
    expect(await docker.pullAndRun(nameThere(image))).toBe(image.prints);
  }

  const ports = inject('registryPorts');
  const { image: next, changed } = await pushNextVersion(ports.dockerHub, app, '1.1');
  const byPrefix = `${siteServer}/${next.reference}`;
  const absent = await docker.docker('pull', byPrefix);
  expect([absent.code, absent.stderr]).toEqual([
    1,
    expect.stringMatching(
      /this mirror is offline .*"entrepot export docker\.io\/library\/app:1\.1 -o bundle/,
    ),
  ]);
  await lab.dockerHub.forget();
  await writeFile(list, [...references, next.reference].join('\n'));
  await home('warm', '-f', list);
  const news = Object.keys(changed).filter((digest) => digest !== next.digest);
  expect([...(await lab.dockerHub.journal()).blobGets.keys()].sort()).toEqual(news.sort());
  await home('export', '-f', list, '-o', on('two.tar'), '--since', on('one.tar.receipt.json'));
  const bytes = Object.values(changed).reduce((sum, size) => sum + size, 0);
  const { size } = await stat(on('two.tar'));
  expect(size).toBeGreaterThan(bytes);
  // The tar archive pads its members; what describes them lists the four images, and what was left out.
  expect(size).toBeLessThan(bytes + 20_000);
  await must(there, 'import', on('two.tar'));
  expect(await docker.pullAndRun(next.reference)).toBe(next.prints);
  expect(await docker.pullAndRun(app.reference)).toBe(app.prints);

  await server.stop();
  expect(await server.dialled()).toEqual([]);
});

test('the tracer sees a server that is not offline dial', async (context) => {
  const { there } = await twoSites(context);
  const server = await there.serve({ offline: false });
  const absent = `http://${siteServer}/v2/library/absent/manifests/1.0`;
  await mustRun(there.inside(['curl', '--silent', '--show-error', absent]));
  await server.stop();
  expect((await server.dialled()).join('\n')).toMatch(/connect\(.*AF_INET/);
});

test('skopeo and docker load read a bundle at a site without an entrepot', async (context) => {
  const { lab, there, home, on } = await twoSites(context);
  const { multi, tool } = inject('images');
  await home('warm', multi.reference, tool.reference);
  await home('export', multi.reference, tool.reference, '-o', on('whole.tar'));
  for (const image of [multi, tool]) {
    const source = `oci-archive:/mnt/stick/whole.tar:${image.reference}`;
    const copy = ['skopeo', '--insecure-policy', 'copy', '--all', source, 'dir:/mnt/copied'];
    await mustRun(there.inside(await inSidRoot(lab.directory, copy)));
    const manifest = await readFile(path.join(lab.directory, 'copied/manifest.json'));
    expect(`sha256:${createHash('sha256').update(manifest).digest('hex')}`).toBe(image.digest);
  }
  const names = [multi.reference, tool.reference];
  await home('export', ...names, '--platform', 'linux/amd64', '-o', on('amd64.tar'));
  const docker = await there.startDocker();
  const loaded = await docker.docker('load', '--input', on('amd64.tar'));
  expect([loaded.code, loaded.stderr]).toEqual([0, '']);
  for (const image of [multi, tool]) {
    const ran = await docker.docker('run', '--rm', '--network', 'none', image.reference);
    expect([ran.stdout.trim(), ran.stderr]).toEqual([image.prints, '']);
  }
});

/**
 * A site at which the tool can be pulled and the application is about to be imported: its bundle up to its second blob,
 * and the rest of it.
 */
async function aboutToImport(context: TestContext, options?: Parameters<typeof openSite>[2]) {
  const sites = await twoSites(context, options);
  const { there, home, on } = sites;
  const { app, tool } = inject('images');
  await home('warm', tool.reference, app.reference);
  await home('export', tool.reference, '-o', on('tool.tar'));
  await home('export', app.reference, '-o', on('app.tar'));
  const server = await there.serve({ offline: true });
  const docker = await there.startDocker();
  await must(there, 'import', on('tool.tar'));
  const [[digest, size] = ['', 0]] = Object.entries(app.blobs).sort();
  const bundle = await readFile(on('app.tar'));
  const member = bundle.indexOf(`${digest.replace(':', '/')}\0`);
  expect(member).toBeGreaterThan(0);
  const cut = member + size + 2048;
  /** Begins the import of the application, of which one blob is stored now, and no more comes until it is given. */
  const begin = async () => {
    const importing = there.importFed();
    await importing.give(bundle.subarray(0, cut));
    await importing.stored(size);
    return importing;
  };
  /** What was there before is still what dockerd gets, and the half of the image that came is nobody's. */
  const unharmed = async () => {
    expect(await docker.pullAndRun(nameThere(tool))).toBe(tool.prints);
    const early = await docker.docker('pull', `${siteServer}/${app.reference}`);
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining('this mirror is offline')]);
  };
  /** The same bundle once more: it brings what is lacking, and the image runs. */
  const complete = async () => {
    const said = await must(there, 'import', on('app.tar'));
    expect(await docker.pullAndRun(app.reference)).toBe(app.prints);
    return said;
  };
  return { ...sites, server, begin, rest: bundle.subarray(cut), unharmed, complete };
}

test('an import onto a disk without room, or that fills up meanwhile, keeps what is there, and succeeds with room', async (context) => {
  const { there, on, begin, rest, unharmed, complete } = await aboutToImport(context, { disk: 40 });
  expect(await there.entrepot('import', on('app.tar'))).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/app\.tar: the bundle brings 5[\d.]+MiB and there is room for 3[\d.]+MiB/),
  });
  const storage = path.join(there.directory, 'storage');
  await mustRun(there.inside(['mount', '-o', 'remount,size=150m', storage]));
  const importing = await begin();
  const filler = path.join(storage, 'filler');
  const filled = await run(there.inside(['dd', 'if=/dev/zero', `of=${filler}`, 'bs=64k']));
  expect(filled.stderr).toContain('No space left on device');
  await importing.give(rest);
  expect(await importing.end()).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('the disk is full: make space in the storage, then import again'),
  });
  await unharmed();
  await mustRun(there.inside(['rm', filler]));
  expect(await complete()).toMatch(/[1-9]\d* (?:was|were) here/);
});

test('a server that is killed in the middle of an import has what it had, and the second run copies the rest', async (context) => {
  const { there, server, begin, unharmed, complete } = await aboutToImport(context);
  const importing = await begin();
  await server.kill();
  expect(await importing.ended()).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('the server broke its answer off'),
  });
  await there.serve({ offline: true });
  await unharmed();
  expect(await complete()).toMatch(/[1-9]\d* (?:was|were) here/);
});
