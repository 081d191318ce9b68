import { imageMatcher, type Matcher } from './patterns.ts';

/** What somebody may do with an image; `admin` is about steering this server, never part of a token. */
export type Action = 'pull' | 'push' | 'delete' | 'admin';

/** Actions on the images (globs over `registry/repository`; `**` crosses slashes). */
export type Grant = { readonly images: readonly string[]; readonly actions: readonly Action[] };

/** What a token was issued for: the repository's name as its client addresses it, and the actions. */
export type TokenAccess = { readonly name: string; readonly actions: readonly Action[] };

/** Who asks. A `bearer` without a name holds a token that was issued without a login. */
export type Identity =
  | { readonly kind: 'anonymous' }
  | { readonly kind: 'user'; readonly name: string }
  | { readonly kind: 'bearer'; readonly name: string | undefined; readonly access: readonly TokenAccess[] };

/**
 * The result of a judgement. `outside-token`: the user may, but the token was issued for something else. Another token
 * would do.
 */
type AccessVerdict = 'allowed' | 'outside-token' | 'refused';

/** A client that has not logged in. */
export const anonymous: Identity = { kind: 'anonymous' };

/** Each method's action. What is not in the table has none and is refused: a new method never inherits a right. */
const actions: ReadonlyMap<string, Action> = new Map([
  ['GET', 'pull'],
  ['HEAD', 'pull'],
  ['POST', 'push'],
  ['PUT', 'push'],
  ['PATCH', 'push'],
  ['DELETE', 'delete'],
]);

/** The action that a registry request of a method is; `undefined` for a method that no registry request has. */
export function actionOf(method: string | undefined): Action | undefined {
  return method === undefined ? undefined : actions.get(method);
}

type Right = { readonly actions: ReadonlySet<Action>; readonly matches: Matcher };
type Holder = { readonly rights: readonly Right[]; readonly everywhere: ReadonlySet<Action> };

/** Who may do what with which image: a user has the rights of anonymous too. */
export class Access {
  readonly #anonymous: Holder;
  readonly #users: ReadonlyMap<string, Holder>;
  readonly #others: Holder;

  /**
   * @param options.others what users may whom `users` does not name (those of an htpasswd file)
   * @throws TypeError for an image glob that is none
   */
  constructor(options: {
    anonymous: readonly Grant[];
    users: ReadonlyMap<string, readonly Grant[]>;
    others?: readonly Grant[];
  }) {
    this.#anonymous = holder(options.anonymous);
    this.#users = new Map([...options.users].map(([name, grants]) => [name, holder(grants)]));
    this.#others = holder(options.others ?? []);
  }

  /**
   * Judges by the grants that the identity has now; a token narrows them and never adds to them.
   * @param image `registry/repository`
   * @param addressed the repository's name as it stands in the request, which is what a token is issued for
   */
  judge(identity: Identity, action: Action, image: string, addressed: string = image): AccessVerdict {
    if (may(this.#anonymous, action, image)) return 'allowed';
    const own = this.#holderOf(identity);
    if (own === undefined || !may(own, action, image)) return 'refused';
    if (identity.kind !== 'bearer') return 'allowed';
    const covered = identity.access.some((entry) => {
      return entry.name === addressed && entry.actions.includes(action);
    });
    return covered ? 'allowed' : 'outside-token';
  }

  /** Whether {@link Access.judge} comes to `allowed`. */
  allows(identity: Identity, action: Action, image: string, addressed: string = image): boolean {
    return this.judge(identity, action, image, addressed) === 'allowed';
  }

  /** Whether anonymous may do it with every image. */
  openToAll(action: Action): boolean {
    return this.#anonymous.everywhere.has(action);
  }

  /** Whether anonymous may do it with some image. */
  opensSomething(action: Action): boolean {
    return this.#anonymous.rights.some((right) => right.actions.has(action));
  }

  /** Whether anonymous may do nothing at all. */
  get closed(): boolean {
    return this.#anonymous.rights.length === 0;
  }

  /** Whether a grant to do it with every image (`**`) is held; a token never holds one. */
  everywhere(identity: Identity, action: Action): boolean {
    if (this.openToAll(action)) return true;
    return identity.kind === 'user' && this.#holderOf(identity)?.everywhere.has(action) === true;
  }

  #holderOf(identity: Identity): Holder | undefined {
    if (identity.kind === 'anonymous' || identity.name === undefined) return undefined;
    return this.#users.get(identity.name) ?? this.#others;
  }
}

function holder(grants: readonly Grant[]): Holder {
  const held = grants.filter((grant) => grant.images.length > 0 && grant.actions.length > 0);
  return {
    rights: held.map((grant) => ({
      actions: new Set(grant.actions),
      matches: imageMatcher(grant.images),
    })),
    everywhere: new Set(held.flatMap((grant) => (grant.images.includes('**') ? grant.actions : []))),
  };
}

function may({ rights, everywhere }: Holder, action: Action, image: string): boolean {
  return everywhere.has(action) || rights.some((right) => right.actions.has(action) && right.matches(image));
}
