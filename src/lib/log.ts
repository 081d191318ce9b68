import { pino } from 'pino';

/** Fields of one structured line; values are serialised as JSON. */
export type LogFields = Readonly<Record<string, unknown>>;

/** A structured logger: one JSON line an event, fields first. Secrets are never passed to it. */
export type Log = {
  debug(fields: LogFields, message: string): void;
  info(fields: LogFields, message: string): void;
  warn(fields: LogFields, message: string): void;
  error(fields: LogFields, message: string): void;
};

/** Severity below which lines are dropped. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';

/** A logger and the way to write out what it still buffers (called at exit). */
type LogSink = { log: Log; flush(): void };

/**
 * Opens the process's logger on standard output.
 * Lines are buffered and written asynchronously, at the latest every `flushEvery` milliseconds, so that a
 * busy server does not pay a system call a request.
 */
export function openLog(options: { level: LogLevel; format: 'json' | 'text'; flushEvery?: number }): LogSink {
  const destination = pino.destination({ dest: 1, sync: false, minLength: 8192 });
  const logger = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    options.format === 'json' ? destination : textDestination(destination),
  );
  const timer = setInterval(() => destination.flush(), options.flushEvery ?? 200);
  timer.unref();
  return {
    log: logger,
    flush: () => {
      try {
        destination.flushSync();
      } catch {
        // The destination refuses to flush before its descriptor is open: then nothing was written yet.
      }
    },
  };
}

/** A logger that drops everything. */
export const silentLog: Log = { debug() {}, info() {}, warn() {}, error() {} };

/** What stands in a text line without quotes: nothing that could end the field or the line. */
const plain = /^[!#-~]+$/;

function textDestination(destination: { write(line: string): unknown }): { write(line: string): void } {
  return {
    write: (line) => {
      const { level, time, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const rest = Object.entries(fields).map(([key, value]) => {
        return `${key}=${typeof value === 'string' && plain.test(value) ? value : JSON.stringify(value)}`;
      });
      const words = String(msg).replace(/\s+/g, ' ');
      destination.write(`${time} ${String(level).toUpperCase().padEnd(5)} ${words} ${rest.join(' ')}\n`);
    },
  };
}
