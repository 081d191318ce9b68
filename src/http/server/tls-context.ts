import { createPrivateKey, X509Certificate } from 'node:crypto';
import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { Log } from '../../lib/log.ts';

/** Where a server's certificate (PEM, with its intermediates) and private key (PEM) are. */
export type TlsFiles = { readonly certFile: string; readonly keyFile: string };

/** A certificate and key that cannot be used together. */
export class TlsFilesError extends Error {
  readonly code = 'TLS_FILES';
}

/** Milliseconds between looks at the files where the system tells of no change (network file systems). */
const defaultPoll = 60_000;

/** Milliseconds after a change until the files are read, so that both of a pair are there. */
const defaultSettle = 300;

/**
 * A certificate and key that follow their files: each good pair is handed to `apply`, the first before `start`
 * resolves; a pair that is unusable leaves the one before in force, and a warning says so.
 */
export class TlsContext {
  readonly #log: Log;
  readonly #apply: (context: SecureContextOptions) => void;
  readonly #files: TlsFiles;
  readonly #poll: number;
  readonly #settle: number;
  readonly #watchers: FSWatcher[] = [];
  #timer: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;
  #reading: Promise<void> | undefined;
  #inForce: string | undefined;
  #refused: string | undefined;
  #closed = false;

  /** @param options.poll and `settle`: milliseconds, for tests */
  constructor(
    deps: { log: Log; apply(context: SecureContextOptions): void },
    options: TlsFiles & { poll?: number; settle?: number },
  ) {
    this.#log = deps.log;
    this.#apply = deps.apply;
    this.#files = options;
    this.#poll = options.poll ?? defaultPoll;
    this.#settle = options.settle ?? defaultSettle;
  }

  /**
   * Reads the pair and begins to follow it.
   * @throws TlsFilesError, or the system's error when a file cannot be read
   */
  async start(): Promise<void> {
    await this.#load();
    // Folders, since what changes may be a link on the way: Kubernetes swaps `..data`, certbot the files' own links.
    for (const folder of new Set([dirname(this.#files.certFile), dirname(this.#files.keyFile)])) {
      this.#watch(folder);
    }
    this.#timer = setInterval(() => this.#reload(), this.#poll);
    this.#timer.unref();
  }

  /** Stops to follow the files; idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#timer);
    clearTimeout(this.#settling);
    for (const watcher of this.#watchers) watcher.close();
    await this.#reading;
  }

  #watch(folder: string): void {
    try {
      const watcher = watch(folder, { persistent: false }, () => {
        if (this.#closed) return;
        clearTimeout(this.#settling);
        this.#settling = setTimeout(() => this.#reload(), this.#settle);
        this.#settling.unref();
      });
      // The folder went away, or the system has no watches left: the poll goes on.
      watcher.on('error', () => watcher.close());
      this.#watchers.push(watcher);
    } catch (error) {
      this.#log.debug(
        { folder, cause: (error as Error).message },
        'certificate folder is polled, not watched',
      );
    }
  }

  #reload(): void {
    this.#reading ??= this.#load()
      .catch((error: Error) => this.#refuse(error.message))
      .finally(() => {
        this.#reading = undefined;
      });
  }

  async #load(): Promise<void> {
    const [cert, key] = await Promise.all([
      readFile(this.#files.certFile, 'utf8'),
      readFile(this.#files.keyFile, 'utf8'),
    ]);
    const pair = cert + key;
    if (this.#closed || pair === this.#inForce) return;
    const { notAfter } = checkPair(cert, key);
    this.#apply({ cert, key, minVersion: 'TLSv1.2' });
    this.#inForce = pair;
    this.#refused = undefined;
    const fields = { certFile: this.#files.certFile, notAfter: notAfter.toISOString() };
    if (notAfter.getTime() < Date.now()) this.#log.warn(fields, 'the TLS certificate has expired');
    else this.#log.info(fields, 'TLS certificate in force');
  }

  /** Warns of each reason once, however often it is met. */
  #refuse(reason: string): void {
    if (this.#closed) return;
    const { certFile, keyFile } = this.#files;
    const level = reason === this.#refused ? 'debug' : 'warn';
    this.#refused = reason;
    const message = 'new TLS certificate is unusable: the old one stays';
    this.#log[level]({ certFile, keyFile, cause: reason }, message);
  }
}

/** Checks a pair for what OpenSSL would only notice at a handshake. @throws TlsFilesError */
function checkPair(cert: string, key: string): { notAfter: Date } {
  const leaf = read('the certificate is not PEM', () => new X509Certificate(cert));
  const privateKey = read('the private key is not PEM, or needs a passphrase', () => createPrivateKey(key));
  if (!leaf.checkPrivateKey(privateKey))
    throw new TlsFilesError('the private key is not that of the certificate');
  read('the certificate or its chain cannot be used', () => createSecureContext({ cert, key }));
  return { notAfter: new Date(leaf.validTo) };
}

/** Runs `parse`; a failure is told as `problem` alone, since OpenSSL's message could hold pieces of a key. */
function read<T>(problem: string, parse: () => T): T {
  try {
    return parse();
  } catch {
    throw new TlsFilesError(problem);
  }
}
