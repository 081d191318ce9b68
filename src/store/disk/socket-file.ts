import { chmodSync, lstatSync, rmSync } from 'node:fs';

/** The file of a Unix socket. Whoever may open it may do everything, so only its owner may. */
export class SocketFile {
  readonly path: string;

  /** @param path absolute; its folder exists */
  constructor(path: string) {
    this.path = path;
  }

  /** Runs `bind`, which must create the socket before it returns; at no moment may another user connect to it. */
  create(bind: () => void): void {
    const before = process.umask(0o077);
    try {
      bind();
    } finally {
      process.umask(before);
    }
    if (this.#exists()) chmodSync(this.path, 0o600);
  }

  /**
   * Removes the socket that a killed server left behind; nothing there is fine.
   * @throws when the path is taken by something that is no socket
   */
  remove(): void {
    if (this.#exists()) rmSync(this.path);
  }

  #exists(): boolean {
    const found = lstatSync(this.path, { throwIfNoEntry: false });
    if (found !== undefined && !found.isSocket())
      throw new Error(`${this.path} is not a socket: move it away`);
    return found !== undefined;
  }
}
