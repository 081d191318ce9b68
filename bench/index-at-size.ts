import { execFile } from 'node:child_process';
import { copyFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Benchmark } from './harness/bench.ts';
import type { Result } from './harness/report.ts';
import { fullSize, generateIndexFile, shortSize } from './index/generate.ts';
import type { Figures } from './index/measure.ts';

/** What one process says of one index. */
type Measured = {
  /** Milliseconds to open an index of an old schema, and one of the newest. */
  readonly opened: number;
  readonly reopened: number;
  readonly figures: readonly Figures[];
  /** Bytes of the process at the end. */
  readonly memory: number;
};

/** What a server asks its index, when that holds a million blobs. */
export const indexAtSize: Benchmark = {
  name: 'index',
  run: async ({ sandbox, short }) => {
    const file = sandbox.path('index.db');
    const landmarks = sandbox.path('landmarks.json');
    writeFileSync(landmarks, JSON.stringify(generateIndexFile(file, short ? shortSize : fullSize)));
    const before = process.env['BENCH_INDEX_BEFORE'];
    const earlier = before === undefined ? undefined : await measureWith(before, file, landmarks);
    const now = await measureWith(join(import.meta.dirname, '..'), file, landmarks);
    return {
      results: [...startOf(now, earlier), ...now.figures.map((row) => rowOf(row, earlier))],
      faults: [],
    };
  },
};

/** Measures a copy of the index with the code of a checkout, which has this benchmark. */
async function measureWith(
  checkout: string,
  file: string,
  landmarks: string,
): Promise<Measured & { size: number }> {
  const copy = `${file}.copy`;
  copyFileSync(file, copy);
  const program = join(checkout, 'bench/index/measure-process.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [program, copy, landmarks], {
    maxBuffer: 2 ** 26,
  });
  const { size } = statSync(copy);
  for (const suffix of ['', '-wal', '-shm']) rmSync(`${copy}${suffix}`, { force: true });
  return { ...(JSON.parse(stdout) as Measured), size };
}

type Sized = Measured & { readonly size: number };

function startOf(now: Sized, before: Sized | undefined): readonly Result[] {
  const row = (metric: string, unit: string, of: (measured: Sized) => number): Result => {
    return { metric, unit, entrepot: of(now), peers: before === undefined ? {} : { before: of(before) } };
  };
  return [
    row('an index of schema 5 opened', 's', ({ opened }) => opened / 1000),
    row('an index of the newest schema opened', 'ms', ({ reopened }) => reopened),
    row('the file', 'MB', ({ size }) => size / 1e6),
    row('the process after all of this', 'MB', ({ memory }) => memory / 1e6),
  ];
}

function rowOf({ name, p50, p99, max, turn, request }: Figures, before: Measured | undefined): Result {
  const earlier = before?.figures.find((row) => row.name === name);
  const peers = { p99, max, 'longest turn (p99)': turn.p99 };
  const result: Result = { metric: name, unit: 'ms', entrepot: p50, peers };
  if (request) Object.assign(result, { target: 'turn <= 1 ms', met: turn.p99 <= 1 });
  if (earlier === undefined) return result;
  const { turn: turns, ...times } = earlier;
  return {
    ...result,
    peers: {
      ...peers,
      before: times.p50,
      'before: p99': times.p99,
      'before: max': times.max,
      'before: turn': turns.p99,
    },
    ratio: p50 / times.p50,
    versus: 'before',
  };
}
