import type { Config } from '../config/config.ts';
import { Authenticator } from '../http/access/authenticate.ts';
import { Gatekeeper } from '../http/access/gatekeeper.ts';
import { parseTag, type Reference } from '../oci/reference.ts';
import { Access, type Grant } from '../policy/access.ts';
import { HtpasswdFile } from '../policy/htpasswd.ts';
import { LoginThrottle } from '../policy/login-throttle.ts';
import { Passwords } from '../policy/passwords.ts';
import { Tokens } from '../policy/tokens.ts';
import { askAboutLogin } from '../pull/asking/ask-login.ts';
import { type MayPull, Passthrough } from '../pull/asking/client-logins.ts';
import { keyOf, type ResolvedRepository } from '../pull/repository.ts';
import type { Metadata } from '../store/metadata.ts';
import type { Ground } from './ground.ts';
import type { OnClose } from './lifetime.ts';

/** Who gets in, and how they prove who they are. */
export type Doors = {
  readonly access: Access;
  readonly authenticator: Authenticator;
  readonly gatekeeper: Gatekeeper;
  readonly tokens: Tokens;
};

/** Builds what decides about users. */
export async function openDoors(
  config: Config,
  { facts, metadata, log, clock, tokenKey: key }: Ground,
  onClose: OnClose,
): Promise<Doors> {
  const { access: wanted } = config;
  const users = Object.entries(wanted.users);
  const throttle = new LoginThrottle({ clock });
  const file =
    wanted.htpasswd === undefined ? undefined : await HtpasswdFile.open({ clock, log }, wanted.htpasswd);
  const passwords = new Passwords(
    { clock, log, throttle, file, facts },
    {
      hashes: new Map(
        users.flatMap(([name, user]) => (user.passwordHash ? [[name, user.passwordHash]] : [])),
      ),
    },
  );
  onClose(() => passwords.close());
  const access = new Access({
    anonymous: wanted.anonymous,
    users: new Map(users.map(([name, { grants }]): [string, readonly Grant[]] => [name, grants])),
    others: wanted.htpasswdGrants,
  });
  const tokens = new Tokens({ clock }, { key });
  const authenticator = new Authenticator({ passwords, tokens }, { passthrough: wanted.passthrough });
  const mayPull: MayPull = async (target, authorization, reference, signal) => {
    return askAboutLogin(target, authorization, reference ?? (await knownTag(metadata, target)), signal);
  };
  const passthrough = wanted.passthrough ? new Passthrough({ clock, throttle, mayPull }) : undefined;
  if (passthrough !== undefined) onClose(() => passthrough.close());
  const gatekeeper = new Gatekeeper(
    { access, authenticator, passthrough },
    { loginHosts: wanted.loginHosts, realm: wanted.realm },
  );
  return { access, authenticator, gatekeeper, tokens };
}

/** A manifest to ask about where none is named: rights are a repository's. */
async function knownTag(
  metadata: Pick<Metadata, 'tags'>,
  target: ResolvedRepository,
): Promise<Reference | undefined> {
  const [name] = await metadata.tags.names(keyOf(target), { most: 1 });
  const tag = name === undefined ? undefined : parseTag(name);
  return tag && { kind: 'tag', tag };
}
