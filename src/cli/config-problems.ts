import { ConfigError } from '../config/problems.ts';

/** Runs `load`; when the configuration is wrong, prints every problem to standard error and returns `undefined`. */
export function reportConfigProblems<T>(load: () => T): T | undefined {
  try {
    return load();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return undefined;
  }
}
