import { createHash } from 'node:crypto';
import http, { type IncomingHttpHeaders, type IncomingMessage } from 'node:http';

/** How to ask. */
export type RequestOptions = {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  /** A request body, for writes. */
  readonly body?: string | Buffer;
  readonly signal?: AbortSignal;
  /** Called when the status line and headers are in; `response.pause()` and `destroy()` work here. */
  readonly onHeaders?: (response: IncomingMessage) => void;
  /** Called for each chunk, with the body length so far, that chunk included. */
  readonly onChunk?: (length: number, response: IncomingMessage) => void;
  /** `false`: the body is hashed and counted but not kept. */
  readonly keepBody?: boolean;
};

/** What came back. Never rejects for a body that broke off: `complete` says whether all of it arrived. */
export type Answer = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  /** The body; empty when `keepBody` was false. */
  readonly body: Buffer;
  /** Bytes of the body that arrived. */
  readonly length: number;
  /** The digest of the bytes that arrived. */
  readonly digest: string;
  /** Whether the body ended as its framing promised. */
  readonly complete: boolean;
  readonly text: string;
};

/**
 * Sends one request over a connection of its own and waits for the end of the answer. `path` goes over the wire
 * as written, without normalisation.
 * @throws when no status line arrived (refused, reset, aborted before the headers).
 */
export function request(origin: string, path: string, options: RequestOptions = {}): Promise<Answer> {
  const { hostname, port } = new URL(origin);
  return new Promise((resolve, reject) => {
    const outgoing = http.request({
      hostname,
      port,
      path,
      method: options.method ?? 'GET',
      headers: { host: new URL(origin).host, ...options.headers },
      agent: false,
      ...(options.signal && { signal: options.signal }),
    });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => collect(response, options, resolve));
    outgoing.end(options.body);
  });
}

function collect(
  response: IncomingMessage,
  options: RequestOptions,
  resolve: (answer: Answer) => void,
): void {
  const chunks: Buffer[] = [];
  const hash = createHash('sha256');
  let length = 0;
  response.on('data', (chunk: Buffer) => {
    length += chunk.length;
    hash.update(chunk);
    if (options.keepBody !== false) chunks.push(chunk);
    options.onChunk?.(length, response);
  });
  response.on('error', () => {});
  response.once('close', () => {
    const body = Buffer.concat(chunks);
    resolve({
      status: response.statusCode ?? 0,
      headers: response.headers,
      body,
      length,
      digest: `sha256:${hash.digest('hex')}`,
      complete: response.complete,
      text: body.toString(),
    });
  });
  options.onHeaders?.(response);
}

/** One entry of an OCI error body (distribution-spec, "Error Codes"). */
export type ErrorEntry = { code: string; message: string; detail?: unknown };

/**
 * The single error of an OCI error answer.
 * @throws when the answer is not an OCI error body: wrong type, wrong length, not one error, no message.
 */
export function ociError(answer: Answer): ErrorEntry {
  const where = `status ${answer.status}, ${answer.text.slice(0, 200)}`;
  const type = answer.headers['content-type'] ?? '';
  if (!type.startsWith('application/json')) throw new Error(`content type ${type}: ${where}`);
  if (Number(answer.headers['content-length']) !== answer.length) throw new Error(`wrong length: ${where}`);
  const { errors } = JSON.parse(answer.text) as { errors?: ErrorEntry[] };
  const [error] = errors ?? [];
  if (!error || errors?.length !== 1 || !error.code || !error.message)
    throw new Error(`not one error: ${where}`);
  return error;
}

/** `status code`, such as `404 MANIFEST_UNKNOWN`: the two facts most tests are about, in one readable value. */
export function outcome(answer: Answer): string {
  return answer.status < 400 ? String(answer.status) : `${answer.status} ${ociError(answer).code}`;
}
