import { cpus } from 'node:os';

/** One measured quantity: our value, each peer's, and what we promised about their relation. */
export type Result = {
  metric: string;
  unit: string;
  /** Missing when the run measures only the peers. */
  entrepot?: number;
  peers: Readonly<Record<string, number>>;
  /** Median over the rounds of (entrepot / `versus`), each pair measured back to back. */
  ratio?: number;
  versus?: string;
  target?: string;
  met?: boolean;
};

/** What one benchmark hands back. A fault is a wrong byte or a second download: it fails the run. */
export type Outcome = { results: Result[]; faults: string[] };

/** The JSON document printed for one benchmark. */
export type Report = {
  name: string;
  date: string;
  mode: 'full' | 'short';
  machine: { cores: number; cpu: string; node: string };
  results: Record<string, string | number | boolean>[];
  faults: string[];
};

/** Wraps an outcome for printing; a peer becomes a property of its row, under the peer's own name. */
export function toReport(name: string, short: boolean, outcome: Outcome): Report {
  return {
    name,
    date: new Date().toISOString(),
    mode: short ? 'short' : 'full',
    machine: {
      cores: cpus().length,
      cpu: cpus()[0]?.model ?? 'unknown',
      node: process.version,
    },
    results: outcome.results.map(({ peers, ...row }) => ({ ...row, ...peers })),
    faults: outcome.faults,
  };
}

/** The results as an aligned plain-text table. */
export function toTable(name: string, outcome: Outcome): string {
  const rows = tableRows(outcome);
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? '').length)),
  );
  const lines = rows.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  '));
  const faults = outcome.faults.map((fault) => `FAULT: ${fault}`);
  return [`== ${name}`, ...lines.map((line) => line.trimEnd()), ...faults, ''].join('\n');
}

/** The results as a Markdown table. */
export function toMarkdown(outcome: Outcome): string {
  const [head = [], ...body] = tableRows(outcome);
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...body.map(line)].join('\n');
}

function tableRows(outcome: Outcome): string[][] {
  const peers = [...new Set(outcome.results.flatMap((result) => Object.keys(result.peers)))];
  const head = ['metric', 'entrepot', ...peers, 'ratio', 'target', 'met'];
  const body = outcome.results.map((result) => [
    `${result.metric}, ${result.unit}`,
    number(result.entrepot),
    ...peers.map((peer) => number(result.peers[peer])),
    result.ratio === undefined ? '' : `${result.ratio.toFixed(2)} × ${result.versus ?? ''}`,
    result.target ?? '',
    result.met === undefined ? '' : result.met ? 'yes' : 'NO',
  ]);
  return [head, ...body];
}

function number(value: number | undefined): string {
  if (value === undefined) return '';
  if (value !== 0 && Math.abs(value) < 10) return value.toFixed(2);
  return value.toFixed(Math.abs(value) < 100 ? 1 : 0);
}
