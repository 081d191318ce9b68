import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { type LoadOptions, loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problems.ts';

/** Files beside a `config.yaml`, by relative path. */
export type Files = Readonly<Record<string, string>>;

/** Makes a folder with these files, that is removed when the test ends. */
export function folderWith(files: Files): string {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return folder;
}

/** Loads `yaml` from a temporary folder that holds `files` too. */
export function loadFrom(yaml: string, files: Files = {}, options: Partial<LoadOptions> = {}): Config {
  const cwd = folderWith({ ...files, 'config.yaml': yaml });
  return loadConfig({ file: 'config.yaml', env: {}, cwd, ...options });
}

/**
 * The error with which something refuses a configuration.
 * @throws when it does not
 */
export function refusalOf(action: () => unknown): ConfigError {
  try {
    action();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('the configuration was accepted');
}

/**
 * The lines of the error with which `yaml` is refused, as `LINE PATH: MESSAGE`, and no temporary path in them.
 * @throws when it is accepted
 */
export function complaintsAbout(
  yaml: string,
  files: Files = {},
  options: Partial<LoadOptions> = {},
): string[] {
  const { message } = refusalOf(() => loadFrom(yaml, files, options));
  return message.split('\n').map((line) => {
    return line.replace(/^config\.yaml(?::(?=\d))?/, '').replace(/\/\S*entrepot-config-\w+/, 'FOLDER');
  });
}
