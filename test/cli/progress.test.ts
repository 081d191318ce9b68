import { expect, test } from 'vitest';
import { ProgressBars } from '../../src/cli/progress.ts';

/** A terminal that keeps what stands on it. */
function terminal(options: { columns?: number; rows?: number; isTTY?: boolean } = {}) {
  const written: string[] = [];
  let time = 0;
  const lines: string[] = [];
  let row = 0;
  const output = {
    isTTY: true,
    columns: 80,
    rows: 24,
    ...options,
    write(text: string) {
      written.push(text);
      // The few sequences in use: cursor up, carriage return, clear to the end of line or screen.
      for (const [whole, up] of text
        .replaceAll('\x1b', '^')
        .matchAll(/\^\[(\d+)A|\^\[[KJ]|\r|\n|[^^\r\n]+/g)) {
        if (up !== undefined) row -= Number(up);
        else if (whole === '^[J') lines.length = row;
        else if (whole === '\n') row += 1;
        else if (whole !== '^[K' && whole !== '\r') lines[row] = whole;
      }
    },
  };
  const bars = new ProgressBars({ output, now: () => time });
  return {
    bars,
    output,
    written,
    /** What is to be seen. */
    screen: () => [...lines],
    pass(ms: number) {
      time += ms;
    },
  };
}

test('bars are redrawn in place, one for each thing and one for all', () => {
  const { bars, screen, pass } = terminal();
  bars.set('a', { label: 'app layer', done: 0, total: 1_000 });
  pass(1_000);
  bars.setTotal({ label: 'total', done: 0, total: 4_096 });
  pass(1_000);
  bars.set('a', { label: 'app layer', done: 500, total: 1_000 });
  pass(1_000);
  bars.setTotal({ label: 'total', done: 2_048, total: 4_096 });
  expect(screen()).toEqual([
    expect.stringMatching(/^app layer {19}\[={15}> {16}\] {2}50% {2}500B\/1000B$/),
    expect.stringMatching(/^total {22} \[=+> +\] {2}50% {2}2KiB\/4KiB {2}1KiB\/s {2}2s left$/),
  ]);
  pass(1_000);
  bars.remove('a');
  expect(screen()).toHaveLength(1);
  bars.close();
  expect(screen()).toEqual([]);
});

test('what is printed stays above the bars', () => {
  const { bars, screen, output, pass } = terminal();
  bars.set('a', { label: 'a', done: 1, total: 2 });
  pass(1_000);
  bars.above(() => output.write('a line\n'));
  pass(1_000);
  bars.set('a', { label: 'a', done: 2, total: 2 });
  expect(screen()).toEqual(['a line', expect.stringMatching(/^a .*100%/)]);
  bars.close();
  expect(screen()).toEqual(['a line']);
});

test.each([20, 40, 60, 80, 200])('no line is as wide as a terminal of %i columns', (columns) => {
  const { bars, screen, pass } = terminal({ columns });
  bars.setTotal({ label: 'total', done: 0, total: 10 ** 12 });
  for (const id of ['a', 'b']) bars.set(id, { label: 'x'.repeat(100), done: 10 ** 9, total: 10 ** 12 });
  pass(3_000);
  bars.setTotal({ label: 'total', done: 123_456_789_012, total: 10 ** 12 });
  expect(screen()).toHaveLength(3);
  for (const line of screen()) expect(line.length).toBeLessThan(Math.max(columns, 21));
});

test('more things than there is room for are counted', () => {
  const { bars, screen, pass } = terminal({ rows: 6 });
  for (let each = 0; each < 9; each += 1) bars.set(String(each), { label: `${each}`, done: 0, total: 1 });
  pass(1_000);
  bars.set('9', { label: '9', done: 0, total: 1 });
  expect(screen()).toHaveLength(4);
  expect(screen().at(-1)).toBe('and 7 more');
});

test('drawing is left out when it would be too often', () => {
  const { bars, written, pass } = terminal();
  for (let done = 0; done < 100; done += 1) {
    pass(1);
    bars.set('a', { label: 'a', done, total: 100 });
  }
  expect(written.length).toBeLessThan(4);
});

test('what is no terminal is written nothing but what is printed', () => {
  const { bars, written, output } = terminal({ isTTY: false });
  bars.set('a', { label: 'a', done: 1, total: 2 });
  bars.setTotal({ label: 'total', done: 1, total: 2 });
  bars.above(() => output.write('a line\n'));
  bars.close();
  expect(written).toEqual(['a line\n']);
});
