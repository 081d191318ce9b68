/** Bytes that one connection to an upstream brought, and why that upstream was chosen. */
export type Delivery = {
  readonly upstream: string;
  readonly start: number;
  readonly end: number;
  readonly because: string;
};

/** How many bytes each upstream brought. */
export function bytesByUpstream(deliveries: readonly Delivery[]): Readonly<Record<string, number>> {
  const bytes: Record<string, number> = {};
  for (const { upstream, start, end } of deliveries) bytes[upstream] = (bytes[upstream] ?? 0) + end - start;
  return bytes;
}
