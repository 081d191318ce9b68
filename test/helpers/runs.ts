/**
 * How often a slow property is tried: a part of the full number in `npm test`, all of it in `npm run test:long`. Files
 * that import this are those that `test:long` runs.
 */
export function howOften(full: number, part: number): number {
  return process.env['TEST_LONG'] === undefined ? part : full;
}
