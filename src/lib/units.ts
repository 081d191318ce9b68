const durationPattern = /^(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?$/;
const durationUnits = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

const sizePattern = /^(\d+(?:\.\d+)?)(?:([kmgtp]?)(i?)b)?$/i;
const sizePrefixes = ['', 'k', 'm', 'g', 't', 'p'];
const binaryUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];

/**
 * Reads a duration such as `250ms`, `5m`, `1h30m` or `30d` as milliseconds: whole numbers, each with a unit,
 * the largest unit first. `undefined` when malformed, without a unit, or beyond what a number holds exactly.
 */
export function parseDuration(text: string): number | undefined {
  const match = durationPattern.exec(text);
  if (!match || text === '') return undefined;
  const total = durationUnits.reduce(
    (sum, [, factor], index) => sum + Number(match[index + 1] ?? 0) * factor,
    0,
  );
  return Number.isSafeInteger(total) ? total : undefined;
}

/**
 * Reads a size such as `200GiB` (powers of 1024), `10GB` (powers of 1000) or `512` as bytes. A fraction
 * (`1.5GiB`) is rounded down to whole bytes; the case of the unit does not matter. `undefined` when malformed or
 * beyond what a number holds exactly.
 */
export function parseSize(text: string): number | undefined {
  const match = sizePattern.exec(text);
  if (!match) return undefined;
  const [, amount = '', prefix = '', binary = ''] = match;
  if (binary !== '' && prefix === '') return undefined;
  const power = sizePrefixes.indexOf(prefix.toLowerCase());
  const bytes = Math.floor(Number(amount) * (binary === '' ? 1000 : 1024) ** power);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/**
 * Writes milliseconds (a whole number, not negative) in the form `parseDuration` reads, without loss:
 * `5400000` is `1h30m`, `0` is `0s`.
 */
export function formatDuration(milliseconds: number): string {
  let rest = milliseconds;
  let text = '';
  for (const [unit, factor] of durationUnits) {
    const count = Math.floor(rest / factor);
    rest -= count * factor;
    if (count > 0) text += `${count}${unit}`;
  }
  return text === '' ? '0s' : text;
}

/**
 * Writes bytes (a whole number, not negative) for people, in the largest binary unit and with at most one
 * decimal: `4194304` is `4MiB`. `parseSize` reads it back to within 5 percent.
 */
export function formatSize(bytes: number): string {
  let amount = bytes;
  let power = 0;
  while (Math.round(amount * 10) / 10 >= 1024 && power < binaryUnits.length - 1) {
    amount /= 1024;
    power += 1;
  }
  return `${Math.round(amount * 10) / 10}${binaryUnits[power]}`;
}
