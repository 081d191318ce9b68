import type { ConfigPath, Finding } from '../problems.ts';
import { isMap, listAt, mapAt } from '../raw.ts';

/** What no single key of `policy` and `access` can tell, of a raw document. */
export function accessFindings(document: unknown): Finding[] {
  const access = mapAt(document, 'access');
  return [
    ...listAt(mapAt(document, 'policy'), 'rules').flatMap(ruleFindings),
    ...Object.entries(mapAt(access, 'users')).flatMap(([name, user]) => userFindings(name, user, access)),
    ...nobodyFindings(access),
    ...imageFindings(document),
  ];
}

function ruleFindings(rule: unknown, index: number): Finding[] {
  if (!isMap(rule) || rule['action'] !== 'deny') return [];
  const message = 'has a meaning for action: allow only';
  return ['pin', 'minAge']
    .filter((key) => rule[key] !== undefined && rule[key] !== false)
    .map((key) => ({ path: ['policy', 'rules', index, key], message }));
}

function userFindings(name: string, user: unknown, access: Readonly<Record<string, unknown>>): Finding[] {
  const path = ['access', 'users', name];
  const findings: Finding[] = [];
  if (!isUserName(name)) {
    findings.push({ path, message: 'a user cannot be named so: no colon, no control characters (RFC 7617)' });
  }
  if (
    isMap(user) &&
    !['passwordHash', 'password'].some((key) => key in user) &&
    access['htpasswd'] === undefined
  ) {
    const message = 'needs the key passwordHash, since there is no file access.htpasswd to hold it';
    findings.push({ path, message });
  }
  return findings;
}

function isUserName(name: string): boolean {
  // A map of the schema's has a prototype, so that this one name would be lost in it.
  if (name === '__proto__') return false;
  return name !== '' && name.length <= 255 && !name.includes(':') && !/\p{Cc}/u.test(name);
}

function nobodyFindings(access: Readonly<Record<string, unknown>>): Finding[] {
  const { anonymous, htpasswd, htpasswdGrants, passthrough } = access;
  const findings: Finding[] = [];
  const none = Array.isArray(anonymous) && anonymous.length === 0;
  const users = Object.keys(mapAt(access, 'users')).length > 0;
  if (none && !users && htpasswd === undefined && passthrough !== true) {
    const message = 'is empty, and there are no users: nobody could do anything';
    findings.push({ path: ['access', 'anonymous'], message });
  }
  if (Array.isArray(htpasswdGrants) && htpasswdGrants.length > 0 && htpasswd === undefined) {
    findings.push({ path: ['access', 'htpasswdGrants'], message: 'needs the key htpasswd beside it' });
  }
  return findings;
}

/** A glob that begins with no registry matches nothing, and a rule that never matches is noticed too late. */
function imageFindings(document: unknown): Finding[] {
  const registries = mapAt(document, 'registries');
  return imageGlobs(document).flatMap(({ path, glob }) => {
    const [, first] = /^([a-z0-9_-]+)\//.exec(glob) ?? [];
    if (first === undefined || first === 'localhost' || Object.hasOwn(registries, first)) return [];
    return [
      { path, message: 'begins with no registry: write docker.io/library/python, or **/python for any' },
    ];
  });
}

function imageGlobs(document: unknown): { path: ConfigPath; glob: string }[] {
  const access = mapAt(document, 'access');
  const holders = [
    { path: ['policy', 'rules'], list: listAt(mapAt(document, 'policy'), 'rules') },
    { path: ['access', 'anonymous'], list: listAt(access, 'anonymous') },
    { path: ['access', 'htpasswdGrants'], list: listAt(access, 'htpasswdGrants') },
    ...Object.entries(mapAt(access, 'users')).map(([name, user]) => {
      return { path: ['access', 'users', name, 'grants'], list: listAt(user, 'grants') };
    }),
  ];
  return holders.flatMap(({ path, list }) =>
    list.flatMap((item, index) => imagesOf(item, [...path, index, 'images'])),
  );
}

function imagesOf(item: unknown, path: ConfigPath): { path: ConfigPath; glob: string }[] {
  const images = isMap(item) ? item['images'] : undefined;
  if (typeof images === 'string') return [{ path, glob: images }];
  return listAt(item, 'images').flatMap((glob, index) =>
    typeof glob === 'string' ? [{ path: [...path, index], glob }] : [],
  );
}
