import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFailed, onTestFinished, vi } from 'vitest';
import { createEntrepot } from '../../src/app.ts';
import type { Clock } from '../../src/lib/clock.ts';
import { type CapturedLog, captureLog } from './capture-log.ts';
import { metadataUnderTest } from './delayed-metadata.ts';
import { checkLeaks, openFilesUnder, type StorageFiles, storageFiles } from './leaks.ts';
import { patience } from './patience.ts';
import { type ConfigOptions, makeConfig } from './proxy-config.ts';

/** How a test's server differs from the defaults. */
export type ProxyOptions = ConfigOptions & {
  readonly clock?: Clock;
  /** The storage of a server that was closed, to go on with. */
  readonly storagePath?: string;
  /** Unfinished fills may stay behind when the server closes (the test leaves one on purpose). */
  readonly allowFills?: boolean;
};

/** A whole server in this process. */
export type RunningProxy = {
  /** The origin, without a trailing slash; another after a restart. */
  readonly url: string;
  /** `host:port`. */
  readonly host: string;
  readonly storagePath: string;
  readonly logs: CapturedLog;
  /** The blobs and fills on disk. */
  files(): StorageFiles;
  /** What a SIGTERM begins with: no more ready, but serving for the drain delay, which `signal` ends. */
  retire(signal: AbortSignal): Promise<void>;
  /** Stops the server; drains as a SIGTERM does. */
  close(): Promise<void>;
  /** Stops the server and starts another on the same storage. */
  restart(): Promise<void>;
};

/** Starts a server over loopback that ends with the test, which then fails if the server leaked files. */
export async function startProxy(options: ProxyOptions = {}): Promise<RunningProxy> {
  const storagePath = options.storagePath ?? (await temporaryDirectory());
  const logs = captureLog();
  const { clock } = options;
  const start = async () => {
    const app = await createEntrepot(makeConfig(storagePath, options), {
      log: logs.log,
      // No upstream is tried for curiosity's sake unless a test says so.
      random: () => 0.5,
      wrapMetadata: metadataUnderTest,
      ...(clock && { clock }),
    });
    return { app, ...(await app.start()) };
  };
  let running: Awaited<ReturnType<typeof start>> | undefined = await start();
  let host = `127.0.0.1:${running.port}`;
  const close = async () => {
    const ended = running;
    running = undefined;
    await ended?.app.close();
  };
  onTestFailed(() => console.log(`what the server logged:\n${logs.text()}`));
  onTestFinished(async () => {
    await close();
    // A handler whose client is gone may close its file a moment after the last connection.
    await vi.waitUntil(() => openFilesUnder(storagePath).length === 0, { timeout: patience }).catch(() => {});
    checkLeaks(storagePath, { allowFills: options.allowFills ?? false });
  });
  return {
    get url() {
      return `http://${host}`;
    },
    get host() {
      return host;
    },
    storagePath,
    logs,
    files: () => storageFiles(storagePath),
    retire: async (signal) => running?.app.retire(signal),
    close,
    async restart() {
      await close();
      running = await start();
      host = `127.0.0.1:${running.port}`;
    },
  };
}

/** Makes a directory that is removed when the test ends. */
export async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'entrepot-test-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
