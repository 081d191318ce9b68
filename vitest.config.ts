import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/clients/**'],
    setupFiles: ['test/helpers/no-network.ts'],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    retry: 0,
    pool: 'forks',
    maxWorkers: 3,
  },
});
