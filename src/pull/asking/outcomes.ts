import { OciError, type OciErrorCode, type OciErrorOptions } from '../../oci/errors.ts';
import type { UpstreamResult } from '../../upstream/result.ts';

/** An upstream's answer that is not the content asked for. */
export type Refusal = Exclude<UpstreamResult<never>, { kind: 'ok' }>;

/** What all upstreams together came to when none had the content. */
export type Verdict = {
  /** `unavailable` wins over the rest, since one that did not answer might have had it. */
  readonly kind: Refusal['kind'];
  readonly refusals: readonly Refusal[];
};

/** The order in which refusals weigh: down, then limited, then denied, and only if all agree, gone. */
const weight = ['unavailable', 'limited', 'denied', 'missing'] as const satisfies readonly Refusal['kind'][];

/** Weighs what several upstreams answered. No upstream at all counts as missing. */
export function weigh(refusals: readonly Refusal[]): Verdict {
  const kind = weight.find((candidate) => refusals.some((refusal) => refusal.kind === candidate));
  return { kind: kind ?? 'missing', refusals };
}

/** The shortest wait that a rate-limited upstream named, in whole seconds. */
export function retryAfterOf(verdict: Verdict): number | undefined {
  const named = verdict.refusals.map((refusal) =>
    refusal.kind === 'limited' ? refusal.retryAfter : undefined,
  );
  const seconds = named.filter((value) => value !== undefined);
  return seconds.length === 0 ? undefined : Math.max(1, Math.ceil(Math.min(...seconds)));
}

/** Upstreams that cannot tell now. The message is for who cannot be served without them. */
class OutageError extends OciError {
  /** What is the matter with them, with no word about what is here. */
  readonly why: string;

  constructor(code: OciErrorCode, why: string, message: string, options: OciErrorOptions) {
    super(code, message, options);
    this.why = why;
  }
}

/**
 * The client's error for a verdict. Down is not denied is not gone: each has its own code and next step.
 * @param what what was asked for, as the message names it
 * @param missing the code for "does not exist"
 * @param next what to do about that
 */
export function verdictError(
  verdict: Verdict,
  what: string,
  missing: OciErrorCode,
  next = 'check the name and the tag',
): OciError {
  const names = [...new Set(verdict.refusals.map((refusal) => refusal.upstream))].join(', ');
  switch (verdict.kind) {
    case 'missing':
      return new OciError(missing, `${what} does not exist upstream (${names}): ${next}`);
    case 'denied':
      return new OciError(
        'DENIED',
        `${names} refuses access to ${what}: it does not exist or is private; configure credentials for that upstream`,
      );
    case 'limited': {
      const why = `${names} limits the rate of requests`;
      return new OutageError(
        'TOOMANYREQUESTS',
        why,
        `${why} and ${what} is not cached: try again later, or configure credentials`,
        { retryAfter: retryAfterOf(verdict) ?? 60 },
      );
    }
    case 'unavailable': {
      const causes = verdict.refusals.filter((refusal) => refusal.kind === 'unavailable');
      const why = causes.map(({ upstream, cause }) => `${upstream}: ${cause.message}`).join('; ');
      return new OutageError(
        'UNAVAILABLE',
        why,
        `${what} is not cached and cannot be fetched now (${why}): try again`,
        {
          retryAfter: 5,
          cause: causes[0]?.cause,
        },
      );
    }
    default:
      return verdict.kind satisfies never;
  }
}

/** Whether an error says that upstreams cannot tell now, so that what is cached may stand in. */
export function isOutage(error: unknown): error is OciError {
  return error instanceof OciError && (error.code === 'UNAVAILABLE' || error.code === 'TOOMANYREQUESTS');
}

/** Whether an error says that there is no such thing, rather than that it may not be had, used or reached. */
export function isAbsence(error: unknown): boolean {
  return error instanceof OciError && /^(MANIFEST|BLOB|NAME)_UNKNOWN$/.test(error.code);
}

/** Why what is cached stands in, where {@link isOutage} says that it may. */
export function staleCause(error: OciError): string {
  return error instanceof OutageError ? error.why : error.message;
}
