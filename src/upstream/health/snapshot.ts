import type { BreakerSnapshot } from './breaker.ts';
import type { RateLimitSnapshot } from './rate-limit.ts';
import type { SpeedSnapshot } from './speed.ts';

/** What is held against an upstream that served wrong bytes. Times in milliseconds (since the Unix epoch). */
export type QuarantineSnapshot = {
  readonly reason: string;
  readonly since: number;
  readonly ms: number;
  /** How many there were in a row, this one included. */
  readonly repeats: number;
};

/**
 * What is known of an upstream at a time, as plain JSON that is stored; milliseconds (since the Unix epoch). In version
 * 1 `pace` is its speed and `bank` its rate limit.
 */
export type HealthSnapshot = {
  readonly version: 1;
  readonly at: number;
  readonly sampledAt?: number;
  readonly pace: SpeedSnapshot;
  readonly breaker: BreakerSnapshot;
  readonly bank: RateLimitSnapshot;
  readonly quarantine?: QuarantineSnapshot;
};

type Fields = Readonly<Record<string, unknown>>;

/** Reads back a snapshot that was stored as JSON; `undefined` when it is none, or of another version. */
export function parseHealthSnapshot(value: unknown): HealthSnapshot | undefined {
  return isSnapshot(value) ? value : undefined;
}

function isSnapshot(value: unknown): value is HealthSnapshot {
  return (
    isFields(value) &&
    value['version'] === 1 &&
    isNumber(value['at']) &&
    isOptional(value['sampledAt'], isNumber) &&
    isSpeed(value['pace']) &&
    isBreaker(value['breaker']) &&
    isRateLimit(value['bank']) &&
    isOptional(value['quarantine'], isQuarantine)
  );
}

function isSpeed(value: unknown): boolean {
  return (
    isFields(value) &&
    isOptional(value['firstByte'], isAverage) &&
    isOptional(value['throughput'], isAverage) &&
    Array.isArray(value['recentFirstBytes']) &&
    value['recentFirstBytes'].every(isNumber)
  );
}

function isAverage(value: unknown): boolean {
  return isFields(value) && ['value', 'weight', 'count', 'at'].every((key) => isNumber(value[key]));
}

function isBreaker(value: unknown): boolean {
  return (
    isFields(value) &&
    ['closed', 'open', 'half-open'].includes(String(value['state'])) &&
    isCount(value['failures']) &&
    isCount(value['openings'])
  );
}

function isRateLimit(value: unknown): boolean {
  return (
    isFields(value) &&
    isCount(value['strikes']) &&
    isOptional(value['notice'], isNotice) &&
    isOptional(value['limited'], isPeriod)
  );
}

function isNotice(value: unknown): boolean {
  return (
    isFields(value) &&
    isNumber(value['at']) &&
    ['limit', 'remaining', 'window', 'reset'].every((key) => isOptional(value[key], isNumber))
  );
}

function isQuarantine(value: unknown): boolean {
  return (
    isFields(value) && isPeriod(value) && typeof value['reason'] === 'string' && isCount(value['repeats'])
  );
}

function isPeriod(value: unknown): boolean {
  return isFields(value) && isNumber(value['since']) && isNumber(value['ms']);
}

function isOptional(value: unknown, is: (value: unknown) => boolean): boolean {
  return value === undefined || is(value);
}

function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null;
}

function isNumber(value: unknown): value is number {
  return typeof value === 'number' && Number.isFinite(value);
}

function isCount(value: unknown): boolean {
  return isNumber(value) && Number.isInteger(value) && value >= 0;
}
