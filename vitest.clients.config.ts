import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/clients/**/*.test.ts'],
    globalSetup: ['test/clients/setup.ts'],
    testTimeout: 900_000,
    hookTimeout: 900_000,
    retry: 0,
    pool: 'forks',
    fileParallelism: false,
  },
});
