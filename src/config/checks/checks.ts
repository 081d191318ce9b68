import type { ConfigPath, Finding } from '../problems.ts';
import { isMap, listAt, mapAt } from '../raw.ts';
import { defaultRegistryName, defaultRegistryUrls } from '../schema/root-schema.ts';
import { isRegistryHostText, readSpeed } from '../schema/scalars.ts';
import { accessFindings } from './access-checks.ts';
import { syncFindings } from './sync-checks.ts';

/** One upstream of a document that no schema has looked at yet, and where it stands. */
type RawUpstream = { readonly path: ConfigPath; readonly upstream: Readonly<Record<string, unknown>> };

/**
 * What no single key can tell: names, aliases and combinations. It looks at the raw document, not at the schema's
 * result, so that these are reported in the same run as the schema's own findings; what has a wrong type is skipped.
 */
export function crossFieldFindings(document: unknown): Finding[] {
  const registries = rawRegistries(document);
  return [
    ...defaultRegistryFindings(document, registries),
    ...registryNameFindings(registries),
    ...hostFindings(registries),
    ...Object.entries(registries).flatMap(([name, registry]) => tagFindings(name, registry)),
    ...rawUpstreams(document).flatMap(upstreamFindings),
    ...speedFindings(document),
    ...accessFindings(document),
    ...syncFindings(document, registryNames(document, registries)),
  ];
}

/** Every upstream of a raw document that is at least a map. */
export function rawUpstreams(document: unknown): RawUpstream[] {
  return Object.entries(rawRegistries(document)).flatMap(([name, registry]) =>
    listAt(registry, 'upstreams').flatMap((upstream, index) =>
      isMap(upstream) ? [{ path: ['registries', name, 'upstreams', index], upstream }] : [],
    ),
  );
}

function defaultRegistryFindings(
  document: unknown,
  registries: Readonly<Record<string, unknown>>,
): Finding[] {
  const path = ['defaultRegistry'];
  const configured = isMap(document) ? document['defaultRegistry'] : undefined;
  const choices = registryNames(document, registries);
  if (choices.length === 0) {
    const empty = isMap(document) && isMap(document['registries']);
    return empty ? [{ path: ['registries'], message: 'must name at least one registry' }] : [];
  }
  if (configured === undefined && !choices.includes(defaultRegistryName)) {
    const message = `is ${defaultRegistryName} unless set, which registries lacks: set it to one of ${choices.join(', ')}`;
    return [{ path, message, shownAt: ['registries'] }];
  }
  if (typeof configured !== 'string' || choices.includes(configured)) return [];
  return [{ path, message: `must be one of the registries: ${choices.join(', ')}` }];
}

function registryNameFindings(registries: Readonly<Record<string, unknown>>): Finding[] {
  const message =
    'a registry is named by its host, such as ghcr.io or localhost:5000: lower case, no scheme, no path';
  return Object.keys(registries)
    .filter((name) => !isRegistryHostText(name))
    .map((name) => ({ path: ['registries', name], message }));
}

function hostFindings(registries: Readonly<Record<string, unknown>>): Finding[] {
  const owners = new Map<string, string>();
  const findings: Finding[] = [];
  for (const [name, registry] of Object.entries(registries)) {
    for (const [index, host] of listAt(registry, 'hosts').entries()) {
      if (typeof host !== 'string' || host === '') continue;
      const path = ['registries', name, 'hosts', index];
      const owner = owners.get(host);
      if (!isRegistryHostText(host)) {
        findings.push({
          path,
          message: 'must be a host such as ghcr.mirror.corp: lower case, no scheme, no path',
        });
      } else if (owner !== undefined) {
        findings.push({ path, message: `this host is already given for ${owner}` });
      } else if (host !== name && Object.hasOwn(registries, host)) {
        findings.push({ path, message: 'this host is the name of another registry' });
      }
      owners.set(host, owner ?? name);
    }
  }
  return findings;
}

function tagFindings(name: string, registry: unknown): Finding[] {
  const upstreams = listAt(registry, 'upstreams');
  const none =
    upstreams.length > 0 && upstreams.every((upstream) => isMap(upstream) && upstream['tags'] === false);
  const message = 'every upstream has tags: false, so no tag could be pulled: leave it out for at least one';
  return none ? [{ path: ['registries', name, 'upstreams'], message }] : [];
}

function upstreamFindings({ path, upstream }: RawUpstream): Finding[] {
  const { url, insecure, username, password } = upstream;
  const findings: Finding[] = [];
  const add = (key: string, message: string) => findings.push({ path: [...path, key], message });
  if (typeof url === 'string' && url.startsWith('http://') && (insecure ?? false) === false) {
    add('url', 'plain http:// needs insecure: true');
  }
  if (typeof url === 'string' && url.startsWith('https://') && insecure === true) {
    add('insecure', 'permits plain http:// only: an https:// certificate is always verified, see the key ca');
  }
  // Of the upstream, not of the key: it holds whether or not the key's value could be filled in.
  if ((username === undefined) !== (password === undefined)) {
    const [key, missing] = username === undefined ? ['password', 'username'] : ['username', 'password'];
    findings.push({ path, message: `${key} needs the key ${missing} beside it`, shownAt: [...path, key] });
  }
  if (typeof username === 'string' && username.includes(':'))
    add('username', 'must hold no colon (RFC 7617)');
  const logins = ['username', 'dockerConfig', 'credentialHelper'].filter(
    (key) => upstream[key] !== undefined,
  );
  const [login, ...others] = logins;
  for (const other of others) add(other, `stands instead of ${login}, not beside it`);
  return findings;
}

function speedFindings(document: unknown): Finding[] {
  const limits = mapAt(document, 'limits');
  return rawUpstreams(document).flatMap(({ path, upstream }) => {
    const least = bytesPerSecond(upstream['minSpeed']) ?? 0;
    const caps = [
      ['maxBandwidth', bytesPerSecond(upstream['maxBandwidth'])],
      ['limits.maxBandwidth', bytesPerSecond(limits['maxBandwidth'])],
    ] as const;
    return caps
      .filter(([, cap]) => cap !== undefined && least >= cap)
      .map(([key]) => ({ path: [...path, 'minSpeed'], message: `must be less than ${key}` }));
  });
}

/** Absent for what the schema refuses as no speed. */
function bytesPerSecond(raw: unknown): number | undefined {
  if (typeof raw !== 'string') return undefined;
  const reading = readSpeed(raw, { min: 1, minText: '1B' });
  return reading.kind === 'value' ? reading.value : undefined;
}

function rawRegistries(document: unknown): Readonly<Record<string, unknown>> {
  return mapAt(document, 'registries');
}

/** The names of the configured registries, or of those without any. */
function registryNames(document: unknown, registries: Readonly<Record<string, unknown>>): string[] {
  const given = isMap(document) && document['registries'] !== undefined;
  return Object.keys(given ? registries : defaultRegistryUrls);
}
