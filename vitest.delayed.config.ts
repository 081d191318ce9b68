import { defineConfig } from 'vitest/config';
import base from './vitest.config.ts';

const seed = process.env['METADATA_DELAY_SEED'] ?? String(Math.floor(Math.random() * 2 ** 31));
process.stderr.write(`the index answers late and in any order; METADATA_DELAY_SEED=${seed} does so again\n`);

/** The scenarios and interleavings over an index whose calls take effect, and are answered, late and in any order. */
export default defineConfig({
  test: {
    ...base.test,
    include: ['test/scenarios/**/*.test.ts', 'test/**/*interleavings*.test.ts'],
    env: { METADATA_DELAY_SEED: seed },
    testTimeout: 900_000,
  },
});
