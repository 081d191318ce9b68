import { OciError } from '../../oci/errors.ts';
import type { Action } from '../../policy/access.ts';

/**
 * Somebody may not, and a login would not change that.
 * @param user whoever is logged in; `undefined` where nobody can log in
 * @param what the image, as `registry/repository`
 */
export function denied(user: string | undefined, action: Action, what: string): OciError {
  const whom = user === undefined ? `nobody may ${action} ${what}` : `user ${user} may not ${action} ${what}`;
  return new OciError('DENIED', `access: ${whom}: ask who runs this server for a grant`);
}

/** A client failed too often. @param retryAfter whole seconds */
export function tooManyLogins(retryAfter: number): OciError {
  return new OciError('TOOMANYREQUESTS', `too many failed logins: try again in ${retryAfter} s`, {
    retryAfter,
  });
}

/** What a mirror answers about an image that may not be had. It is the same whether the image exists or not. */
export function notKnownHere(image: string): OciError {
  return new OciError(
    'NAME_UNKNOWN',
    `${image} is not known here: check the name, or ask who runs this mirror`,
  );
}

/** The name and password that were sent are no user's. */
export function wrongLogin(): OciError {
  return new OciError('UNAUTHORIZED', 'incorrect username or password: check them and log in again');
}
