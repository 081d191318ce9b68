import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { hashPassword } from '../../src/policy/bcrypt-hash.ts';
import { storageLayout } from '../../src/store/disk/layout.ts';
import { runCli } from '../cli/run-cli.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage, makeIndex } from '../helpers/image.ts';
import { configFileText, makeConfig } from '../helpers/proxy-config.ts';
import { startProxy, temporaryDirectory } from '../helpers/start-proxy.ts';

const index = makeIndex({ seed: 'index' });
const [amd64] = index.images;
const app = 'ghcr.io/org/app:v1';

/** A server with the command line beside it; `robot` may administer it. */
async function site(upstream: FakeUpstream) {
  const passwordHash = await hashPassword('secret');
  const options = {
    registries: { 'ghcr.io': { url: upstream.url, insecure: true } },
    access: { users: { robot: { passwordHash, grants: [{ images: ['**'], actions: ['admin'] }] } } },
  } as const;
  const proxy = await startProxy(options);
  const folder = await temporaryDirectory();
  writeFileSync(join(folder, 'config.yaml'), configFileText(makeConfig(proxy.storagePath, options)));
  writeFileSync(join(folder, 'password'), 'secret\n');
  const cli = (...args: string[]) => runCli(args, { cwd: folder });
  return { proxy, cli, layout: storageLayout(proxy.storagePath) };
}

async function oneSite() {
  const upstream = await startFakeUpstream();
  upstream.add('org/app', index, 'v1');
  return { upstream, ...(await site(upstream)) };
}

test('an image that nobody pulled is missing, and no upstream is asked for it', async () => {
  const { upstream, cli } = await oneSite();
  const { code, stdout } = await cli('status', app);
  expect([code, upstream.journal.count()]).toEqual([1, 0]);
  expect(stdout).toContain(`${app}: nothing of it is stored; to fetch it: entrepot warm ${app}`);
});

test('an image is whole for the platform that was warmed, and the layers of another are named', async () => {
  const { cli, layout } = await oneSite();
  await cli('warm', app, '--platform', 'linux/amd64');
  const here = await cli('status', app, '--platform', 'linux/amd64');
  expect([here.code, here.stderr]).toEqual([0, '']);
  expect(here.stdout).toMatch(new RegExp(`^${app} +whole .* ${index.manifest.digest}$`, 'm'));
  const all = await cli('status', app);
  expect(all.code).toBe(1);
  expect(all.stdout).toMatch(/^ +image +linux\/arm64 /m);
  const [layer] = amd64?.layers ?? [];
  if (layer === undefined) throw new Error('it has layers');
  rmSync(layout.blob(layer.digest));
  const hole = await cli('status', app, '--platform', 'linux/amd64', '--json');
  expect(hole.code).toBe(1);
  expect(JSON.parse(hole.stdout)).toMatchObject({
    whole: false,
    images: [
      { verdict: 'missing', places: [{ where: 'here', status: { missing: [{ digest: layer.digest }] } }] },
    ],
  });
});

test('--wait looks again until the image is whole, and gives up when it has waited long enough', async () => {
  const { cli } = await oneSite();
  await cli('warm', app);
  const { images } = JSON.parse((await cli('status', app, '--json')).stdout);
  const { status } = images[0].places[0];
  let looks = 0;
  const mirror = createServer((_request, response) => {
    looks += 1;
    response.end(JSON.stringify({ ...status, whole: looks > 1 }));
  });
  await new Promise<void>((resolve) => mirror.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    mirror.close();
  });
  const url = `http://127.0.0.1:${(mirror.address() as AddressInfo).port}`;
  expect((await cli('status', app, '--mirror', url, '--wait', '20s')).code).toBe(0);
  expect(looks).toBe(2);
  const gone = await cli('status', 'ghcr.io/org/gone:v1', '--wait', '10ms');
  expect(gone.code).toBe(1);
});

test('another mirror is asked with a login, and must have the same digest', async () => {
  const upstream = await startFakeUpstream();
  upstream.add('org/app', index, 'v1');
  const [east, west] = [await site(upstream), await site(upstream)];
  const gate = (...more: string[]) => {
    return east.cli('status', app, '--platform', 'linux/amd64', '--mirror', west.proxy.url, ...more);
  };
  const login = ['--user', 'robot', '--password-file', 'password'];
  await east.cli('warm', app);
  expect((await gate()).stdout).toMatch(/this needs the login of a user.*give --user and --password-file/);
  const behind = await gate(...login);
  expect([behind.code, behind.stdout]).toEqual([
    1,
    expect.stringContaining(`${app} at ${west.proxy.url}: nothing`),
  ]);
  await west.cli('warm', app);
  expect((await gate(...login)).code).toBe(0);
  upstream.add('org/app', makeImage({ seed: 'newer' }), 'v1');
  await west.cli('warm', app);
  const differs = await gate(...login);
  expect([differs.code, differs.stdout]).toEqual([1, expect.stringContaining('differs')]);
  await west.proxy.close();
  expect((await gate(...login)).stdout).toMatch(/cannot be reached: .*ECONNREFUSED/);
});

test('verify finds a flipped byte in the storage of the running server, which then fetches the layer again', async () => {
  const { cli, layout, upstream } = await oneSite();
  await cli('warm', app);
  const [layer] = amd64?.layers ?? [];
  if (layer === undefined) throw new Error('it has layers');
  const bytes = Buffer.from(layer.bytes);
  bytes[9] = (bytes[9] ?? 0) ^ 0x10;
  writeFileSync(layout.blob(layer.digest), bytes);
  const found = await cli('verify', '--rate', '0');
  expect(found.code).toBe(1);
  expect(found.stdout).toMatch(new RegExp(`^corrupt +blob ${layer.digest}: .*quarantine`, 'm'));
  expect((await cli('status', app)).code).toBe(1);
  expect((await cli('warm', app)).code).toBe(0);
  expect(upstream.journal.count({ kind: 'blob', reference: layer.digest })).toBe(2);
  expect(await cli('verify')).toMatchObject({
    code: 0,
    stdout: expect.stringContaining('all as it should be'),
  });
});

test.each([
  ['a mirror that holds a login', ['--mirror', 'http://robot:secret@127.0.0.1:1']],
  ['a mirror that is no URL', ['--mirror', '127.0.0.1:1']],
  ['a user without a password', ['--user', 'robot']],
  ['a wait that is no time', ['--wait', 'soon']],
])('%s is wrong usage, and no password is shown', async (_what, args) => {
  const { cli } = await oneSite();
  const { code, stderr } = await cli('status', app, ...args);
  expect(code).toBe(2);
  expect(stderr).not.toContain('secret');
});
