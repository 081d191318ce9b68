import { type Reading, refused } from './schema/scalars.ts';

/** One of the five fields: the numbers it may hold, and names that stand for some of them (from the least on). */
type Field = { readonly min: number; readonly max: number; readonly names: readonly string[] };

const months = ['jan', 'feb', 'mar', 'apr', 'may', 'jun', 'jul', 'aug', 'sep', 'oct', 'nov', 'dec'];
const weekdays = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'];

const fields: readonly Field[] = [
  { min: 0, max: 59, names: [] },
  { min: 0, max: 23, names: [] },
  { min: 1, max: 31, names: [] },
  { min: 1, max: 12, names: months },
  { min: 0, max: 7, names: weekdays },
];

/** Days of each month, in a leap year. */
const longestMonths = [31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

const nicknames = ['@hourly', '@daily', '@weekly', '@monthly', '@yearly'];

/**
 * Reads a schedule as crontab(5) writes it: minute, hour, day of the month, month, weekday, or a nickname such as
 * `@daily`. Refused is also what would never come, such as the 31st of February.
 */
export function readSchedule(text: string): Reading<string> {
  if (nicknames.includes(text)) return { kind: 'value', value: text };
  const parts = text.trim().split(/\s+/);
  const valid = parts.length === fields.length && parts.every((part, index) => isField(part, fields[index]));
  if (!valid) {
    return refused(
      'must be a schedule of five fields (minute hour day month weekday), such as "0 3 * * *", or one of ' +
        nicknames.join(', '),
    );
  }
  const [, , day = '*', month = '*', weekday = '*'] = parts;
  const comes = weekday !== '*' || leastOf(day, fields[2]) <= mostDays(month);
  return comes
    ? { kind: 'value', value: parts.join(' ') }
    : refused('names a day that its months never have');
}

function isField(text: string, field: Field | undefined): boolean {
  return field !== undefined && text.split(',').every((item) => rangeOf(item, field) !== undefined);
}

/** The numbers from and to which an item of a field reaches. */
function rangeOf(item: string, field: Field): { readonly from: number; readonly to: number } | undefined {
  const match = /^(\*|([0-9]{1,2}|[a-z]{3})(?:-([0-9]{1,2}|[a-z]{3}))?)(?:\/([0-9]{1,2}))?$/i.exec(item);
  if (match === null) return undefined;
  const [, whole, first, last, step] = match;
  const span = field.max - field.min + 1;
  if (step !== undefined && (Number(step) < 1 || Number(step) >= span)) return undefined;
  if (whole === '*') return { from: field.min, to: field.max };
  // A step needs something to step through.
  if (step !== undefined && last === undefined) return undefined;
  const from = numberOf(first, field);
  const to = last === undefined ? from : numberOf(last, field);
  if (from === undefined || to === undefined || from > to) return undefined;
  if (step !== undefined && Number(step) > to - from + 1) return undefined;
  return { from, to };
}

function numberOf(text: string | undefined, { min, max, names }: Field): number | undefined {
  if (text === undefined) return undefined;
  const named = names.indexOf(text.toLowerCase());
  const number = named < 0 ? Number(text) : named + min;
  return Number.isInteger(number) && number >= min && number <= max ? number : undefined;
}

function leastOf(text: string, field: Field | undefined): number {
  const starts = text.split(',').map((item) => (field ? rangeOf(item, field)?.from : undefined) ?? 1);
  return Math.min(...starts);
}

function mostDays(text: string): number {
  const [, , , field] = fields;
  const lengths = text.split(',').flatMap((item) => {
    const range = field && rangeOf(item, field);
    return range ? longestMonths.slice(range.from - 1, range.to) : [];
  });
  return Math.max(...lengths);
}
