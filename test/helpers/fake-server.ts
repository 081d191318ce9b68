import { once } from 'node:events';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import https from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { type Answer, sendAnswer } from './fake-answer.ts';
import { type Fault, Faults, type Script } from './fake-faults.ts';
import { classify, Journal, type JournalEntry } from './journal.ts';

/** Decides what a fake server answers when no fault interferes. */
export type Handler = (entry: JournalEntry) => Answer;

/** A certificate and its key, both PEM. */
export type TlsFiles = { readonly cert: string; readonly key: string };

/** A real HTTP(S) server on a loopback port, with a journal and scripted faults. */
export class FakeServer {
  readonly journal = new Journal();
  #faults = new Faults();
  #handler: Handler;
  #server: http.Server;
  #sockets = new Set<Socket>();
  #port = 0;
  #scheme: 'http' | 'https';

  private constructor(handler: Handler, tls: TlsFiles | undefined) {
    this.#handler = handler;
    this.#scheme = tls ? 'https' : 'http';
    const listener = (request: IncomingMessage, response: ServerResponse) => this.#serve(request, response);
    this.#server = tls ? https.createServer(tls, listener) : http.createServer(listener);
    this.#server.keepAliveTimeout = 0;
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
  }

  /** Opens a server on a free port of 127.0.0.1. */
  static async open(handler: Handler, options: { tls?: TlsFiles } = {}): Promise<FakeServer> {
    const server = new FakeServer(handler, options.tls);
    await server.accept();
    return server;
  }

  /** `host:port`. */
  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** The origin, without a trailing slash. */
  get url(): string {
    return `${this.#scheme}://${this.host}`;
  }

  /** Puts a fault in place. */
  script(fault: Fault): Script {
    return this.#faults.add(fault);
  }

  /** Takes all faults away and releases the requests that wait. */
  heal(): void {
    this.#faults.clear();
  }

  /** Refuses connections from now on, and cuts those that are open. */
  async refuse(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = once(this.#server, 'close');
    this.#server.close();
    this.#server.closeAllConnections();
    await closed;
  }

  /** Listens (again, on the same port). */
  async accept(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Ends the server. */
  async close(): Promise<void> {
    this.heal();
    await this.refuse();
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    const url = request.url ?? '/';
    const mark = url.indexOf('?');
    const path = mark < 0 ? url : url.slice(0, mark);
    const query = new URLSearchParams(mark < 0 ? '' : url.slice(mark + 1));
    const entry: JournalEntry = {
      method: request.method ?? '',
      path,
      query: Object.fromEntries(query),
      headers: request.headers,
      ...classify(path),
      status: 0,
      bytes: 0,
      state: 'open',
      began: 0,
      wrote: 0,
    };
    response.on('error', () => {});
    request.resume();
    const answer = this.#handler(entry);
    const script = answer.beforeFaults ? undefined : this.#faults.take(entry);
    this.journal.add(entry);
    const die = () => this.#die(response);
    void sendAnswer(response, answer, { entry, journal: this.journal, script, die });
  }

  /** Resets every connection but that of the answer that is being cut, which still gets what was written to it. */
  #die(last: ServerResponse): void {
    this.#server.close();
    for (const socket of this.#sockets) if (socket !== last.socket) socket.resetAndDestroy();
  }
}
