import { createHash } from 'node:crypto';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, inject, type TestContext, test } from 'vitest';
import { type DockerKey, startDockerEngine } from './docker-engine.ts';
import { startDockerd } from './dockerd.ts';
import { type Server, startEntrepot } from './entrepot.ts';
import type { PushedImage } from './images.ts';
import { type Lab, openLab } from './lab.ts';
import { mustRun, run } from './process.ts';
import { inSidRoot, isolated, programs } from './sandbox.ts';

const main = path.join(import.meta.dirname, '../../src/main.ts');

/** A place with an entrepot: its configuration, and what its command line says. */
type Place = {
  readonly folder: string;
  readonly server: Server;
  entrepot(...args: string[]): Promise<string>;
};

/** The place that has a network, with the images in it. */
async function connected(lab: Lab, images: readonly PushedImage[]): Promise<Place> {
  const crane = await lab.client('crane');
  for (const image of images) {
    const pulled = await crane.pull(image.reference);
    expect(pulled.ok, pulled.said).toBe(true);
  }
  return { folder: lab.directory, server: lab.server, entrepot: commandLine(lab.directory) };
}

/** A place whose upstreams are a closed port. */
async function cutOff(context: TestContext, lab: Lab, label: string): Promise<Place> {
  const folder = path.join(lab.directory, label);
  await mkdir(folder);
  const nowhere = 'http://127.0.0.1:1';
  const server = await startEntrepot(folder, { dockerHub: nowhere, ghcr: nowhere }, { maxConnections: 1 });
  context.onTestFinished(server.stop);
  return { folder, server, entrepot: commandLine(folder) };
}

function commandLine(folder: string) {
  return async (...args: string[]) => {
    const config = ['--config', path.join(folder, 'config.yaml')];
    const { stdout, stderr } = await mustRun([process.execPath, main, ...args, ...config], {
      timeout: 600_000,
    });
    return stdout + stderr;
  };
}

async function engine(context: TestContext, lab: Lab, key: DockerKey, around = {}) {
  const directory = path.join(lab.directory, `engine-${key}`);
  await mkdir(directory);
  const opened = await startDockerEngine(key, directory, around);
  context.onTestFinished(opened.stop);
  return { ...opened, directory };
}

test('three images are carried to a site without a network, and dockerd pulls and runs them there', async (context) => {
  const lab = await openLab(context);
  const { app, multi, tool } = inject('images');
  const a = await connected(lab, [app, multi, tool]);
  const bundle = path.join(lab.directory, 'bundle.tar');
  const names = [app, multi, tool].map(({ reference }) => reference);
  await a.entrepot('export', ...names, '-o', bundle, '--split', '20MB');
  const b = await cutOff(context, lab, 'b');
  await b.entrepot('import', bundle);
  const directory = path.join(b.folder, 'docker');
  await mkdir(directory);
  const docker = await startDockerd('d28', { directory, server: b.server.address });
  context.onTestFinished(docker.stop);
  for (const image of [app, multi]) {
    const pulled = await docker.pull(image.reference);
    expect(pulled.ok, pulled.said).toBe(true);
    expect(pulled.digests).toContain(image.digest);
    expect(await docker.run?.(image.reference)).toBe(image.prints);
  }
  // Docker has mirrors for Docker Hub alone: others are pulled by prefix.
  const pulled = await docker.pullByPrefix(tool.reference);
  expect(pulled.ok, pulled.said).toBe(true);
  expect(await docker.run?.(`${b.server.address}/${tool.reference}`)).toBe(tool.prints);
});

test('a bundle since a receipt brings a new image that shares layers in fewer bytes than its own layers take', async (context) => {
  const lab = await openLab(context);
  const { app, multi } = inject('images');
  const a = await connected(lab, [multi]);
  const [first, second] = ['first.tar', 'second.tar'].map((name) => path.join(lab.directory, name));
  if (first === undefined || second === undefined) throw new Error('no names');
  await a.entrepot('export', multi.reference, '-o', first);
  const b = await cutOff(context, lab, 'b');
  await b.entrepot('import', first);
  await connected(lab, [app]);
  await a.entrepot(
    'export',
    app.reference,
    multi.reference,
    '-o',
    second,
    '--since',
    `${first}.receipt.json`,
  );
  const lacking = Object.entries(app.blobs).filter(([digest]) => !(digest in multi.blobs));
  expect(lacking.length).toBeLessThan(Object.keys(app.blobs).length);
  const bytes = lacking.reduce((sum, [, size]) => sum + size, 0);
  const { size } = await stat(second);
  expect(size).toBeGreaterThan(bytes);
  expect(size).toBeLessThan(bytes + 30_000);
  await b.entrepot('import', second);
  const directory = path.join(b.folder, 'docker');
  await mkdir(directory);
  const docker = await startDockerd('d20', { directory, server: b.server.address });
  context.onTestFinished(docker.stop);
  const pulled = await docker.pull(app.reference);
  expect(pulled.ok, pulled.said).toBe(true);
  expect(await docker.run?.(app.reference)).toBe(app.prints);
});

