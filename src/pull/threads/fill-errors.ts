/** The disk failed under a fill; `code` is the system's (`ENOSPC`, `EIO`, ...) when there is one. */
export class FillStorageError extends Error {
  readonly code: string;

  constructor(message: string, code: string | undefined) {
    super(message);
    this.name = 'FillStorageError';
    this.code = code ?? 'FILL';
  }
}

/** The worker thread that a fill ran on has ended, or none can be started. What had arrived is in the file. */
export class FillWorkerError extends Error {
  readonly code = 'FILL_WORKER';

  constructor(message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'FillWorkerError';
  }
}
