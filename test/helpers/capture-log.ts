import type { Log, LogFields } from '../../src/lib/log.ts';

/** One line that a server logged. */
export type LogLine = { readonly level: string; readonly message: string; readonly fields: LogFields };

/** A logger that keeps its lines for the test to read. */
export type CapturedLog = { readonly log: Log; readonly lines: LogLine[]; text(): string };

/** Makes a {@link CapturedLog}. */
export function captureLog(): CapturedLog {
  const lines: LogLine[] = [];
  const at = (level: string) => (fields: LogFields, message: string) => {
    lines.push({ level, message, fields });
  };
  return {
    log: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    lines,
    text: () => lines.map((line) => JSON.stringify(line, errorsAsText)).join('\n'),
  };
}

function errorsAsText(_key: string, value: unknown): unknown {
  return value instanceof Error ? { message: value.message, stack: value.stack, cause: value.cause } : value;
}