test('skopeo, podman and crane read a bundle', async (context) => {
  const lab = await openLab(context);
  const { app, multi, tool } = inject('images');
  const a = await connected(lab, [app, multi, tool]);
  await a.entrepot('export', '--all', '-o', path.join(lab.directory, 'bundle.tar'));
  const inRoot = async (...command: string[]) =>
    mustRun(await inSidRoot(lab.directory, command), { timeout: 600_000 });
  for (const image of [app, multi, tool]) {
    const copied = [
      'skopeo',
      '--insecure-policy',
      'copy',
      '--all',
      `oci-archive:/mnt/bundle.tar:${image.reference}`,
    ];
    await inRoot(...copied, 'dir:/mnt/copied');
    const manifest = await readFile(path.join(lab.directory, 'copied/manifest.json'));
    const { digest } = image;
    expect(`sha256:${createHash('sha256').update(manifest).digest('hex')}`).toBe(digest);
  }
  await a.entrepot('export', app.reference, '-o', path.join(lab.directory, 'one.tar'));
  const storage = ['--root', '/mnt/root', '--runroot', '/mnt/runroot', '--storage-driver', 'vfs'];
  const loaded = await inRoot('podman', ...storage, 'load', '-i', '/mnt/one.tar');
  expect(loaded.stdout).toContain(app.reference);
  const validated = [programs.crane, 'validate', '--tarball', path.join(lab.directory, 'one.tar')];
  expect((await mustRun(await isolated(lab.directory, validated))).stdout).toContain('PASS');
});

test.for(['d20', 'd28', 'd28c'] as const)(
  'docker load reads a bundle, and what docker save writes is imported (%s)',
  async (key, context) => {
    const lab = await openLab(context);
    const { app, multi, tool } = inject('images');
    const a = await connected(lab, [app, multi, tool]);
    const bundle = path.join(lab.directory, 'bundle.tar');
    await a.entrepot(
      'export',
      app.reference,
      multi.reference,
      tool.reference,
      '--platform',
      'linux/amd64',
      '-o',
      bundle,
    );
    const docker = await engine(context, lab, key);
    await docker.mustRun(['load', '-i', bundle], { timeout: 600_000 });
    for (const image of [app, multi, tool]) {
      const { stdout } = await docker.mustRun(['run', '--rm', '--network', 'none', image.reference]);
      expect(stdout.trim()).toBe(image.prints);
    }
    const saved = path.join(lab.directory, 'saved.tar');
    await docker.mustRun(['tag', tool.reference, 'docker.io/library/again:2.0']);
    await docker.mustRun(['save', '-o', saved, app.reference, 'docker.io/library/again:2.0'], {
      timeout: 600_000,
    });
    const b = await cutOff(context, lab, 'b');
    const said = await b.entrepot('import', saved);
    // Only containerd's store keeps the manifest, and with it the digest, that the registry has.
    expect(said.includes(app.digest)).toBe(key === 'd28c');
    expect(said.includes('made from docker save')).toBe(key === 'd20');
    const directory = path.join(b.folder, 'docker');
    await mkdir(directory);
    const puller = await startDockerd('d28', { directory, server: b.server.address });
    context.onTestFinished(puller.stop);
    for (const [reference, prints] of [
      [app.reference, app.prints],
      ['docker.io/library/again:2.0', tool.prints],
    ] as const) {
      const pulled = await puller.pull(reference);
      expect(pulled.ok, pulled.said).toBe(true);
      expect(await puller.run?.(reference)).toBe(prints);
    }
  },
);

