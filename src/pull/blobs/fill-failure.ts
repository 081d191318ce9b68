import type { Digest } from '../../oci/digest.ts';
import { IntegrityError, OciError } from '../../oci/errors.ts';
import { FillStorageError, FillWorkerError } from '../threads/fill-errors.ts';

/** What clients are told of a fill that ended with `error`: each cause has its own next step. */
export function fillFailure(digest: Digest, error: unknown): OciError {
  if (error instanceof OciError) return error;
  if (error instanceof IntegrityError) {
    return new OciError(
      'UNAVAILABLE',
      `upstream sent wrong bytes for ${digest}; they were discarded: try again`,
      { retryAfter: 5, cause: error },
    );
  }
  if (error instanceof FillWorkerError) {
    return new OciError(
      'UNAVAILABLE',
      `a worker of the mirror ended while it downloaded ${digest}: try again; the mirror's log says why it ended`,
      { retryAfter: 5, cause: error },
    );
  }
  if (error instanceof FillStorageError) {
    const text =
      error.code === 'ENOSPC'
        ? 'the disk of the mirror is full: free some space, then try again'
        : `the mirror cannot write (${error.code}): check its storage folder and disk, then try again`;
    return new OciError('UNAVAILABLE', text, { retryAfter: 30, cause: error });
  }
  return new OciError('UNAVAILABLE', `the download of ${digest} ended: try again`, {
    retryAfter: 5,
    cause: error,
  });
}
