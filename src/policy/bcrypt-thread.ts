import { Worker } from 'node:worker_threads';
import { siblingScript } from '../lib/sibling-script.ts';
import type { PasswordQuestion, PasswordReply } from './password-worker.ts';

type Waiting = { resolve(right: boolean): void; reject(error: Error): void };

/** The comparison could not be made: the thread ended, or the hash cannot be read. */
export class BcryptError extends Error {
  readonly code = 'BCRYPT';

  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'BcryptError';
  }
}

/** A thread that compares passwords with bcrypt hashes, one after the other; it starts with the first. */
export class BcryptThread {
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #lastId = 0;
  #closed = false;

  /** Comparisons that were asked for and have not ended. */
  get pending(): number {
    return this.#waiting.size;
  }

  /** Whether the password is the one that was hashed. @throws BcryptError */
  compare(password: string, hash: string): Promise<boolean> {
    if (this.#closed) return Promise.reject(new BcryptError('the password thread was closed'));
    this.#worker ??= this.#start();
    const question: PasswordQuestion = { id: ++this.#lastId, password, hash };
    return new Promise((resolve, reject) => {
      this.#waiting.set(question.id, { resolve, reject });
      this.#worker?.postMessage(question);
    });
  }

  /** Ends the thread; what it still had to do fails. */
  async close(): Promise<void> {
    this.#closed = true;
    await this.#worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(siblingScript(import.meta.url, 'password-worker'), {
      name: 'passwords',
      resourceLimits: { maxYoungGenerationSizeMb: 4 },
    });
    worker.on('message', ({ id, right }: PasswordReply) => {
      const waiting = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (right === undefined) waiting?.reject(new BcryptError('the password hash cannot be read'));
      else waiting?.resolve(right);
    });
    worker.on('error', (error) => this.#ended(worker, error));
    worker.on('exit', () => this.#ended(worker, undefined));
    return worker;
  }

  #ended(worker: Worker, cause: unknown): void {
    if (this.#worker !== worker) return;
    this.#worker = undefined;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { reject } of waiting) reject(new BcryptError('the password thread ended', { cause }));
  }
}
