import type { LookupFunction } from 'node:net';
import { onTestFinished } from 'vitest';
import type { Clock } from '../../src/lib/clock.ts';
import type { Log } from '../../src/lib/log.ts';
import { type Digest, parseDigest } from '../../src/oci/digest.ts';
import { parseReference } from '../../src/oci/reference.ts';
import { UpstreamClient } from '../../src/upstream/client.ts';
import type { BlobRange, BlobTransfer, FetchResult, UpstreamResult } from '../../src/upstream/result.ts';
import type { UpstreamOptions } from '../../src/upstream/upstream-options.ts';
import { acceptBody } from '../../src/upstream/wire/accept-body.ts';
import type { WireRequest, WireResponseHead } from '../../src/upstream/wire/messages.ts';
import { Wire } from '../../src/upstream/wire/wire.ts';

/** A signal that never aborts. */
export const never = new AbortController().signal;

/** A digest of zeros, and a tag. */
export const digest = must(parseDigest(`sha256:${'0'.repeat(64)}`));
export const tag = must(parseReference('v1'));

/** What is there. */
export function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error('expected a value');
  return value;
}

/** A client that is closed when the test ends, with what it observed and logged. */
export function openClient(url: string, more: Partial<UpstreamOptions> = {}, lookup?: LookupFunction) {
  const observed: string[] = [];
  const logged: string[] = [];
  const clock: Clock & { time: number } = { time: Date.UTC(2026, 0, 1), now: () => clock.time };
  const write = (fields: unknown, message: string) => {
    logged.push(`${message} ${JSON.stringify(fields)}`);
  };
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const client = new UpstreamClient(
    {
      log,
      clock,
      ...(lookup && { lookup }),
      observe: (op, outcome) => observed.push(`${op} ${outcome}`),
    },
    {
      url,
      tags: true,
      insecure: url.startsWith('http:'),
      connectTimeout: 5000,
      headersTimeout: 5000,
      stallTimeout: 5000,
      userAgent: 'entrepot/test',
      ...more,
    },
  );
  onTestFinished(() => client.close());
  return { client, observed, logged, clock };
}

/** Transfers blobs as a fill does, keeps the bytes, and notes the requests that were sent. */
export function openTransfer(lookup?: LookupFunction) {
  const wire = new Wire({ ...(lookup && { lookup }) });
  onTestFinished(() => wire.close());
  const chunks: Buffer[] = [];
  const requests: WireRequest[] = [];
  const send = async (
    request: WireRequest,
    offset: number,
    begun: (headers: WireResponseHead['headers']) => void,
    signal: AbortSignal,
  ): Promise<FetchResult> => {
    requests.push(request);
    let skip = 0;
    let total: number | undefined;
    let received = 0;
    let accepted = false;
    const result = await wire.get(
      structuredClone(request),
      {
        head: (head) => {
          const verdict = acceptBody(head, offset);
          if (verdict.kind === 'refuse') return 'collect';
          ({ skip, total } = verdict);
          accepted = true;
          begun(head.headers);
          return 'read';
        },
        chunk: (bytes) => {
          const fresh = Buffer.from(bytes.subarray(Math.min(skip, bytes.length)));
          skip -= bytes.length - fresh.length;
          received += fresh.length;
          chunks.push(fresh);
        },
      },
      signal,
    );
    if (result.kind === 'collected') return { kind: 'answer', ...result.head, body: result.body };
    if (result.kind === 'complete') return { kind: 'body', total, received, ending: 'complete' };
    return accepted ? { kind: 'body', total, received, ending: result } : result;
  };
  const get = async (
    client: UpstreamClient,
    repository: string,
    wanted: Digest,
    range: BlobRange,
    signal: AbortSignal,
  ): Promise<UpstreamResult<BlobTransfer>> => {
    const blob = client.getBlob(repository, wanted, range);
    try {
      let step = await blob.first(signal);
      while (step.kind === 'send') {
        const result = await send(step.request, range.start, (headers) => blob.begun(headers), signal);
        step = await blob.next(result, signal);
      }
      return step.result;
    } finally {
      blob.close();
    }
  };
  return { get, requests, bytes: () => Buffer.concat(chunks).toString() };
}
