import { execFile } from 'node:child_process';
import { cp, mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { readSources, root } from './helpers/sources.ts';
import { temporaryDirectory } from './helpers/start-proxy.ts';

const run = promisify(execFile);

test('the package holds what the sources compile to, and nothing that an earlier build left in dist', async () => {
  const copy = await temporaryDirectory();
  for (const name of ['package.json', 'tsconfig.json', 'tsconfig.build.json', 'src']) {
    await cp(join(root, name), join(copy, name), { recursive: true });
  }
  await symlink(join(root, 'node_modules'), join(copy, 'node_modules'));
  await mkdir(join(copy, 'dist', 'push'), { recursive: true });
  await writeFile(join(copy, 'dist', 'push', 'forgotten.js'), '');

  const env = { ...process.env, npm_config_update_notifier: 'false' };
  // The script prints to standard output too, unless npm is silent.
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--silent'], { cwd: copy, env });
  const [packed] = JSON.parse(stdout) as [{ files: { path: string }[] }];
  const built = packed.files.map(({ path }) => path).filter((path) => path.startsWith('dist/'));
  const due = readSources('src').map(({ file }) => `dist/${file.replace(/ts$/, 'js')}`);
  expect(built.toSorted()).toEqual(due.toSorted());
});
