import { delay } from '../lib/abort.ts';
import type { Clock } from '../lib/clock.ts';
import type { Log } from '../lib/log.ts';
import type { Digest } from '../oci/digest.ts';
import { IntegrityError } from '../oci/errors.ts';
import type { UpstreamClient } from '../upstream/client.ts';
import { UpstreamError } from '../upstream/result.ts';
import type { FillSlot } from './fill-workers.ts';
import { type Refusal, verdictError, weigh } from './outcomes.ts';
import { imageName, type ResolvedRepository } from './registry.ts';

/** How patient a download is with its upstreams. */
export type DownloadPatience = {
  /** How many times all upstreams are asked in turn without a byte of progress before the clients are told. */
  readonly rounds: number;
  /** Milliseconds before the second round; doubles with each further one. */
  readonly pause: number;
};

/** An attempt that brought fewer bytes than this counts as no progress, so that a trickle of cuts comes to an end. */
const progressFloor = 64 * 1024;

/**
 * Downloads one blob into `slot` and verifies it. What breaks off is continued at the missing byte, on the
 * next upstream if need be; upstreams are tried in order.
 * @param report called with the upstream whose bytes are about to arrive
 * @throws OciError when no upstream has it, lets us, or can be reached; IntegrityError when the bytes are wrong
 */
export async function downloadBlob(
  deps: { clock: Clock; log: Log },
  job: {
    readonly target: ResolvedRepository;
    readonly digest: Digest;
    readonly slot: FillSlot;
    readonly size: () => number | undefined;
    readonly report: (upstream: string) => void;
  },
  patience: DownloadPatience,
  signal: AbortSignal,
): Promise<void> {
  const { target, digest, slot } = job;
  let written = await slot.open();
  let idleRounds = 0;
  while (!isWhole(written, job.size())) {
    const before = written;
    const refusals: Refusal[] = [];
    for (const upstream of target.registry.upstreams) {
      job.report(upstream.name);
      const { written: now, ended, refusal } = await attempt(upstream, job, written, signal);
      if (refusal !== undefined) {
        refusals.push(refusal);
        deps.log.warn(
          {
            image: imageName(target),
            digest,
            upstream: upstream.name,
            at: now,
            result: refusal.kind,
            ...(refusal.kind === 'unavailable' && { cause: refusal.cause.message }),
          },
          'blob download interrupted',
        );
      }
      written = now;
      if (ended || isWhole(written, job.size())) break;
    }
    if (refusals.length < target.registry.upstreams.length) break;
    if (isWhole(written, job.size())) break;
    idleRounds = written - before >= progressFloor ? 0 : idleRounds + 1;
    const verdict = weigh(refusals);
    if (verdict.kind === 'missing' || verdict.kind === 'denied' || idleRounds >= patience.rounds) {
      throw verdictError(verdict, `blob ${digest} of ${imageName(target)}`, 'BLOB_UNKNOWN');
    }
    if (idleRounds > 0) await delay(patience.pause * 2 ** (idleRounds - 1), signal);
  }
  const found = await slot.verify();
  if (found !== undefined) throw new IntegrityError(digest, found);
}

function isWhole(written: number, size: number | undefined): boolean {
  return size !== undefined && written === size;
}

type Transferred = {
  readonly written: number;
  readonly ended: boolean;
  readonly refusal: Refusal | undefined;
};

/** One attempt at one upstream, from byte `offset` on. `ended` says that a body of undeclared length came to its end. */
async function attempt(
  upstream: UpstreamClient,
  { target, digest, slot, size }: Parameters<typeof downloadBlob>[1],
  offset: number,
  signal: AbortSignal,
): Promise<Transferred> {
  let written = offset;
  const result = await upstream.getBlob(
    target.repository,
    digest,
    offset,
    async (request, _expect, hopSignal) => {
      const hopped = await slot.hop(request, offset, hopSignal);
      written = hopped.written;
      return hopped.result;
    },
    signal,
  );
  if (result.kind !== 'ok') return { written, ended: false, refusal: result };
  const transfer = result.value;
  const whole = size() === undefined || written === size();
  if (transfer.ending === 'complete' && whole) return { written, ended: true, refusal: undefined };
  const why =
    transfer.ending === 'broken' ? transfer.message : `it sent ${written} bytes where ${size()} are due`;
  const cause = new UpstreamError(why, { upstream: upstream.name, op: 'get-blob' });
  return { written, ended: false, refusal: { kind: 'unavailable', upstream: upstream.name, cause } };
}
