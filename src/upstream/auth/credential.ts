/** The key that Docker keeps the credentials of Docker Hub under, and the hosts that it means. */
const hubKey = 'https://index.docker.io/v1/';
const hubHosts = ['index.docker.io', 'docker.io', 'registry-1.docker.io'];

/** What an upstream knows us by. An identity token is an OAuth 2.0 refresh token (RFC 6749, section 6). */
export type Credential =
  | { readonly kind: 'password'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity-token'; readonly token: string };

/** Credentials that cannot be had; the message is a plain clause without secrets. */
export class CredentialError extends Error {
  readonly code = 'CREDENTIAL';
}

/** Whether two credentials are the same. */
export function sameCredential(a: Credential, b: Credential): boolean {
  if (a.kind === 'password') {
    return b.kind === 'password' && a.username === b.username && a.password === b.password;
  }
  return b.kind === 'identity-token' && a.token === b.token;
}

/** What an upstream is called where credentials are kept, the usual name first. */
export function credentialKeys(upstream: URL): readonly string[] {
  return hubHosts.includes(upstream.host) ? [hubKey, ...hubHosts] : [upstream.host];
}
