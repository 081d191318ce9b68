import type { Digest } from '../../oci/digest.ts';
import { IntegrityError, OciError } from '../../oci/errors.ts';
import { FillStorageError } from '../threads/fill-workers.ts';

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
  if (error instanceof FillStorageError) {
    const why =
      error.code === 'ENOSPC' ? 'the disk of the mirror is full' : `the mirror cannot write (${error.code})`;
    return new OciError('UNAVAILABLE', `${why}: free some space, then try again`, {
      retryAfter: 30,
      cause: error,
    });
  }
  return new OciError('UNAVAILABLE', `the download of ${digest} ended: try again`, {
    retryAfter: 5,
    cause: error,
  });
}
