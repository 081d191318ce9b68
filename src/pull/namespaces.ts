import { OciError } from '../oci/errors.ts';
import { looksLikeHost, withLibrary } from '../oci/image-name.ts';
import { isRegistryHost, parseRepositoryName } from '../oci/reference.ts';
import type { RepositoryKey } from '../oci/repository-key.ts';
import type { Address } from '../oci/route.ts';
import { ownHost, type Registry, type ResolvedRepository } from './repository.ts';
import { upstreamsOf } from './source.ts';

/**
 * Finds which registry a request means. The list is closed: what a client names is looked up, never dialled.
 * A name means one registry, in this order: the path's own prefix (`/v2/ghcr.io/org/app/...`), the mirror path
 * (`/ghcr.io/v2/...`), `ns`, an alias in `Host`, the default.
 */
export class Namespaces {
  readonly #registries: ReadonlyMap<string, Registry>;
  readonly #aliases: ReadonlyMap<string, Registry>;
  readonly #fallback: Registry;

  /** @param aliases `Host` values (lower case, port optional) and the registry each means */
  constructor(
    registries: readonly Registry[],
    options: { aliases: ReadonlyMap<string, string>; defaultRegistry: string },
  ) {
    this.#registries = new Map(registries.map((registry) => [registry.name, registry]));
    const find = (name: string): Registry => {
      const registry = this.#registries.get(name);
      if (registry === undefined) throw new Error(`no registry is called ${name}`);
      return registry;
    };
    this.#aliases = new Map([...options.aliases].map(([host, name]) => [host, find(name)]));
    this.#fallback = find(options.defaultRegistry);
  }

  /**
   * Resolves an address as it stands in the request.
   * @param host the `Host` header
   * @throws OciError `NAME_UNKNOWN` for a registry that is not configured, `NAME_INVALID` for a malformed name
   */
  resolve(address: Address, host: string | undefined): ResolvedRepository {
    const { registry, name } = this.#registryOf(address, host);
    const repository = parseRepositoryName(withLibrary(registry.name, name));
    if (repository === undefined) {
      throw new OciError('NAME_INVALID', 'the repository name is not valid: lower-case path components only');
    }
    return { registry, repository };
  }

  /**
   * Resolves a name that a person gives.
   * @throws OciError `NAME_UNKNOWN` for a registry that is not configured
   */
  named({ registry: name, repository }: RepositoryKey): ResolvedRepository {
    const registry = this.#registries.get(name);
    if (registry !== undefined) return { registry, repository };
    throw new OciError(
      'NAME_UNKNOWN',
      `registry ${name} is not configured here: add it under "registries" in the configuration`,
    );
  }

  /** The registries, for status pages and listings. */
  all(): readonly Registry[] {
    return [...this.#registries.values()];
  }

  #registryOf(address: Address, host: string | undefined): { registry: Registry; name: string } {
    const slash = address.name.indexOf('/');
    const first = slash < 0 ? '' : address.name.slice(0, slash);
    const prefixed = this.#registries.get(first);
    if (prefixed !== undefined)
      return { registry: prefixed, name: within(prefixed, address.name.slice(slash + 1)) };
    if (looksLikeHost(first)) throw unknownRegistry(first);
    const named = address.mirrorPath ?? address.ns;
    if (named !== undefined) {
      const registry = this.#registries.get(named);
      if (registry === undefined) throw unknownRegistry(named);
      return { registry, name: address.name };
    }
    return { registry: this.#byHost(host) ?? this.#fallback, name: address.name };
  }

  #byHost(host: string | undefined): Registry | undefined {
    if (host === undefined || this.#aliases.size === 0) return undefined;
    const lower = host.toLowerCase();
    return this.#aliases.get(lower) ?? this.#aliases.get(lower.replace(/:[0-9]+$/, ''));
  }
}

/**
 * The name within a registry. Another mirror would take a host in it for the registry that is meant, so that content
 * of that one came out under a name of this: only the registry itself is asked for such a name.
 */
function within(registry: Registry, name: string): string {
  const [first = '', ...rest] = name.split('/');
  if (rest.length === 0 || !looksLikeHost(first) || isDirect(registry)) return name;
  throw unknownRegistry(first);
}

/** Whether every upstream is the registry itself. */
function isDirect(registry: Registry): boolean {
  return upstreamsOf(registry).every(({ origin }) => new URL(origin).host === ownHost(registry));
}

function unknownRegistry(name: string): OciError {
  const shown = isRegistryHost(name) ? `registry ${name}` : 'this registry';
  return new OciError(
    'NAME_UNKNOWN',
    `${shown} is not configured here: add it under "registries" in the configuration, or pull from it directly`,
  );
}
