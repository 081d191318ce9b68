import { hashSync } from 'bcryptjs';
import type { Grant } from '../../src/policy/access.ts';

/** The `Authorization` of a user whose password is the name, written twice, unless given. */
export function basic(name: string, password: string = name + name): { authorization: string } {
  return { authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}` };
}

/** The `access` of users with such passwords; anyone may pull what is public. */
export function usersWith(grants: Readonly<Record<string, readonly Grant[]>>) {
  const users = Object.entries(grants).map(([name, given]) => {
    return [name, { passwordHash: hashSync(name + name, 4), grants: given }] as const;
  });
  const anonymous: readonly Grant[] = [{ images: ['*/public/**'], actions: ['pull'] }];
  return { anonymous, users: Object.fromEntries(users) };
}

/** Leave to pull some images. */
export function pulling(...images: string[]): readonly Grant[] {
  return [{ images, actions: ['pull'] }];
}
