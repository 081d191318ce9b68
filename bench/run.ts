import { parseArgs } from 'node:util';
import { bundle } from './bundle.ts';
import { coldBlob } from './cold-blob.ts';
import { coldSmall } from './cold-small.ts';
import { firstByte } from './first-byte.ts';
import { guardedManifest } from './guarded-manifest.ts';
import type { Benchmark } from './harness/bench.ts';
import { writeDocs } from './harness/docs.ts';
import { entrepotExists } from './harness/entrepot.ts';
import { Origin } from './harness/origin.ts';
import { type Outcome, toReport, toTable } from './harness/report.ts';
import { Sandbox } from './harness/sandbox.ts';
import { hotBlob } from './hot-blob.ts';
import { hotManifest } from './hot-manifest.ts';
import { indexAtSize } from './index-at-size.ts';
import { memory } from './memory.ts';
import { upstreams } from './upstreams.ts';
import { warm } from './warm.ts';

const benchmarks: readonly Benchmark[] = [
  hotManifest,
  guardedManifest,
  hotBlob,
  coldSmall,
  coldBlob,
  firstByte,
  memory,
  upstreams,
  warm,
  bundle,
  indexAtSize,
];

const usage = `usage: node bench/run.ts [name…] [--short] [--peers-only] [--write-docs]
names: ${benchmarks.map(({ name }) => name).join(' ')} (default: all)
  --short       a few seconds each; shows that it works, not how fast it is
  --peers-only  measure docker-registry and nginx alone
  --write-docs  put the results into docs/BENCHMARKS.md
Tables go to stderr, one JSON array to stdout. Exit 1: a wrong byte, a blob fetched twice, or an error.
A missed target is only reported: timing never decides.
BENCH_DIR: where to work (default: the temporary directory; needs about 12 GB for a full run).
BENCH_INDEX_BEFORE: another checkout, whose code is asked about the same index first.
BENCH_ENTRY: the server's entry (default: src/main.ts).
BENCH_NODE_ARGS: options for entrepot's Node, such as --cpu-prof --cpu-prof-dir=/tmp/profiles.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    short: { type: 'boolean', default: false },
    'peers-only': { type: 'boolean', default: false },
    'write-docs': { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
});

const unknown = positionals.filter((name) => !benchmarks.some((benchmark) => benchmark.name === name));
if (values.help || unknown.length > 0) {
  console.error(unknown.length > 0 ? `no such benchmark: ${unknown.join(' ')}\n${usage}` : usage);
  process.exit(unknown.length > 0 ? 2 : 0);
}

/** One benchmark that fails does not take the others' numbers with it. */
const broken = (error: unknown): Outcome => ({
  results: [],
  faults: [error instanceof Error ? (error.stack ?? error.message) : String(error)],
});

const say = (line: string) => console.error(line);
const withEntrepot = !values['peers-only'];
if (withEntrepot && !entrepotExists())
  throw new Error('there is no src/main.ts to measure; try --peers-only');

const chosen = benchmarks.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
const sandbox = new Sandbox();
const origin = await Origin.start(sandbox);
const outcomes: { name: string; outcome: Outcome }[] = [];
for (const benchmark of chosen) {
  const started = Date.now();
  const outcome = await benchmark.run({ sandbox, origin, short: values.short, withEntrepot }).catch(broken);
  outcomes.push({ name: benchmark.name, outcome });
  say(toTable(`${benchmark.name} (${((Date.now() - started) / 1000).toFixed(0)} s)`, outcome));
}
await sandbox.close();
const reports = outcomes.map(({ name, outcome }) => toReport(name, values.short, outcome));
console.log(JSON.stringify(reports, null, 2));
if (values['write-docs']) writeDocs(outcomes, { short: values.short });
process.exit(outcomes.some(({ outcome }) => outcome.faults.length > 0) ? 1 : 0);
