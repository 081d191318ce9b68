/** Whether a part of a document that no schema has looked at yet is a map. */
export function isMap(node: unknown): node is Record<string, unknown> {
  return typeof node === 'object' && node !== null && !Array.isArray(node);
}

/** The map under `key`; empty when there is none. */
export function mapAt(node: unknown, key: string): Readonly<Record<string, unknown>> {
  const child = isMap(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  return isMap(child) ? child : {};
}

/** The list under `key`; empty when there is none. */
export function listAt(node: unknown, key: string): readonly unknown[] {
  const child = isMap(node) && Object.hasOwn(node, key) ? node[key] : undefined;
  return Array.isArray(child) ? child : [];
}
