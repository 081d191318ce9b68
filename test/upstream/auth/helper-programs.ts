import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';

/** A temporary folder that is the only one in `PATH` until the test ends. */
export function programFolder() {
  const folder = mkdtempSync(join(tmpdir(), 'entrepot-helpers-'));
  onTestFinished(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true });
  });
  vi.stubEnv('PATH', folder);
  const path = (name: string) => join(folder, name);
  return {
    folder,
    path,
    write: (name: string, text: string) => writeFileSync(path(name), text),
    read: (name: string) => readFileSync(path(name), 'utf8'),
    /** Adds `docker-credential-NAME`, a shell script that is told the host as `$host` and notes it in `asked`. */
    helper: (name: string, script: string) => {
      const file = path(`docker-credential-${name}`);
      const noted = `read host\necho "$1 $host" >> '${path('asked')}'\n`;
      writeFileSync(file, `#!/bin/sh\n${noted}${script}\n`);
      chmodSync(file, 0o755);
    },
    /** What the helpers were asked, `get HOST` each. */
    asked: () => {
      try {
        return readFileSync(path('asked'), 'utf8').trimEnd().split('\n');
      } catch {
        return [];
      }
    },
  };
}

/** The script of a helper that answers with a user and what the file holds. */
export function answering(username: string, file: string): string {
  return `read secret < '${file}'\necho "{\\"ServerURL\\":\\"$host\\",\\"Username\\":\\"${username}\\",\\"Secret\\":\\"$secret\\"}"`;
}
