import { formatSize } from '../lib/units.ts';

/** A terminal, or what is not one. */
type ProgressOutput = {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
};

/** How far something has come, in bytes. */
export type Progress = { readonly label: string; readonly done: number; readonly total: number };

/** Milliseconds between two drawings. */
const drawEvery = 100;

/** Bars shown beside the total; further ones are counted. */
const mostBars = 8;

/** Milliseconds over which the speed is measured. */
const speedSpan = 5_000;

/**
 * Bars at the foot of a terminal, redrawn in place, one for each thing under way and one for all. On what is no terminal
 * nothing is drawn.
 */
export class ProgressBars {
  readonly #output: ProgressOutput;
  readonly #now: () => number;
  readonly #bars = new Map<string, Progress>();
  readonly #samples: { at: number; done: number }[] = [];
  #total: Progress | undefined;
  #drawn = 0;
  #drawnAt = Number.NEGATIVE_INFINITY;

  constructor(deps: { output: ProgressOutput; now: () => number }) {
    this.#output = deps.output;
    this.#now = deps.now;
  }

  /** Shows or moves the bar of `id`. */
  set(id: string, progress: Progress): void {
    this.#bars.set(id, progress);
    this.#draw(false);
  }

  /** Takes the bar of `id` away. */
  remove(id: string): void {
    if (this.#bars.delete(id)) this.#draw(false);
  }

  /** Moves the bar of the whole. */
  setTotal(progress: Progress): void {
    const now = this.#now();
    this.#total = progress;
    this.#samples.push({ at: now, done: progress.done });
    while (this.#samples.length > 2 && now - (this.#samples[1]?.at ?? now) > speedSpan) this.#samples.shift();
    this.#draw(false);
  }

  /** Runs `print`, which writes whole lines to the same terminal, above the bars. */
  above(print: () => void): void {
    this.#clear();
    print();
    this.#draw(true);
  }

  /** Takes everything away. */
  close(): void {
    this.#clear();
    this.#bars.clear();
    this.#total = undefined;
  }

  get #shows(): boolean {
    return this.#output.isTTY === true;
  }

  #clear(): void {
    if (this.#drawn === 0) return;
    this.#output.write(`\x1b[${this.#drawn}A\r\x1b[J`);
    this.#drawn = 0;
  }

  #draw(atOnce: boolean): void {
    if (!this.#shows) return;
    const now = this.#now();
    if (!atOnce && now - this.#drawnAt < drawEvery) return;
    this.#drawnAt = now;
    const lines = this.#lines();
    const up = this.#drawn === 0 ? '' : `\x1b[${this.#drawn}A\r`;
    // Each line is cleared from its end on, not before it is written: nothing flickers.
    this.#output.write(`${up}${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
    this.#drawn = lines.length;
  }

  #lines(): readonly string[] {
    // The last column stays free, since some terminals go to the next line after it.
    const width = Math.max(20, (this.#output.columns ?? 80) - 1);
    const room = Math.max(1, Math.min(mostBars, (this.#output.rows ?? 24) - 3));
    const bars = [...this.#bars.values()];
    const shown = bars.slice(0, room).map((progress) => barLine(progress, [], width));
    const more = bars.length - shown.length;
    if (more > 0) shown.push(`and ${more} more`.slice(0, width));
    return this.#total === undefined ? shown : [...shown, barLine(this.#total, this.#speed(), width)];
  }

  #speed(): readonly string[] {
    const [first] = this.#samples;
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined || last.at - first.at < 500) return [];
    const perSecond = ((last.done - first.done) * 1000) / (last.at - first.at);
    const left = (this.#total?.total ?? 0) - last.done;
    if (perSecond < 1) return [];
    return [`${formatSize(Math.round(perSecond))}/s`, `${duration(Math.ceil(left / perSecond))} left`];
  }
}

/** A label, a bar and numbers in no more than `width` columns; where there is little room, the bar goes first. */
function barLine({ label, done, total }: Progress, extras: readonly string[], width: number): string {
  const share = total === 0 ? 1 : Math.min(1, done / total);
  const labelWidth = Math.min(36, Math.max(10, Math.floor(width * 0.35)));
  const name = label.length > labelWidth ? `${label.slice(0, labelWidth - 3)}...` : label.padEnd(labelWidth);
  let numbers = `${`${Math.floor(share * 100)}%`.padStart(4)}  ${formatSize(done)}/${formatSize(total)}`;
  for (const extra of extras) {
    if (name.length + numbers.length + extra.length + 3 <= width) numbers += `  ${extra}`;
  }
  const barWidth = Math.min(40, width - name.length - numbers.length - 4);
  const bar = barWidth < 5 ? '' : `${barText(share, barWidth)} `;
  return `${name} ${bar}${numbers}`.slice(0, width);
}

function barText(share: number, width: number): string {
  const filled = Math.round(share * width);
  const head = filled > 0 && filled < width ? '>' : '';
  return `[${'='.repeat(filled - head.length)}${head}${' '.repeat(width - filled)}]`;
}

/** Seconds as `1h02m`, `3m20s` or `7s`. */
function duration(seconds: number): string {
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours > 0) return `${hours}h${String(minutes).padStart(2, '0')}m`;
  return minutes > 0 ? `${minutes}m${String(seconds % 60).padStart(2, '0')}s` : `${seconds}s`;
}
