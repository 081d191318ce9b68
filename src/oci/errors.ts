/**
 * The error codes of the distribution-spec ("Error Codes"), and the four that registries use beside them:
 * `RANGE_INVALID`, `PAGINATION_NUMBER_INVALID`, `UNAVAILABLE` and `UNKNOWN`. The value is the message sent when none is given.
 */
export const ociErrorCodes = {
  BLOB_UNKNOWN: 'blob unknown to registry',
  BLOB_UPLOAD_INVALID: 'blob upload invalid',
  BLOB_UPLOAD_UNKNOWN: 'blob upload unknown to registry',
  DIGEST_INVALID: 'provided digest did not match uploaded content',
  MANIFEST_BLOB_UNKNOWN: 'manifest references a manifest or blob unknown to registry',
  MANIFEST_INVALID: 'manifest invalid',
  MANIFEST_UNKNOWN: 'manifest unknown to registry',
  NAME_INVALID: 'invalid repository name',
  NAME_UNKNOWN: 'repository name not known to registry',
  SIZE_INVALID: 'provided length did not match content length',
  UNAUTHORIZED: 'authentication required',
  DENIED: 'requested access to the resource is denied',
  UNSUPPORTED: 'the operation is unsupported',
  TOOMANYREQUESTS: 'too many requests',
  RANGE_INVALID: 'requested range not satisfiable',
  PAGINATION_NUMBER_INVALID: 'invalid number of results requested',
  UNAVAILABLE: 'service unavailable',
  UNKNOWN: 'unknown error',
} as const satisfies Record<string, string>;

/** A code of the table. */
export type OciErrorCode = keyof typeof ociErrorCodes;

/** What an error may carry beside its message. */
export type OciErrorOptions = {
  /** Structured detail for the body's `detail` field; never a secret. */
  readonly detail?: Readonly<Record<string, unknown>>;
  /** Whole seconds after which a retry makes sense (`Retry-After`). */
  readonly retryAfter?: number;
  readonly cause?: unknown;
};

/** A failure that the client is told about as an OCI error body; the message ends with a plain next step. */
export class OciError extends Error {
  readonly code: OciErrorCode;
  readonly detail: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: OciErrorCode, message?: string, options: OciErrorOptions = {}) {
    super(message ?? ociErrorCodes[code], { cause: options.cause });
    this.name = 'OciError';
    this.code = code;
    this.detail = options.detail;
    this.retryAfter = options.retryAfter;
  }
}

/** Bytes that are not what their digest or size promised; nothing of them is kept. */
export class IntegrityError extends Error {
  readonly code = 'INTEGRITY';
  readonly expected: string;
  readonly found: string;

  constructor(expected: string, found: string, options: { cause?: unknown } = {}) {
    super(`expected ${expected}, found ${found}`, options);
    this.name = 'IntegrityError';
    this.expected = expected;
    this.found = found;
  }
}
