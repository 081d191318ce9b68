import type { IncomingMessage } from 'node:http';
import { settle } from '../../lib/settle.ts';
import { OciError } from '../../oci/errors.ts';
import type { Reference } from '../../oci/reference.ts';
import type { Address } from '../../oci/route.ts';
import { type Access, type Action, anonymous, type Identity } from '../../policy/access.ts';
import type { Passthrough } from '../../pull/asking/client-logins.ts';
import { imageName, type ResolvedRepository } from '../../pull/repository.ts';
import type { Exchange } from '../exchange.ts';
import { denied, notKnownHere, tooManyLogins, wrongLogin } from './access-errors.ts';
import { type Authenticator, clientOf, type Identified } from './authenticate.ts';
import { type LoginChallenge, setChallenge } from './login-challenge.ts';

/** The part of a route that says which image it is about. */
type AddressedRoute = { readonly address: Address; readonly reference?: Reference };

type Caller = Pick<Exchange, 'incoming' | 'outgoing' | 'facts'>;

/** One decision to make. `mirror`: the client may take us for a mirror, and is never asked for a login. */
type Request = {
  readonly exchange: Exchange;
  readonly route: AddressedRoute;
  readonly target: ResolvedRepository;
  readonly image: string;
  readonly action: Action;
  readonly mirror: boolean;
};

/**
 * Decides who gets in, and how the others are told.
 *
 * *Mirror traffic* (no registry in the path, `ns`, or a mirror path) is never challenged, since clients would answer
 * with the login of the registry that is mirrored; what it may not have is answered as what does not exist.
 * *Direct traffic* (a registry in the path; anything at a login host) is challenged when a login would help.
 */
export class Gatekeeper {
  readonly #access: Access;
  readonly #authenticator: Authenticator;
  readonly #passthrough: Passthrough | undefined;
  readonly #loginHosts: ReadonlySet<string>;
  readonly #realm: string | undefined;

  /**
   * @param deps.passthrough asked about logins that are not ours; only when `access.passthrough` is on
   * @param options.loginHosts `Host` values (port optional) that are never mirrors, where `/v2/` asks for a login
   * @param options.realm the URL of the token route, where it is not at the host that clients use
   */
  constructor(
    deps: {
      access: Access;
      authenticator: Authenticator;
      passthrough?: Passthrough | undefined;
    },
    options: { loginHosts: readonly string[]; realm?: string | undefined },
  ) {
    this.#access = deps.access;
    this.#authenticator = deps.authenticator;
    this.#passthrough = deps.passthrough;
    this.#loginHosts = new Set(options.loginHosts.map((host) => host.toLowerCase()));
    this.#realm = options.realm;
  }

