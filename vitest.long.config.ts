import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig } from 'vitest/config';
import base from './vitest.config.ts';

const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => join('test', file));

/** The slow properties, each tried as often as it says in full. */
export default defineConfig({
  test: {
    ...base.test,
    include: files.filter((file) => readFileSync(file, 'utf8').includes('/helpers/runs.ts')),
    env: { TEST_LONG: '1' },
    testTimeout: 900_000,
  },
});
