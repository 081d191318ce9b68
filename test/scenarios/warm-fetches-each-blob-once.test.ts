// biome-ignore-all lint/suspicious/noTemplateCurlyInString: this is the syntax of compose files.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCli } from '../cli/run-cli.ts';
import { startFakeUpstream } from '../helpers/fake-upstream.ts';
import { blobsOf, makeArtifact, makeImage, makeIndex } from '../helpers/image.ts';
import { configFileText, makeConfig } from '../helpers/proxy-config.ts';
import { pull } from '../helpers/pull.ts';
import { startProxy, temporaryDirectory } from '../helpers/start-proxy.ts';

const index = makeIndex({ seed: 'index', layers: [400_000, 20_000] });
const single = makeImage({ seed: 'single', layers: [300_000] });

async function site() {
  const upstream = await startFakeUpstream();
  upstream.add('org/index', index, 'v1');
  upstream.add('org/single', single, 'v1', 'a-nightly');
  // Another name for the same layers.
  upstream.add('team/copy', single, 'v2');
  upstream.add('org/single', makeArtifact(single.manifest));
  const options = {
    registries: { 'ghcr.io': { url: upstream.url } },
    policy: { rules: [{ images: ['**'], tags: ['*-nightly'], action: 'deny', reason: 'Pin a version.' }] },
  } as const;
  const proxy = await startProxy(options);
  const folder = await temporaryDirectory();
  writeFileSync(join(folder, 'config.yaml'), configFileText(makeConfig(proxy.storagePath, options)));
  const cli = (args: readonly string[], stdin = '') => runCli(args, { cwd: folder, stdin });
  return { upstream, proxy, cli };
}

test('what is warmed through the running server is then served without upstream, each blob downloaded once', async () => {
  const { upstream, proxy, cli } = await site();
  const list = `services:
  index: {image: ghcr.io/org/index:v1}
  single: {image: "ghcr.io/org/single:\${TAG:-v1}"}
  copy: {image: ghcr.io/team/copy:v2}
`;
  const warmed = await cli(['warm', '-f', '-'], list);
  expect([warmed.code, warmed.stderr]).toEqual([0, '']);
  expect(warmed.stdout).toMatch(/^3 images: 3 warmed; /m);
  for (const image of [...index.images, single]) {
    for (const { digest } of blobsOf(image)) {
      expect([digest, upstream.journal.count({ kind: 'blob', reference: digest })]).toEqual([digest, 1]);
    }
  }
  await upstream.refuse();
  for (const [repository, reference] of [
    ['org/index', 'v1'],
    ['org/single', 'v1'],
    ['team/copy', 'v2'],
  ] as const) {
    const { outcomes } = await pull(proxy.url, { repository, reference, client: 'podman' });
    expect([repository, outcomes.filter((outcome) => !['', 'hit'].includes(outcome))]).toEqual([
      repository,
      [],
    ]);
  }
  const artifacts = await fetch(`${proxy.url}/v2/org/single/referrers/${single.manifest.digest}`);
  expect(((await artifacts.json()) as { manifests: unknown[] }).manifests).toHaveLength(1);
});

test('an image that policy denies is told with the rule, and exit code 1, and the others are warmed', async () => {
  const { cli } = await site();
  const { code, stdout } = await cli(['warm', 'ghcr.io/org/single:a-nightly', 'ghcr.io/org/single:v1']);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^denied {5}ghcr.io\/org\/single:a-nightly: .*rule 1.*Pin a version/m);
  expect(stdout).toMatch(/^warmed {5}ghcr.io\/org\/single:v1/m);
});

test('without a server the storage is filled itself, and what was warmed so is not fetched again', async () => {
  const { upstream, proxy, cli } = await site();
  await proxy.close();
  const first = await cli(['warm', 'ghcr.io/org/single:v1', '--json']);
  const events = first.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { kind: string });
  expect([first.code, events.at(-1)]).toEqual([0, expect.objectContaining({ kind: 'done', warmed: 1 })]);
  const blobs = upstream.journal.count({ kind: 'blob' });
  const again = await cli(['warm', 'ghcr.io/org/single:v1']);
  expect(again.stdout).toMatch(
    /^unchanged {2}ghcr.io\/org\/single:v1\n1 image: 1 unchanged; nothing fetched/,
  );
  expect(upstream.journal.count({ kind: 'blob' })).toBe(blobs);
});

test.each([
  ['nothing to warm', ['warm'], 2, /no images/],
  ['a platform that is none', ['warm', 'a:1', '--platform', 'amd64'], 2, /linux\/amd64/],
  ['a list without images', ['warm', '-f', '-'], 1, /standard input names no images/],
  [
    'a variable that nothing sets',
    ['warm', '-f', '-'],
    1,
    /standard input:2: the variable SURELY_UNSET is not set/,
  ],
])('%s is said', async (what, args, code, message) => {
  const { cli } = await site();
  const stdin = what.startsWith('a variable') ? 'services:\n  a: {image: "a:${SURELY_UNSET}"}\n' : '# none\n';
  const told = await cli(args, stdin);
  expect([told.code, told.stderr]).toEqual([code, expect.stringMatching(message)]);
});
