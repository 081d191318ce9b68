import type { ServerResponse } from 'node:http';
import { text } from 'node:stream/consumers';
import { httpServer } from '../loopback.ts';

const manifest = 'application/vnd.oci.image.manifest.v1+json';

/** What a token endpoint answers. */
export type TokenReply = { status?: number; headers?: Record<string, string>; body?: unknown };

/** A token request: its number from 1, its `Authorization`, and the form that was posted. */
export type TokenRequest = { n: number; authorization: string; form: URLSearchParams };

/**
 * A registry with a token endpoint; `valid` decides which `Authorization` opens it, and `refusal` is the status for
 * all others. `seen` tells the requests, `METHOD url authorization` each.
 */
export async function registry(options: {
  valid?: (authorization: string) => boolean;
  token?: (n: number, request: TokenRequest) => TokenReply | Promise<TokenReply>;
  challenge?: (origin: string) => string;
  refusal?: () => number;
}) {
  const valid = options.valid ?? ((given: string) => given.startsWith('Bearer t'));
  const token = options.token ?? ((n: number): TokenReply => ({ body: { token: `t${n}` } }));
  let tokens = 0;
  const deny = (response: ServerResponse, origin: string) => {
    const challenge =
      options.challenge?.(origin) ?? `Bearer realm="${origin}/token?a=b",service="the service",scope="evil"`;
    response.writeHead(options.refusal?.() ?? 401, { 'www-authenticate': challenge }).end('{}');
  };
  const server = await httpServer(async (request, response) => {
    const origin = `http://${request.headers.host}`;
    const authorization = request.headers.authorization ?? '';
    if (request.url?.startsWith('/token')) {
      const n = ++tokens;
      const form = new URLSearchParams(await text(request));
      const { status = 200, headers = {}, body = {} } = await token(n, { n, authorization, form });
      response.writeHead(status, headers).end(typeof body === 'string' ? body : JSON.stringify(body));
    } else if (valid(authorization)) {
      response.writeHead(200, { 'content-type': manifest }).end('{}');
    } else deny(response, origin);
  });
  const seen = () =>
    server.journal.map(({ method, url, headers }) => `${method} ${url} ${headers.authorization ?? '-'}`);
  return { ...server, seen };
}
