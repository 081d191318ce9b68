import { closeSync, openSync } from 'node:fs';
import type { MessagePort } from 'node:worker_threads';
import type { DigestAlgorithm } from '../../oci/digest.ts';
import { FileHash, type FrontHash } from './file-hash.ts';

/** Bytes after which the other thread is told how far the file has come. */
const telling = 256 * 1024;

type Question =
  | { readonly kind: 'reached'; readonly end: number }
  | { readonly kind: 'digest' }
  | { readonly kind: 'reset' };

/**
 * A {@link FrontHash} by another thread, where {@link serveHash} has the other end of the port. It reads the file as
 * that grows, so that nothing is copied between the threads and neither waits for the other. A thread that is lost, or
 * cannot read the file, closes the port: then the file is hashed in this thread, from the start.
 */
export class FarHash implements FrontHash {
  readonly #port: MessagePort;
  readonly #here: () => FileHash;
  #end = 0;
  #told = 0;
  #asked: PromiseWithResolvers<string> | undefined;
  #own: FileHash | undefined;
  #closed = false;

  /** @param here makes the replacement */
  constructor(port: MessagePort, here: () => FileHash) {
    this.#port = port;
    this.#here = here;
    port.on('message', (digest: string) => {
      this.#asked?.resolve(digest);
      this.#asked = undefined;
    });
    port.on('close', () => this.#lost());
  }

  reached(end: number): void {
    this.#end = end;
    if (this.#own !== undefined) this.#own.reached(end);
    else if (end - this.#told >= telling) this.#tell();
  }

  digest(): Promise<string> {
    if (this.#own !== undefined) return this.#own.digest();
    this.#tell();
    this.#ask({ kind: 'digest' });
    this.#asked = Promise.withResolvers();
    return this.#asked.promise;
  }

  reset(): void {
    this.#end = 0;
    this.#told = 0;
    this.#own?.reset();
    this.#ask({ kind: 'reset' });
  }

  close(): void {
    this.#closed = true;
    this.#port.close();
    this.#own?.close();
    this.#asked?.reject(new Error('the file was closed'));
  }

  #tell(): void {
    this.#told = this.#end;
    this.#ask({ kind: 'reached', end: this.#end });
  }

  #ask(question: Question): void {
    this.#port.postMessage(question);
  }

  #lost(): void {
    if (this.#closed) return;
    const own = this.#here();
    this.#own = own;
    own.reached(this.#end);
    if (this.#asked !== undefined) own.digest().then(this.#asked.resolve, this.#asked.reject);
  }
}

/** Hashes the file at `path` for the {@link FarHash} at the other end of the port, until that is closed. */
export function serveHash(path: string, algorithm: DigestAlgorithm, port: MessagePort): void {
  let descriptor: number | undefined;
  let hash: FileHash | undefined;
  const answer = async (question: Question): Promise<void> => {
    // Who asks makes the file before it says anything of it.
    descriptor ??= openSync(path, 'r');
    hash ??= new FileHash(descriptor, algorithm);
    if (question.kind === 'reached') hash.reached(question.end);
    else if (question.kind === 'reset') hash.reset();
    else port.postMessage(await hash.digest());
  };
  port.on('message', (question: Question) => {
    answer(question).catch(() => port.close());
  });
  port.on('close', () => {
    hash?.close();
    if (descriptor !== undefined) closeSync(descriptor);
  });
}