  /**
   * Lets a request about an image in, or throws what its client is told. Returns at once, and makes nothing, for
   * requests without credentials; the promise of the others rejects with the same errors.
   * @throws OciError `UNAUTHORIZED` (with the challenge set on the response), `DENIED`, `NAME_UNKNOWN`,
   *   `TOOMANYREQUESTS`
   */
  require(
    exchange: Exchange,
    route: AddressedRoute,
    target: ResolvedRepository,
    action: Action,
  ): void | Promise<void> {
    const { authorization } = exchange.incoming.headers;
    if (authorization === undefined && this.#access.openToAll(action)) return;
    const image = imageName(target);
    const open = this.#access.allows(anonymous, action, image);
    if (open && authorization === undefined) return;
    const mirror = this.#isMirror(exchange.incoming, route.address, target.registry.name);
    if (open && mirror) return;
    const request: Request = { exchange, route, target, image, action, mirror };
    const found = this.#authenticator.identify(exchange.incoming);
    return settle(found, (identified) => this.#decide(request, identified));
  }

  /**
   * Decides on `GET /v2/`, from which docker and podman learn how to log in: asks for a login at a login host only
   * (everywhere when anonymous may do nothing).
   * @throws OciError `UNAUTHORIZED` with the challenge set, `TOOMANYREQUESTS`
   */
  base(exchange: Caller): void | Promise<void> {
    const { incoming } = exchange;
    const url = incoming.url ?? '';
    const mirror = !url.startsWith('/v2') || /[?&]ns=/.test(url);
    if (mirror || !this.#authenticator.enabled) return;
    if (!this.#isLoginHost(incoming)) return;
    const found = this.#authenticator.identify(incoming);
    return settle(found, (identified) => this.#greet(exchange, identified));
  }

  /**
   * Lets in who holds `admin`, with a password (a token is not enough).
   * @param image the image that is steered; `undefined` for the whole server, which takes a grant on `**`
   * @throws OciError `UNAUTHORIZED` with the challenge set, `DENIED`, `TOOMANYREQUESTS`
   */
  async admin(exchange: Caller, image: string | undefined): Promise<void> {
    const found = await this.#authenticator.identify(exchange.incoming);
    if (found.kind === 'limited') throw tooManyLogins(found.retryAfter);
    const identity = found.kind === 'identity' && found.identity.kind === 'user' ? found.identity : anonymous;
    const may =
      image === undefined
        ? this.#access.everywhere(identity, 'admin')
        : this.#access.allows(identity, 'admin', image);
    exchange.facts.user = nameOf(identity);
    if (may) return;
    if (identity.kind === 'user') throw denied(identity.name, 'admin', image ?? 'this server');
    setChallenge(exchange, { realm: undefined, schemes: 'basic' });
    throw new OciError('UNAUTHORIZED', 'this needs the login of a user with the admin grant');
  }

  #decide(request: Request, found: Identified): void | Promise<void> {
    const { exchange, route, image, action, mirror } = request;
    switch (found.kind) {
      case 'identity': {
        const { identity } = found;
        exchange.facts.user = nameOf(identity);
        const verdict = this.#access.judge(identity, action, image, route.address.name);
        if (verdict === 'allowed') return;
        const name = nameOf(identity);
        if (verdict === 'refused' && name !== undefined) throw denied(name, action, image);
        // A token that does not reach is answered with what the next one must cover.
        this.#refuse(request, identity.kind === 'bearer' ? 'insufficient_scope' : undefined);
        return;
      }
      case 'invalid':
        this.#refuse(request, found.scheme === 'bearer' ? 'invalid_token' : undefined, 'wrong');
        return;
      case 'foreign':
        if (this.#access.allows(anonymous, action, image)) return;
        if (action !== 'pull' || this.#passthrough === undefined) this.#refuse(request, undefined, 'wrong');
        else return this.#askUpstream(request, this.#passthrough, found.authorization);
        return;
      case 'limited':
        if (mirror) this.#refuse(request, undefined);
        throw tooManyLogins(found.retryAfter);
      default:
        found satisfies never;
    }
  }

  #askUpstream(request: Request, passthrough: Passthrough, authorization: string): void | Promise<void> {
    const known = passthrough.known(request.target, authorization);
    if (known === 'yes') return;
    if (known === 'no') this.#refuse(request, undefined, 'wrong');
    return this.#askUpstreamNow(request, passthrough, authorization);
  }

  async #askUpstreamNow(request: Request, passthrough: Passthrough, authorization: string): Promise<void> {
    const { exchange, target, route } = request;
    const client = clientOf(exchange.incoming);
    const { signal } = exchange;
    const verdict = await passthrough.ask(target, authorization, route.reference, { client, signal });
    if (verdict.kind === 'limited' && !request.mirror) throw tooManyLogins(verdict.retryAfter);
    if (verdict.kind !== 'yes') this.#refuse(request, undefined, 'wrong');
  }

  #greet(exchange: Caller, found: Identified): void {
    if (found.kind === 'limited') throw tooManyLogins(found.retryAfter);
    if (found.kind === 'foreign') return;
    if (found.kind === 'identity' && found.identity.kind !== 'anonymous') {
      exchange.facts.user = nameOf(found.identity);
      return;
    }
    const error = found.kind === 'invalid' && found.scheme === 'bearer' ? 'invalid_token' : undefined;
    // dockerd answers every challenge of /v2/ at once, and gives up when one of them is Basic and it has no login.
    this.#challenge(exchange, { schemes: 'bearer', error });
    if (found.kind === 'invalid') throw wrongLogin();
    throw new OciError('UNAUTHORIZED', 'log in to use this registry');
  }

  /** Tells a client that it may not, without saying whether the image exists. */
  #refuse(request: Request, error: LoginChallenge['error'], credentials: 'none' | 'wrong' = 'none'): never {
    const { exchange, route, image, action, mirror } = request;
    if (mirror) throw notKnownHere(image);
    if (!this.#authenticator.enabled) throw denied(undefined, action, image);
    this.#challenge(exchange, { schemes: 'both', error, scope: { name: route.address.name, action } });
    if (credentials === 'wrong' && error === undefined) throw wrongLogin();
    throw new OciError('UNAUTHORIZED', `it takes a login to ${action} ${image}: log in here and try again`);
  }

  #challenge(exchange: Caller, challenge: Omit<LoginChallenge, 'realm'>): void {
    // Logins that only an upstream can judge cannot be traded for a token here.
    const schemes = this.#authenticator.passthrough ? 'basic' : challenge.schemes;
    setChallenge(exchange, { ...challenge, schemes, realm: this.#realm });
  }

  #isMirror(incoming: IncomingMessage, address: Address, registry: string): boolean {
    if (address.ns !== undefined || address.mirrorPath !== undefined) return true;
    if (address.name.startsWith(`${registry}/`)) return false;
    return !this.#isLoginHost(incoming);
  }

  #isLoginHost(incoming: IncomingMessage): boolean {
    // Where login hosts are named, the others may be mirrors, to which clients send the login of another registry.
    if (this.#loginHosts.size === 0) return this.#access.closed;
    const host = incoming.headers.host?.toLowerCase();
    if (host === undefined) return false;
    return this.#loginHosts.has(host) || this.#loginHosts.has(host.replace(/:[0-9]+$/, ''));
  }
}

function nameOf(identity: Identity): string | undefined {
  return identity.kind === 'anonymous' ? undefined : identity.name;
}
