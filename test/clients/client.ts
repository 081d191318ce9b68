import { loginHost, mirrorHost } from './sandbox.ts';

/** What came of one command of a client. */
export type Told = {
  readonly ok: boolean;
  /** What a person would have read: both streams. */
  readonly said: string;
};

/** What one pull made of it. */
export type Pulled = Told & {
  /** The digests by which the client knows the image now; empty when the pull failed. */
  readonly digests: readonly string[];
};

/** A real container client with private storage, which is told of the server under test and of nothing else. */
export type Client = {
  readonly name: string;
  /**
   * Pulls an image, by its own name (`docker.io/library/app:1.0`) wherever the client can be configured with a mirror,
   * through the server's prefix where it cannot. The signal ends it the hard way, as a failed pull.
   */
  pull(reference: string, signal?: AbortSignal): Promise<Pulled>;
  /** Pulls `SERVER/reference`, as a person does who has configured nothing. */
  pullByPrefix(reference: string, signal?: AbortSignal): Promise<Pulled>;
  /** Logs in to the server for what is pulled by prefix; where no command does that, its user is told to each pull. */
  login(username: string, password: string): Promise<Told>;
  /** Forgets the image and its layers. */
  remove(reference: string): Promise<void>;
  /** Runs a pulled image without a network and returns what it prints; absent where this machine cannot run it. */
  readonly run?: (reference: string) => Promise<string>;
  /** Ends its processes; its files stay. */
  stop(): Promise<void>;
  /** What its daemon logged so far. */
  log(): string;
};

/** Where a client works and what it pulls through. */
export type ClientOptions = {
  /** An existing directory of its own, an absolute path. */
  readonly directory: string;
  /** `127.0.0.1:PORT` of the server under test. */
  readonly server: string;
  /** The authority that signed the server's certificate; without one it speaks plain HTTP. */
  readonly ca?: string | undefined;
  /** The address that answers at the names of the real registries; a closed port unless told. */
  readonly origin?: string | undefined;
  /** An authority that the whole system trusts, in place of the usual ones. */
  readonly trusted?: string | undefined;
  /** Whether it is configured so that it has no way around the server (docs/CLIENTS.md), not with a mirror. */
  readonly bound?: boolean | undefined;
  /** A login that it is configured to send to the mirror, unasked, for images of the private registry. */
  readonly mirrorLogin?: Credentials | undefined;
};

/** A name and a password. */
export type Credentials = { readonly username: string; readonly password: string };

/** The `Authorization` header of a login (RFC 7617). */
export function basicOf({ username, password }: Credentials): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

/** How a client names the server. */
export type Names = {
  /** The URL of the mirror, and its `host:port`. */
  readonly url: string;
  readonly mirror: string;
  /** The `host:port` before a reference that is pulled by prefix, at which logins are taken. */
  readonly prefix: string;
};

/** The names of the server; where it has a certificate there is one for each of its two roles. */
export function namesOf({ server, ca }: ClientOptions): Names {
  if (ca === undefined) return { url: `http://${server}`, mirror: server, prefix: server };
  const port = server.slice(server.lastIndexOf(':'));
  const mirror = mirrorHost + port;
  return { url: `https://${mirror}`, mirror, prefix: loginHost + port };
}

/** How Go programs are told what {@link ClientOptions.trusted} is. */
export function trusting(file: string | undefined): Readonly<Record<string, string>> {
  return file === undefined ? {} : { SSL_CERT_FILE: file };
}

/** The login of its user at Docker Hub, which is nobody's business here. */
export const hubLogin = { username: 'alice', password: 'docker-hub-secret' };

/** {@link hubLogin} as `config.json` and `auth.json` hold it. */
export const hubLoginAuth = { auth: basicOf(hubLogin).slice('Basic '.length) };

/** How long one pull may take, in milliseconds. */
export const pullTimeout = 600_000;
