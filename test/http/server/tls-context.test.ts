import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { SecureContextOptions } from 'node:tls';
import { expect, onTestFinished, test, vi } from 'vitest';
import { TlsContext } from '../../../src/http/server/tls-context.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { localhostTls, otherTls } from '../../upstream/tls-fixture.ts';

async function contextScene(options: { poll?: number; settle?: number }) {
  const folder = await temporaryDirectory();
  const files = { certFile: join(folder, 'tls.crt'), keyFile: join(folder, 'tls.key') };
  const write = (pair: { cert: string; key: string }) => {
    writeFileSync(files.certFile, pair.cert);
    writeFileSync(files.keyFile, pair.key);
  };
  write(localhostTls);
  const open = async () => {
    const applied: unknown[] = [];
    const apply = ({ cert }: SecureContextOptions) => applied.push(cert);
    const logs = captureLog();
    const context = new TlsContext({ log: logs.log, apply }, { ...files, ...options });
    onTestFinished(() => context.close());
    await context.start();
    return { context, applied, logs };
  };
  /** A second one on the same files; what it applied. */
  const follow = async () => (await open()).applied;
  return { ...(await open()), write, follow };
}

test('without word from the system, looking now and then finds the new pair', async () => {
  const { write, applied } = await contextScene({ poll: 20, settle: 3_600_000 });
  write(otherTls);
  await vi.waitUntil(() => applied.length === 2);
  expect(applied).toEqual([localhostTls.cert, otherTls.cert]);
});

test('files that are written again with the same content change nothing', async () => {
  const { write, applied } = await contextScene({ poll: 10, settle: 10 });
  write(localhostTls);
  write(localhostTls);
  write(otherTls);
  await vi.waitUntil(() => applied.includes(otherTls.cert));
  expect(applied).toEqual([localhostTls.cert, otherTls.cert]);
});

test('a pair that stays unusable is warned of once', async () => {
  const { write, applied, logs } = await contextScene({ poll: 5, settle: 5 });
  write({ cert: otherTls.cert, key: localhostTls.key });
  const told = (level: string) => logs.lines.filter((line) => line.level === level).length;
  await vi.waitUntil(() => told('debug') >= 3);
  expect([told('warn'), applied]).toEqual([1, [localhostTls.cert]]);
});

test('nothing is applied once it is closed', async () => {
  const { context, write, applied, follow } = await contextScene({ poll: 5, settle: 5 });
  const witness = await follow();
  await context.close();
  await context.close();
  write(otherTls);
  await vi.waitUntil(() => witness.length === 2);
  expect(applied).toEqual([localhostTls.cert]);
});