test('archives and layouts of skopeo and crane are imported', async (context) => {
  const lab = await openLab(context);
  const { app, multi } = inject('images');
  const a = await connected(lab, [app, multi]);
  const source = (image: PushedImage) => `${a.server.address}/${image.reference}`;
  const skopeo = async (from: PushedImage, to: string, ...flags: string[]) => {
    const copy = [
      'skopeo',
      '--insecure-policy',
      'copy',
      '--src-tls-verify=false',
      ...flags,
      `docker://${source(from)}`,
    ];
    await mustRun(await inSidRoot(lab.directory, [...copy, to]), { timeout: 600_000 });
  };
  await skopeo(multi, `oci-archive:/mnt/oci.tar:${multi.reference}`, '--all');
  await skopeo(app, 'oci:/mnt/layout:1.0');
  await skopeo(app, 'docker-archive:/mnt/docker.tar:docker.io/library/saved:1.0');
  const crane = async (...args: string[]) => {
    await mustRun(await isolated(lab.directory, [programs.crane, 'pull', '--insecure', ...args]), {
      timeout: 600_000,
    });
  };
  const file = (name: string) => path.join(lab.directory, name);
  await crane(source(app), file('crane.tar'));
  await crane('--format', 'oci', source(multi), file('crane-layout'));
  await mustRun(['gzip', '-k', file('oci.tar')]);

  const b = await cutOff(context, lab, 'b');
  expect(await b.entrepot('import', file('oci.tar.gz'))).toContain(`${multi.reference}  ${multi.digest}`);
  expect(await b.entrepot('import', file('layout'), '--name', 'app')).toContain(
    `${app.reference}  ${app.digest}`,
  );
  expect(await b.entrepot('import', file('docker.tar'))).toContain('docker.io/library/saved:1.0');
  expect(await b.entrepot('import', file('crane.tar'), '--name', 'craned:1.0')).toContain('craned:1.0');
  const layout = await b.entrepot('import', file('crane-layout'), '--name', 'ghcr.io/org/multi:2.0');
  expect(layout).toContain(`ghcr.io/org/multi:2.0  ${multi.digest}`);
  const directory = path.join(b.folder, 'docker');
  await mkdir(directory);
  const docker = await startDockerd('d28c', { directory, server: b.server.address });
  context.onTestFinished(docker.stop);
  for (const [reference, prints] of [
    [multi.reference, multi.prints],
    [app.reference, app.prints],
    ['docker.io/library/saved:1.0', app.prints],
    ['docker.io/library/craned:1.0', app.prints],
  ] as const) {
    const pulled = await docker.pull(reference);
    expect(pulled.ok, pulled.said).toBe(true);
    expect(await docker.run?.(reference)).toBe(prints);
  }
});

test('on a disk that is full, or gets full, an import says so, keeps what was there, and succeeds with room', async (context) => {
  const lab = await openLab(context);
  const { app, tool } = inject('images');
  const a = await connected(lab, [app, tool]);
  const [one, three] = ['tool.tar', 'app.tar'].map((name) => path.join(lab.directory, name));
  if (one === undefined || three === undefined) throw new Error('no names');
  await a.entrepot('export', tool.reference, '-o', one);
  await a.entrepot('export', app.reference, '-o', three);
  const folder = path.join(lab.directory, 'full');
  await mkdir(path.join(folder, 'storage'), { recursive: true });
  await writeFile(path.join(folder, 'config.yaml'), 'storage: {path: ./storage}\n');
  const entrepot = [process.execPath, main].map((word) => `'${word}'`).join(' ');
  // The mount ends with the script. Without inodes a disk with room is full, which nobody can foresee.
  const script = `
    cd "$1"
    mount -t tmpfs -o size=30m tmpfs storage
    ${entrepot} import "$2" --receipt r1
    if ${entrepot} import "$3" --receipt r2; then exit 10; fi
    ${entrepot} export ghcr.io/org/tool:1.0 -o again.tar && cmp again.tar "$2" || exit 11
    mount -o remount,size=200m,nr_inodes=$(( $(df --output=iused storage | tail -1) + 6 )) storage
    if ${entrepot} import "$3" --receipt r2; then exit 12; fi
    ${entrepot} export ghcr.io/org/tool:1.0 -o again.tar && cmp again.tar "$2" || exit 13
    mount -o remount,size=200m,nr_inodes=1000 storage
    ${entrepot} import "$3" --receipt r2 || exit 14
    ${entrepot} export docker.io/library/app:1.0 -o again.tar && cmp again.tar "$3" || exit 15`;
  const command = [
    'unshare',
    '--mount',
    '--propagation',
    'private',
    'sh',
    '-euc',
    script,
    'sh',
    folder,
    one,
    three,
  ];
  const { code, stdout, stderr } = await run(command, { timeout: 600_000 });
  expect([code, stdout + stderr]).toEqual([
    0,
    expect.stringMatching(/there is room for[\s\S]*the disk is full/),
  ]);
});
