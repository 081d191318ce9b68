import type { FailureKind } from '../health/health.ts';
import { measurableBytes } from '../health/speed.ts';
import type { SmallAnswer, SmallHttp } from '../http/small-http.ts';
import { SmallHttpError } from '../http/small-http-error.ts';
import type { BlobTransfer, BodyHop, UpstreamErrorReason } from '../result.ts';
import type { WireFailure } from '../wire/messages.ts';
import type { Sent } from './follow.ts';

/** Sends a request for something small, as one hop of a walk. */
export async function sendSmall(
  http: SmallHttp,
  wanted: Parameters<SmallHttp['send']>[0],
  signal: AbortSignal,
): Promise<Sent<SmallAnswer>> {
  try {
    const answer = await http.send(wanted, signal);
    const { status, headers, firstByteMs } = answer;
    if (status === 200) return { kind: 'final', value: answer, headers, firstByteMs };
    return { kind: 'answer', status, headers, firstByteMs };
  } catch (error) {
    if (!(error instanceof SmallHttpError)) throw error;
    return { kind: 'failed', reason: error.reason, message: error.message, cause: error };
  }
}

/** What a hop that fetched a body means to a walk. */
export function sentByHop(result: Awaited<ReturnType<BodyHop>>): Sent<BlobTransfer> {
  if (result.kind === 'failed')
    return { kind: 'failed', reason: reasons[result.reason], message: result.message };
  if (result.kind === 'answer') {
    return { kind: 'answer', status: result.status, headers: result.headers, refused: result.refused };
  }
  const { total, received, ending } = result;
  if (ending === 'complete') return { kind: 'final', value: { ending, total, received } };
  const { reason, message } = ending;
  const broken: FailureKind | undefined =
    reason === 'stall' ? 'stall' : received < measurableBytes ? reasons[reason] : undefined;
  return { kind: 'final', value: { ending: 'broken', total, received, reason, message }, broken };
}

const reasons = {
  refused: 'unreachable',
  reset: 'unreachable',
  cut: 'unreachable',
  timeout: 'timeout',
  stall: 'timeout',
  tls: 'tls',
  malformed: 'protocol',
  forbidden: 'egress',
} as const satisfies Record<WireFailure['reason'], UpstreamErrorReason>;
