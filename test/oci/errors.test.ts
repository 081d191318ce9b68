import { expect, test } from 'vitest';
import { IntegrityError, OciError, type OciErrorCode, ociErrorCodes } from '../../src/oci/errors.ts';

test('each code has the message that is sent when none is given', () => {
  for (const code of Object.keys(ociErrorCodes) as OciErrorCode[]) {
    const error = new OciError(code);
    expect(error).toMatchObject({
      code,
      message: ociErrorCodes[code],
      detail: undefined,
      retryAfter: undefined,
    });
    expect(error.message).not.toBe('');
  }
});

test('the table holds the codes of the distribution-spec', () => {
  // distribution-spec 1.1, "Error Codes".
  const spec = [
    'BLOB_UNKNOWN',
    'BLOB_UPLOAD_INVALID',
    'BLOB_UPLOAD_UNKNOWN',
    'DIGEST_INVALID',
    'MANIFEST_BLOB_UNKNOWN',
    'MANIFEST_INVALID',
    'MANIFEST_UNKNOWN',
    'NAME_INVALID',
    'NAME_UNKNOWN',
    'SIZE_INVALID',
    'UNAUTHORIZED',
    'DENIED',
    'UNSUPPORTED',
    'TOOMANYREQUESTS',
  ];
  for (const code of spec) expect(Object.keys(ociErrorCodes)).toContain(code);
});

test('an error keeps its detail, its wait and its cause', () => {
  const cause = new Error('why');
  const error = new OciError('UNAVAILABLE', 'later', { detail: { size: 1 }, retryAfter: 5, cause });
  expect(error).toMatchObject({ message: 'later', detail: { size: 1 }, retryAfter: 5, cause });
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe('OciError');
});

test('an integrity error names what was expected and what was found', () => {
  const error = new IntegrityError('sha256:aa', 'sha256:bb');
  expect(error).toMatchObject({ code: 'INTEGRITY', expected: 'sha256:aa', found: 'sha256:bb' });
  expect(error.message).toBe('expected sha256:aa, found sha256:bb');
});
