/** Which upstream brought which bytes, and why it was chosen. */
export type Served = {
  readonly upstream: string;
  readonly start: number;
  readonly end: number;
  readonly because: string;
};

/** Bytes by upstream. */
export function bytesByUpstream(served: readonly Served[]): Readonly<Record<string, number>> {
  const bytes: Record<string, number> = {};
  for (const { upstream, start, end } of served) bytes[upstream] = (bytes[upstream] ?? 0) + end - start;
  return bytes;
}
