import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { controlSocketOf } from '../../app/control-socket.ts';
import type { Config } from '../../config/config.ts';
import { abandonOnAbort } from '../../lib/abort.ts';
import type { AdminRequest } from './admin-transport.ts';
import { type AdminTransport, requestTransport, socketTransport } from './admin-transport.ts';

/** What the admin API refused, or why it did not answer; the message is for the user. */
export class AdminError extends Error {
  /** The code of the error body (`MANIFEST_UNKNOWN`), or `BROKEN_OFF` for an answer that did not end. */
  readonly code: string;

  constructor(code: string, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'AdminError';
    this.code = code;
  }
}

/** The admin API of a storage, whether a server serves it or nobody does. */
export class AdminClient {
  readonly #transport: AdminTransport;

  constructor(deps: { transport: AdminTransport }) {
    this.#transport = deps.transport;
  }

  /**
   * Asks, and reads the whole answer as JSON.
   * @throws AdminError; the signal's reason when it aborts
   */
  async call(request: AdminRequest, signal: AbortSignal): Promise<unknown> {
    return parse(await text(this.#ask(request, signal)));
  }

  /**
   * Asks, and gives each line of the answer (newline-delimited JSON) as soon as it is there. Leaving the loop early
   * ends the request.
   * @throws AdminError, also for a failure that the server met midway; the signal's reason when it aborts
   */
  async *stream(request: AdminRequest, signal: AbortSignal): AsyncGenerator<unknown, void, undefined> {
    const decoder = new TextDecoder();
    let rest = '';
    for await (const chunk of this.#ask(request, signal)) {
      rest += decoder.decode(chunk, { stream: true });
      const lines = rest.split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) yield lineValue(line);
    }
    if (rest !== '') throw brokenOff();
  }

  /**
   * Asks, and gives the bytes of the answer as they come.
   * @throws AdminError, also when the answer breaks off; the signal's reason when it aborts
   */
  download(request: AdminRequest, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    return this.#ask(request, signal);
  }

  /** Ends what was opened for this client; a server goes on. */
  close(): Promise<void> {
    return this.#transport.close();
  }

  async *#ask(request: AdminRequest, signal: AbortSignal): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      signal.throwIfAborted();
      const { ok, body } = await abandonOnAbort(this.#transport.send(request, signal), signal);
      if (!ok) throw await refusal(body);
      yield* body;
      // Aborted work may end its answer as if it were done.
      signal.throwIfAborted();
    } catch (error) {
      if (signal.aborted) throw signal.reason;
      if (error instanceof AdminError) throw error;
      throw brokenOff(error);
    }
  }
}

/**
 * Reaches the admin API of the configured storage: through the control socket of the server that serves it, else by
 * opening the storage here.
 * @throws AdminError when a server is there but this user may not talk to it
 */
export async function connectAdmin(config: Config): Promise<AdminClient> {
  const path = controlSocketOf(config);
  if (await serverListens(path)) return new AdminClient({ transport: socketTransport(path) });
  const { openAdmin } = await import('../../app.ts');
  return new AdminClient({ transport: requestTransport(await openAdmin(config)) });
}

function serverListens(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EACCES' || error.code === 'EPERM') {
        const message = `${path} is another user's: run this as the user that the server runs as`;
        reject(new AdminError('DENIED', message, { cause: error }));
      } else {
        resolve(false);
      }
    });
  });
}

function lineValue(line: string): unknown {
  const value = parse(line);
  if (typeof value === 'object' && value !== null && Object.keys(value).join() === 'error') {
    throw errorOf((value as { error: unknown }).error);
  }
  return value;
}

async function refusal(body: AsyncIterable<Uint8Array>): Promise<AdminError> {
  const { errors } = parse(await text(body)) as { errors?: unknown[] };
  return errorOf(errors?.[0]);
}

function errorOf(entry: unknown): AdminError {
  const { code, message } = (entry ?? {}) as { code?: unknown; message?: unknown };
  return typeof code === 'string' && typeof message === 'string'
    ? new AdminError(code, message)
    : brokenOff();
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw brokenOff(cause);
  }
}

function brokenOff(cause?: unknown): AdminError {
  return new AdminError('BROKEN_OFF', 'the server broke its answer off: its log may say why', { cause });
}
