import { basicOf, type Credentials } from './client.ts';

/** The authority that signed the mirror's certificate, and the login that the mirror is sent unasked. */
type HostOptions = { readonly ca?: string | undefined; readonly login?: Credentials | undefined };

/** A `hosts.toml` of a mirror. */
export function mirrorHosts(url: string, { ca, login }: HostOptions = {}): string {
  const lines = [`[host."${url}"]`, 'capabilities = ["pull", "resolve"]', ...trust(ca)];
  if (login !== undefined) lines.push(`[host."${url}".header]`, `authorization = "${basicOf(login)}"`);
  return `${lines.join('\n')}\n`;
}

/** As {@link mirrorHosts}, but leaving no way to the registry itself. */
export function boundHosts(url: string, options: HostOptions = {}): string {
  return [`server = "${url}"`, ...trust(options.ca), mirrorHosts(url, options)].join('\n');
}

function trust(ca: string | undefined): string[] {
  return ca === undefined ? [] : [`ca = "${ca}"`];
}
