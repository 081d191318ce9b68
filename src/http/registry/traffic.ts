import type { Address } from '../../oci/route.ts';
import type { ResolvedRepository } from '../../pull/repository.ts';
import type { Headers } from '../respond.ts';

/** podman, buildah and skopeo reach their mirrors by a path prefix (`registries.conf`, `location`). */
const prefixingMirrorClients = /^(?:containers|skopeo|buildah|libpod|cri-o)\//i;

/**
 * Whether a request comes from a client that uses this server in place of a registry, as far as it can be told: it
 * then asks the registry itself when it gets an error here, and shows its user nothing of it.
 * @param agent the `User-Agent` header
 */
export function isMirrorTraffic(
  { address }: { address: Address },
  { registry }: ResolvedRepository,
  agent: string | undefined,
): boolean {
  const prefixed = address.name.startsWith(`${registry.name}/`);
  if (!prefixed || address.ns !== undefined || address.mirrorPath !== undefined) return true;
  return agent !== undefined && prefixingMirrorClients.test(agent);
}

/**
 * The `OCI-Namespace` header (distribution-spec, "Registry Proxying"), for a request with `ns`. Its value is the name
 * of the registry that answers: the path may name another one than `ns` does, and `ns` may be any text.
 */
export function namespaceHeader(
  { address }: { address: Address },
  { registry }: ResolvedRepository,
): Headers {
  return { 'OCI-Namespace': address.ns === undefined ? undefined : registry.name };
}
