import { expect, test } from 'vitest';
import { manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeImage } from '../helpers/image.ts';
import { startProxyProcess } from '../helpers/start-proxy-process.ts';
import { runCli } from './run-cli.ts';

test('commands steer the server that is running, and the storage itself once it is not', async () => {
  const upstream = await startFakeUpstream();
  upstream.add(repository, makeImage({ layers: [10] }), 'v1');
  const proxy = await startProxyProcess({ registries: { 'ghcr.io': upstream } });
  const served = async () => (await mustGet(proxy.url, manifestPath('v1'))).headers['docker-content-digest'];
  const old = await served();
  const cwd = `${proxy.storagePath}/..`;
  const entrepot = async (...args: string[]) => {
    const { code, stdout, stderr } = await runCli(args, { cwd });
    return code === 0 ? stdout : `${code} ${stderr}`;
  };
  const image = `ghcr.io/${repository}`;
  expect(await entrepot('rollback', `${image}:v1`, '--to', `${old}`)).toContain(`is served as ${old}`);
  expect(await entrepot('history', image)).toContain('rolled back');
  expect(await entrepot('rollback', `${image}:v1`, '--to', `sha256:${'0'.repeat(64)}`)).toMatch(
    /^1 entrepot: /,
  );
  expect(await entrepot('rollback', `${image}:v1`, '--release')).toContain('follows upstream again');
  expect(await proxy.kill('SIGKILL')).toBe('SIGKILL');
  expect(await entrepot('history', `${image}:v1`)).toContain('released');
  expect(await entrepot('lock', `${image}:v1`)).toContain(`digest: ${old}`);
  await proxy.start();
  expect(await served()).toBe(old);
  expect(await entrepot('history', image, '--json')).toContain('"action": "released"');
});
