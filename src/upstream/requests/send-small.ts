import type { SmallAnswer, SmallHttp } from '../http/small-http.ts';
import { SmallHttpError } from '../http/small-http-error.ts';
import type { Answer } from './followed-request.ts';

/** Sends one request for something small. */
export async function sendSmall(
  http: SmallHttp,
  wanted: Parameters<SmallHttp['send']>[0],
  signal: AbortSignal,
): Promise<Answer<SmallAnswer>> {
  try {
    const answer = await http.send(wanted, signal);
    const { status, headers, firstByteMs } = answer;
    if (status === 200) return { kind: 'final', value: answer, headers, firstByteMs };
    return { kind: 'other', status, headers, firstByteMs };
  } catch (error) {
    if (!(error instanceof SmallHttpError)) throw error;
    return { kind: 'failed', reason: error.reason, message: error.message, cause: error };
  }
}
