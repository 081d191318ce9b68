import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import type { Config } from '../../src/config/config.ts';
import { type LoadOptions, loadConfig } from '../../src/config/load.ts';
import { ConfigError } from '../../src/config/problems.ts';

/** Files beside a `config.yaml`, by relative path. */
export type Files = Readonly<Record<string, string>>;

/** Loads `yaml` from a temporary folder that holds `files` too. */
export function loadFrom(yaml: string, files: Files = {}, options: Partial<LoadOptions> = {}): Config {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-config-'));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries({ ...files, 'config.yaml': yaml })) {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), text);
  }
  return loadConfig({ file: 'config.yaml', env: {}, cwd: folder, ...options });
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
  try {
    loadFrom(yaml, files, options);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return error.message.split('\n').map((line) => {
      return line.replace(/^config\.yaml(?::(?=\d))?/, '').replace(/\/\S*entrepot-config-\w+/, 'FOLDER');
    });
  }
  throw new Error('the configuration was accepted');
}
