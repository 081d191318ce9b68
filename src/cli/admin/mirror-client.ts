import { readUpTo } from '../../lib/read-bytes.ts';
import { AdminError } from './admin-client.ts';

/** A login at other mirrors. */
export type MirrorLogin = { readonly user: string; readonly password: string };

/** Milliseconds that a mirror gets to answer. */
const patience = 30_000;

/** Bytes of an answer: some thousand parts that are missing. */
const largestAnswer = 16 * 1024 * 1024;

/**
 * Asks the admin API of another entrepot for JSON. Redirects are not followed, since a login goes to the mirror that
 * was named and nowhere else.
 * @param mirror its origin, `http(s)://host[:port]`
 * @throws AdminError that says what the mirror refused, or that it cannot be reached; the signal's reason
 */
export async function askMirror(
  mirror: string,
  path: string,
  query: Readonly<Record<string, string>>,
  login: MirrorLogin | undefined,
  signal: AbortSignal,
): Promise<unknown> {
  const url = new URL(path, mirror);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const headers: Record<string, string> = { Accept: 'application/json' };
  if (login !== undefined) {
    const pair = Buffer.from(`${login.user}:${login.password}`).toString('base64');
    headers['Authorization'] = `Basic ${pair}`;
  }
  const timeout = AbortSignal.timeout(patience);
  try {
    const response = await fetch(url, {
      headers,
      redirect: 'manual',
      signal: AbortSignal.any([signal, timeout]),
    });
    const value = jsonOf(await textOf(response));
    if (response.ok && value !== undefined) return value;
    throw refusal(response.status, value, login);
  } catch (error) {
    if (signal.aborted) throw signal.reason;
    if (error instanceof AdminError) throw error;
    const why = timeout.aborted ? `it did not answer within ${patience / 1000}s` : reasonOf(error);
    throw new AdminError('UNREACHABLE', `cannot be reached: ${why}`, { cause: error });
  }
}

/** The origin of a mirror as the user wrote it; `undefined` when it is none, or holds what it should not. */
export function mirrorOrigin(text: string): string | undefined {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^https?:$/.test(url.protocol)) return undefined;
  if (url.username !== '' || url.password !== '' || url.pathname !== '/' || url.search !== '')
    return undefined;
  return url.origin;
}

async function textOf({ body }: Response): Promise<string> {
  if (body === null) return '';
  const { bytes, whole } = await readUpTo(body, largestAnswer);
  if (!whole) throw new AdminError('BROKEN_OFF', 'its answer is too long to be one');
  return bytes.toString('utf8');
}

function refusal(status: number, value: unknown, login: MirrorLogin | undefined): AdminError {
  const [entry] = (value as { errors?: { code?: unknown; message?: unknown }[] } | undefined)?.errors ?? [];
  if (typeof entry?.code === 'string' && typeof entry.message === 'string') {
    const hint =
      entry.code === 'UNAUTHORIZED' && login === undefined ? ' (give --user and --password-file)' : '';
    return new AdminError(entry.code, `${entry.message}${hint}`);
  }
  return new AdminError('BROKEN_OFF', `it is no entrepot of this version: it answered with status ${status}`);
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** What the system says, which `fetch` hides in the cause. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  if (cause instanceof Error) return cause.message || String((cause as NodeJS.ErrnoException).code);
  return error instanceof Error ? error.message : String(error);
}
