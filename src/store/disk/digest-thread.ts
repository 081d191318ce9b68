import { Worker } from 'node:worker_threads';
import { siblingScript } from '../../lib/sibling-script.ts';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { DigestReply } from './digest-messages.ts';
import { DigestStream, DigestThreadError } from './digest-stream.ts';

/** Bytes of a buffer in which bytes go to the thread. */
const bufferSize = 512 * 1024;

/** Buffers that are kept for the next stream. */
const mostSpare = 4;

/** Milliseconds after which a thread with nothing to do ends. */
const patience = 30_000;

/**
 * A thread that hashes bytes, and writes them to files, so that the main thread stays free for its clients. It starts
 * with the first stream of bytes, keeps the process alive as long as there is one, and ends some time after the last.
 */
export class DigestThread {
  readonly #streams = new Map<number, DigestStream>();
  readonly #script: URL;
  #spare: Buffer[] = [];
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #lastId = 0;
  #closed = false;

  /** @param options.script what the thread runs */
  constructor(options: { script: URL } = { script: siblingScript(import.meta.url, 'digest-worker') }) {
    this.#script = options.script;
  }

  /**
   * Begins a stream of bytes, which must be ended or dropped.
   * @param path the file that they are written to, made anew; without it they are hashed alone
   * @throws DigestThreadError once the thread is closed
   */
  begin(algorithm: DigestAlgorithm, path?: string): DigestStream {
    if (this.#closed) throw new DigestThreadError('the digest thread was closed');
    clearTimeout(this.#idle);
    const worker = this.#running();
    worker.ref();
    const id = ++this.#lastId;
    const stream = new DigestStream(
      {
        line: {
          send: (command, transferred = []) => worker.postMessage(command, transferred),
          borrow: () => this.#spare.pop() ?? Buffer.allocUnsafeSlow(bufferSize),
          giveBack: (buffer) => this.#keep(buffer),
        },
      },
      { id },
    );
    this.#streams.set(id, stream);
    worker.postMessage({ id, kind: 'begin', algorithm, path });
    return stream;
  }

  /**
   * The digest of bytes that are there already.
   * @throws DigestThreadError
   */
  async digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm): Promise<Digest> {
    const stream = this.begin(algorithm);
    try {
      await stream.write(bytes);
      return await stream.end();
    } finally {
      await stream.drop();
    }
  }

  /** Ends the thread; streams that have not ended fail. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#end();
  }

  #running(): Worker {
    if (this.#worker !== undefined) return this.#worker;
    const worker = new Worker(this.#script, {
      name: 'digests',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    this.#worker = worker;
    worker.on('message', (reply: DigestReply) => {
      if (reply.kind === 'taken') this.#keep(Buffer.from(reply.buffer));
      this.#streams.get(reply.id)?.told(reply);
      if (reply.kind !== 'taken') this.#over(reply.id);
    });
    worker.on('error', (cause) => this.#lost(worker, cause));
    worker.on('exit', () => this.#lost(worker, undefined));
    return worker;
  }

  #keep(buffer: Buffer): void {
    if (this.#spare.length < mostSpare) this.#spare.push(buffer);
  }

  #over(id: number): void {
    this.#streams.delete(id);
    if (this.#streams.size > 0) return;
    this.#worker?.unref();
    this.#idle = setTimeout(() => void this.#end(), patience);
    this.#idle.unref();
  }

  async #end(): Promise<void> {
    clearTimeout(this.#idle);
    this.#spare = [];
    const worker = this.#worker;
    if (worker !== undefined) this.#lost(worker, undefined);
    await worker?.terminate();
  }

  #lost(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const lost = [...this.#streams.values()];
    this.#streams.clear();
    for (const stream of lost) stream.lost(new DigestThreadError('the digest thread ended', { cause }));
  }
}
