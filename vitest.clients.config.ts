import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/clients/**/*.test.ts'],
    globalSetup: ['test/clients/setup.ts'],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    retry: 0,
    pool: 'forks',
    fileParallelism: false,
  },
});
