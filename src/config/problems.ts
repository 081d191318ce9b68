/** A place in the configuration: keys of maps and positions in lists, from the root. */
export type ConfigPath = readonly (string | number)[];

/** A problem found before its line is known. It stands at `path`, or for the line at `shownAt` when that is given. */
export type Finding = { readonly path: ConfigPath; readonly message: string; readonly shownAt?: ConfigPath };

/**
 * One thing wrong with the configuration. `path` is as `pathText` writes it, `''` for the file as a whole and
 * `$NAME` for an environment variable. Messages never hold a configured value.
 */
export type ConfigProblem = { readonly path: string; readonly line?: number; readonly message: string };

/** Thrown when the configuration cannot be used; names every problem at once, one line each. */
export class ConfigError extends Error {
  readonly code = 'CONFIG_INVALID';
  readonly problems: readonly ConfigProblem[];

  /** `source` names the file in the message. */
  constructor(source: string, problems: readonly ConfigProblem[]) {
    super(problems.map((problem) => problemLine(source, problem)).join('\n'));
    this.name = 'ConfigError';
    this.problems = problems;
  }
}

/** A path as people write it: `registries.docker.io.upstreams[0].url`. */
export function pathText(path: ConfigPath): string {
  return path
    .map((part, index) => (typeof part === 'number' ? `[${part}]` : index === 0 ? part : `.${part}`))
    .join('');
}

/** The system's word for why a file could not be read (`ENOENT`), safe to show. */
export function errorCode(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' ? code : 'unknown error';
}

function problemLine(source: string, problem: ConfigProblem): string {
  const place = problem.line === undefined ? source : `${source}:${problem.line}`;
  if (problem.path === '') return `${place}: ${problem.message}`;
  const fromEnvironment = problem.path.startsWith('$') && problem.line === undefined;
  return fromEnvironment
    ? `${problem.path}: ${problem.message}`
    : `${place} ${problem.path}: ${problem.message}`;
}
