import { OciError } from '../../oci/errors.ts';
import { statuses } from '../respond.ts';

/**
 * Answers with one line of JSON for each value as it comes (newline-delimited JSON). A failure becomes the last line,
 * `{"error": {"code", "message"}}`, since the status has been sent by then; when the client goes away, the iterator
 * is returned from. No value may have the single key `error`.
 * @param failed what the client is told about a failure that is no `OciError`
 */
export function ndjsonResponse(
  values: AsyncIterable<unknown>,
  failed: (error: unknown) => OciError,
): Response {
  return new Response(ReadableStream.from(lines(values, failed)), {
    status: statuses.ok,
    headers: { 'Content-Type': 'application/x-ndjson', 'Cache-Control': 'no-store' },
  });
}

async function* lines(
  values: AsyncIterable<unknown>,
  failed: (error: unknown) => OciError,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  const line = (value: unknown) => encoder.encode(`${JSON.stringify(value)}\n`);
  try {
    for await (const value of values) yield line(value);
  } catch (error) {
    const { code, message } = error instanceof OciError ? error : failed(error);
    yield line({ error: { code, message } });
  }
}
