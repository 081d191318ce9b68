import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { getRequestListener } from '@hono/node-server';
import type { Hono } from 'hono';
import type { Log } from '../../lib/log.ts';
import { drain, releaseWhenClosing } from './drain.ts';

/** The file of the control socket; `SocketFile` of the store is one. */
type ControlFile = {
  readonly path: string;
  /** Runs `bind`, which creates the socket before it returns, such that only this user may connect. */
  create(bind: () => void): void;
  /** Removes a socket that nobody listens on. */
  remove(): void;
};

/** Another server listens on the control socket, so it serves the same storage. */
export class ControlInUseError extends Error {
  readonly code = 'CONTROL_IN_USE';
}

/**
 * Serves the admin routes to the command line on a Unix socket. The file's permission is the credential: whoever
 * may open it has every right.
 */
export class ControlServer {
  readonly #file: ControlFile;
  readonly #log: Log;
  readonly #drain: number;
  readonly #server: Server;

  /** @param options.drainTimeout milliseconds that requests under way get to end when the server closes */
  constructor(
    deps: {
      /** What serves requests; each reads it once, when it comes. */
      current(): { readonly control: Hono };
      file: ControlFile;
      log: Log;
    },
    options: { drainTimeout: number },
  ) {
    this.#file = deps.file;
    this.#log = deps.log;
    this.#drain = options.drainTimeout;
    // A command may take as long as its work does: no limit on a request, only the user's own.
    this.#server = createServer(
      { requestTimeout: 0, headersTimeout: 0 },
      getRequestListener((request, env) => deps.current().control.fetch(request, env), {
        overrideGlobalObjects: false,
      }),
    );
    releaseWhenClosing(this.#server);
  }

  /**
   * Listens, in place of what a killed server left behind. Where no socket can be made (its path is too long, the file
   * system knows none) the server does without it, and a warning says so.
   * @throws ControlInUseError when another server listens there
   */
  async start(): Promise<void> {
    const { path } = this.#file;
    if (await someoneListens(path)) {
      throw new ControlInUseError(`another entrepot serves this storage: it answers on ${path}`);
    }
    try {
      this.#file.remove();
      await this.#listen();
    } catch (error) {
      const { message, code } = error as NodeJS.ErrnoException;
      if (code === 'EADDRINUSE') {
        throw new ControlInUseError(`another entrepot began to serve this storage: it made ${path}`);
      }
      this.#log.warn({ path, cause: message }, 'no control socket: commands cannot reach this server');
    }
  }

  /** Takes no new commands, lets those under way end within the drain time, and removes the socket; idempotent. */
  async close(): Promise<void> {
    await drain(this.#server, this.#drain);
  }

  #listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.once('listening', () => {
        this.#server.off('error', reject);
        resolve();
      });
      this.#file.create(() => this.#server.listen({ path: this.#file.path }));
    });
  }
}

function someoneListens(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    const answer = (listens: boolean) => {
      socket.destroy();
      resolve(listens);
    };
    socket.once('connect', () => answer(true));
    socket.once('error', () => answer(false));
  });
}
