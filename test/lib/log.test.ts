import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { promisify } from 'node:util';
import { expect, onTestFinished, test } from 'vitest';
import { silentLog } from '../../src/lib/log.ts';
import { within } from '../helpers/gate.ts';

const module = new URL('../../src/lib/log.ts', import.meta.url).href;

function argumentsOf(options: object, script: string): string[] {
  const source = `
    import { openLog } from ${JSON.stringify(module)};
    const { log, flush } = openLog(${JSON.stringify(options)});
    ${script}
  `;
  return ['--input-type=module-typescript', '--eval', source];
}

/** What a process that logs as `script` says has written to standard output when it ends. */
async function output(options: object, script: string): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, argumentsOf(options, script));
  return stdout;
}

test('in JSON an event is one line: its level, time, message and fields', async () => {
  const text = await output(
    { level: 'info', format: 'json' },
    `
    log.info({ image: 'ghcr.io/org/app', bytes: 3 }, 'pulled');
    log.error({ cause: 'line one\\nline two' }, 'failed');
    setImmediate(flush);
    `,
  );
  const lines = text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
  expect(lines).toMatchObject([
    { level: 'info', msg: 'pulled', image: 'ghcr.io/org/app', bytes: 3 },
    { level: 'error', msg: 'failed', cause: 'line one\nline two' },
  ]);
  expect(Date.parse(lines[0].time)).toBeGreaterThan(Date.UTC(2020, 0, 1));
  expect(Object.keys(lines[0])).not.toContain('hostname');
});

test('lines below the level are dropped', async () => {
  const script = "log.debug({}, 'no'); log.info({}, 'no'); log.warn({}, 'yes'); setImmediate(flush);";
  const text = await output({ level: 'warn', format: 'json' }, script);
  expect(text.match(/"msg":"\w+"/g)).toEqual(['"msg":"yes"']);
  expect(await output({ level: 'silent', format: 'json' }, "log.error({}, 'no'); setImmediate(flush);")).toBe(
    '',
  );
});

test('buffered lines are written in time although nobody flushes', async () => {
  const script = "log.info({}, 'waited for'); setInterval(() => undefined, 1e6);";
  const child = spawn(
    process.execPath,
    argumentsOf({ level: 'info', format: 'json', flushEvery: 10 }, script),
  );
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const [text] = await within(once(child.stdout, 'data'), 'a line');
  expect(String(text)).toContain('waited for');
});

test('in text an event is one line for people', async () => {
  const text = await output(
    { level: 'info', format: 'text' },
    "log.warn({ image: 'app', why: 'two words', n: 1 }, 'said so'); setImmediate(flush);",
  );
  expect(text).toMatch(/^\d{4}-\S+Z WARN {2}said so image=app why="two words" n=1\n$/);
});

test('in text no field can begin a line of its own', async () => {
  const text = await output(
    { level: 'info', format: 'text' },
    "log.warn({ reference: 'a\\nERROR' }, 'refused'); setImmediate(flush);",
  );
  expect(text.trimEnd().split('\n')).toHaveLength(1);
});

test('flushing before anything is open is harmless', async () => {
  await expect(output({ level: 'info', format: 'json' }, 'flush();')).resolves.toBe('');
});

test('the silent log says nothing', () => {
  for (const level of ['debug', 'info', 'warn', 'error'] as const) {
    expect(silentLog[level]({}, 'x')).toBeUndefined();
  }
});
