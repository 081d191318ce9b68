import { readFile } from 'node:fs/promises';
import { mustRun } from './process.ts';

/** An npm setting as `npm config list --json` prints it. */
type Setting = string | boolean | null | readonly string[];

const carried = ['registry', 'proxy', 'https-proxy', 'noproxy', 'strict-ssl', 'ca'];

/**
 * How this machine's npm reaches its registry, as the text of one `.npmrc` that stands alone: certificates are in it,
 * and so are logins.
 */
export async function npmSettings(): Promise<string> {
  const { stdout } = await npm('config', 'list', '--long', '--json');
  const settings = JSON.parse(stdout) as Readonly<Record<string, Setting>>;
  const lines = carried.flatMap((key) => linesOf(key, settings[key] ?? null));
  const { cafile, globalconfig, userconfig } = settings;
  if (typeof cafile === 'string')
    lines.push(...linesOf('ca', certificatesIn(await readFile(cafile, 'utf8'))));
  for (const file of [globalconfig, userconfig]) {
    const text = typeof file === 'string' ? await readFile(file, 'utf8').catch(() => '') : '';
    // A scope's registry, and what npm prints to nobody: `//HOST/:_authToken` and the like.
    lines.push(...(text.match(/^(?:\/\/|@).+$/gm) ?? []).map(withVariables));
  }
  return `${lines.join('\n')}\n`;
}

/** The folder of this machine's npm itself. */
export async function npmFolder(): Promise<string> {
  return `${(await npm('root', '--global')).stdout.trim()}/npm`;
}

function npm(...args: string[]) {
  const env = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, value]],
  );
  return mustRun(['npm', ...args], { env: Object.fromEntries(env) as Record<string, string> });
}

function linesOf(key: string, value: Setting): string[] {
  if (value === null || value === '') return [];
  if (typeof value === 'string' || typeof value === 'boolean') return [`${key}=${JSON.stringify(value)}`];
  return value.filter(Boolean).map((one) => `${key}[]=${JSON.stringify(one)}`);
}

function certificatesIn(text: string): string[] {
  return text.match(/-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----/gs) ?? [];
}

function withVariables(line: string): string {
  return line.replace(/\$\{(\w+)\}/g, (all, name: string) => process.env[name] ?? all);
}
