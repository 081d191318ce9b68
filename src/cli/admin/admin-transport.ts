import { request as httpRequest } from 'node:http';
import { pipeline, Readable } from 'node:stream';

/** One request of the admin API. */
export type AdminRequest = {
  readonly method: 'GET' | 'POST' | 'DELETE';
  /** Below the server's root: `/api/v1/...`. */
  readonly path: string;
  /** What is `undefined` is left out. */
  readonly query?: Readonly<Record<string, string | undefined>>;
  /** Sent as JSON. */
  readonly body?: unknown;
  /** Sent in place of `body`, as a tar archive; it is read no further once the answer has ended. */
  readonly upload?: AsyncIterable<Uint8Array>;
};

/** The head and body of an answer; reading ends with an error when the answer breaks off. */
type AdminAnswer = { readonly ok: boolean; readonly body: AsyncIterable<Uint8Array> };

/** A way to the admin API. */
export type AdminTransport = {
  /** Resolves when the answer begins; an abort ends it whenever it comes. */
  send(request: AdminRequest, signal: AbortSignal): Promise<AdminAnswer>;
  close(): Promise<void>;
};

/** Over the control socket at `path`, one connection a request. */
export function socketTransport(path: string): AdminTransport {
  return {
    send: (request, signal) => {
      const body = bodyOf(request);
      return new Promise((resolve, reject) => {
        const outgoing = httpRequest({
          socketPath: path,
          method: request.method,
          path: targetOf(request),
          headers: { Host: 'control', ...headersOf(request, body) },
          agent: false,
          signal,
        });
        outgoing.on('error', reject);
        outgoing.once('response', (incoming) => {
          resolve({ ok: isSuccess(incoming.statusCode), body: incoming });
        });
        if (request.upload === undefined) outgoing.end(body);
        // What goes wrong with it shows as the end of the request.
        else pipeline(Readable.from(request.upload, { objectMode: false }), outgoing, () => undefined);
      });
    },
    close: async () => {},
  };
}

/** To the routes themselves, in this process. */
export function requestTransport(admin: {
  fetch(request: Request): Promise<Response>;
  close(): Promise<void>;
}): AdminTransport {
  return {
    send: async (request, signal) => {
      const body = bodyOf(request);
      const response = await admin.fetch(
        new Request(`http://control${targetOf(request)}`, {
          method: request.method,
          signal,
          headers: headersOf(request, body),
          ...(body !== undefined && { body }),
          ...(request.upload !== undefined && { body: ReadableStream.from(request.upload), duplex: 'half' }),
        }),
      );
      return { ok: isSuccess(response.status), body: response.body ?? empty() };
    },
    close: () => admin.close(),
  };
}

function targetOf({ path, query = {} }: AdminRequest): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value !== undefined) given.set(name, value);
  return given.size === 0 ? path : `${path}?${given}`;
}

function bodyOf({ body }: AdminRequest): string | undefined {
  return body === undefined ? undefined : JSON.stringify(body);
}

function headersOf({ upload }: AdminRequest, body: string | undefined): Record<string, string> {
  if (upload !== undefined) return { 'Content-Type': 'application/x-tar' };
  if (body === undefined) return {};
  return { 'Content-Type': 'application/json', 'Content-Length': String(Buffer.byteLength(body)) };
}

function isSuccess(status: number | undefined): boolean {
  return status !== undefined && status >= 200 && status < 300;
}

async function* empty(): AsyncGenerator<Uint8Array> {}
