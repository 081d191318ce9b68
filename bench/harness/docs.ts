import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { type Outcome, toMarkdown } from './report.ts';

const page = join(import.meta.dirname, '../../docs/BENCHMARKS.md');

/** Replaces the tables of these benchmarks in docs/BENCHMARKS.md, each between its `begin` and `end` marker. */
export function writeDocs(
  outcomes: readonly { name: string; outcome: Outcome }[],
  options: { short: boolean },
): void {
  const mode = options.short ? 'a **short** run: not for comparing' : 'a full run';
  const cpu = `${cpus().length} × ${cpus()[0]?.model ?? 'unknown CPU'}`;
  const origin = `${new Date().toISOString().slice(0, 10)}, ${mode}, ${cpu}, Node ${process.version}.`;
  let text = readFileSync(page, 'utf8');
  for (const { name, outcome } of outcomes) {
    const begin = `<!-- begin ${name} -->`;
    const end = `<!-- end ${name} -->`;
    const from = text.indexOf(begin);
    const to = text.indexOf(end);
    if (from < 0 || to < from) throw new Error(`${page} has lost the markers of ${name}`);
    text = `${text.slice(0, from)}${begin}\n${toMarkdown(outcome)}\n\n${origin}\n${text.slice(to)}`;
  }
  writeFileSync(page, text);
}
