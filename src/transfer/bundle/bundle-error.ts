/** What can be wrong with an archive that is read, or with the place that it is to be stored in. */
type BundleErrorCode =
  /** It ends too early. */
  | 'BUNDLE_TRUNCATED'
  /** A byte of it is not what was written. */
  | 'BUNDLE_CORRUPT'
  /** It is none of the formats that are read, or uses what is not supported of one. */
  | 'BUNDLE_UNSUPPORTED'
  /** One of several parts is missing, or is not the one that belongs in its place. */
  | 'BUNDLE_PARTS'
  /** A signature was asked for, and there is none, or it is not by the key that was given. */
  | 'BUNDLE_SIGNATURE'
  /** It does not say by which names its images go. */
  | 'BUNDLE_UNNAMED'
  /** What it leaves out is not stored here. */
  | 'BUNDLE_INCOMPLETE'
  /** Its images are of a registry that is not configured. */
  | 'BUNDLE_REGISTRY'
  /** The disk is full, or would be. */
  | 'NO_SPACE'
  /** What is asked for is not stored whole, so that it cannot be exported. */
  | 'NOT_STORED';

/** Why a bundle could not be written or read; the message is for the person who carries it. */
export class BundleError extends Error {
  readonly code: BundleErrorCode;

  constructor(code: BundleErrorCode, message: string, options: { cause?: unknown } = {}) {
    super(message, options);
    this.name = 'BundleError';
    this.code = code;
  }
}

/** Whether an error of the file system or of the index says that the disk is full. */
export function isDiskFull(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: unknown };
  return code === 'ENOSPC' || code === 'EDQUOT' || code === 'SQLITE_FULL';
}
