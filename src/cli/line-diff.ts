/** Unchanged lines shown around a change. */
const context = 3;

type Line = { readonly mark: ' ' | '-' | '+'; readonly text: string };

/**
 * The lines that turn `before` into `after`, marked `-` and `+`, with a few unchanged ones around them; `...` stands
 * for lines left out. Empty when the texts are the same.
 */
export function lineDiff(before: string, after: string): string {
  const lines = markedLines(linesOf(before), linesOf(after));
  const shown = new Set(
    lines.flatMap(({ mark }, at) => {
      if (mark === ' ') return [];
      return Array.from({ length: 2 * context + 1 }, (_, offset) => at - context + offset);
    }),
  );
  let text = '';
  let skipped = false;
  for (const [at, line] of lines.entries()) {
    if (!shown.has(at)) {
      skipped = true;
      continue;
    }
    if (skipped) text += '...\n';
    skipped = false;
    text += `${line.mark}${line.text}\n`;
  }
  return text;
}

function linesOf(text: string): readonly string[] {
  const lines = text.split('\n');
  if (lines.at(-1) === '') lines.pop();
  else lines.push('\\ no line end at the end of the file');
  return lines;
}

/** Follows a longest common subsequence; what both texts begin and end with is set aside first, since it is most. */
function markedLines(before: readonly string[], after: readonly string[]): readonly Line[] {
  let head = 0;
  while (head < before.length && head < after.length && before[head] === after[head]) head += 1;
  let tail = 0;
  const longestTail = Math.min(before.length, after.length) - head;
  while (tail < longestTail && before.at(-1 - tail) === after.at(-1 - tail)) tail += 1;
  const unchanged = (lines: readonly string[]) => lines.map((text): Line => ({ mark: ' ', text }));
  return [
    ...unchanged(before.slice(0, head)),
    ...changed(before.slice(head, before.length - tail), after.slice(head, after.length - tail)),
    ...unchanged(before.slice(before.length - tail)),
  ];
}

function changed(before: readonly string[], after: readonly string[]): readonly Line[] {
  // common[i][j]: how many lines before.slice(i) and after.slice(j) have in common, in order.
  const common = Array.from({ length: before.length + 1 }, () => new Uint32Array(after.length + 1));
  const at = (i: number, j: number) => common[i]?.[j] ?? 0;
  for (let i = before.length - 1; i >= 0; i -= 1) {
    const row = common[i];
    for (let j = after.length - 1; row !== undefined && j >= 0; j -= 1) {
      row[j] = before[i] === after[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
    }
  }
  const lines: Line[] = [];
  let i = 0;
  let j = 0;
  while (i < before.length || j < after.length) {
    const [old, fresh] = [before[i], after[j]];
    if (old !== undefined && old === fresh) {
      lines.push({ mark: ' ', text: old });
      i += 1;
      j += 1;
    } else if (old !== undefined && (fresh === undefined || at(i + 1, j) >= at(i, j + 1))) {
      lines.push({ mark: '-', text: old });
      i += 1;
    } else if (fresh !== undefined) {
      lines.push({ mark: '+', text: fresh });
      j += 1;
    }
  }
  return lines;
}
