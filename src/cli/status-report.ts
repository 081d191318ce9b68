import { formatSize } from '../lib/units.ts';
import { table } from './table.ts';

/** What an entrepot says of an image (`GET /api/v1/images`). */
export type Status = {
  readonly image: string;
  readonly digest?: string;
  readonly whole: boolean;
  readonly denied?: string;
  readonly platforms: readonly string[];
  readonly lacking: readonly string[];
  readonly parts: number;
  /** Bytes. */
  readonly bytes: number;
  readonly missing: readonly {
    readonly kind: string;
    readonly role: string;
    readonly digest: string;
    readonly size: number;
    readonly platform?: string;
  }[];
  readonly referrers: { readonly stored: number; readonly missing: number };
  /** RFC 3339. */
  readonly storedAt?: string;
};

/** What was found at one place. */
export type Answer =
  | { readonly where: string; readonly status: Status }
  | { readonly where: string; readonly problem: string };

/** What was found everywhere about one image; this storage first. */
export type ImageReport = { readonly image: string; readonly places: readonly Answer[] };

/** The name of this storage among the places. */
export const here = 'here';

/** Missing parts that are listed one by one. */
const mostListed = 20;

/** The verdict over all places: `whole` only when the image is whole, and the same, at each of them. */
export function verdict({ places }: ImageReport): 'whole' | 'missing' | 'denied' | 'differs' | 'unknown' {
  const states = places.map(stateOf);
  for (const state of ['unknown', 'denied', 'missing'] as const) if (states.includes(state)) return state;
  return digestsOf(places).size > 1 ? 'differs' : 'whole';
}

/** A table with one line for each place, and below it what is wrong. */
export function reportText(reports: readonly ImageReport[]): string {
  const severalPlaces = reports.some(({ places }) => places.length > 1);
  const header = ['IMAGE', ...(severalPlaces ? ['WHERE'] : []), 'STATE', 'SIZE', 'SINCE', 'DIGEST'];
  const rows = reports.flatMap(({ image, places }) => {
    const differs = digestsOf(places).size > 1;
    return places.map((place) => {
      const state = stateOf(place);
      const told = 'status' in place ? place.status : undefined;
      return [
        image,
        ...(severalPlaces ? [place.where] : []),
        state === 'whole' && differs ? 'differs' : state,
        told === undefined || told.parts === 0 ? '-' : formatSize(told.bytes),
        told?.storedAt?.replace(/\.\d+Z$/, 'Z') ?? '-',
        told?.digest ?? '-',
      ];
    });
  });
  return (
    table(header, rows) +
    reports.flatMap(({ image, places }) => places.map((place) => problemText(image, place))).join('')
  );
}

function stateOf(place: Answer): 'whole' | 'missing' | 'denied' | 'unknown' {
  if (!('status' in place)) return 'unknown';
  if (place.status.denied !== undefined) return 'denied';
  return place.status.whole ? 'whole' : 'missing';
}

function digestsOf(places: readonly Answer[]): ReadonlySet<string> {
  return new Set(places.flatMap((place) => ('status' in place ? (place.status.digest ?? []) : [])));
}

function problemText(image: string, place: Answer): string {
  const at = place.where === here ? '' : ` at ${place.where}`;
  if (!('status' in place)) return `\n${image}${at}: ${place.problem}\n`;
  const { digest, denied, whole, missing, lacking, platforms, parts, referrers } = place.status;
  if (denied !== undefined) return `\n${image}${at}: ${denied}\n`;
  if (digest === undefined)
    return `\n${image}${at}: nothing of it is stored; to fetch it: entrepot warm ${image} (on a site without internet: entrepot import)\n`;
  const lines: string[] = [];
  if (lacking.length > 0) {
    lines.push(`it has no image for ${lacking.join(', ')}: its platforms are ${platforms.join(', ')}`);
  }
  if (missing.length > 0) {
    const bytes = missing.reduce((sum, { size }) => sum + size, 0);
    lines.push(`${missing.length} of ${parts} parts are missing, ${formatSize(bytes)}`);
  }
  if (whole && referrers.missing > 0)
    lines.push(`${referrers.missing} parts of signatures or SBOMs are missing`);
  if (lines.length === 0) return '';
  const rows = missing.slice(0, mostListed).map((part) => {
    return ['  ', part.role, part.platform ?? '-', formatSize(part.size), part.digest];
  });
  const more = missing.length > mostListed ? `  and ${missing.length - mostListed} more\n` : '';
  const list = rows.length === 0 ? '' : table(['  ', 'PART', 'PLATFORM', 'SIZE', 'DIGEST'], rows);
  return `\n${image}${at}: ${lines.join('; ')}\n${list}${more}`;
}
