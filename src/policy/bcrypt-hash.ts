import { hash, truncates } from 'bcryptjs';

/** The cost of new hashes: about a tenth of a second for each comparison. */
const cost = 10;

/**
 * Hashes a password with bcrypt (`$2b$`), for `passwordHash` or an htpasswd file.
 * @throws RangeError for one that is empty, or longer than the 72 bytes of which bcrypt takes notice
 */
export async function hashPassword(password: string): Promise<string> {
  if (password === '') throw new RangeError('the password is empty');
  if (truncates(password))
    throw new RangeError('the password is longer than 72 bytes, where bcrypt cuts it off');
  return hash(password, cost);
}
