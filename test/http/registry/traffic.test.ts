import { expect, test } from 'vitest';
import { isMirrorTraffic } from '../../../src/http/registry/traffic.ts';
import { parseRoute } from '../../../src/oci/route.ts';
import { targetOf } from '../../pull/scripted-upstream.ts';

const docker =
  'docker/28.1.1 go/go1.23.8 kernel/6.8.0 os/linux arch/amd64 UpstreamClient(Docker-Client/28.1.1)';
const podman = 'containers/5.28.2 (github.com/containers/image)';

/** Whether a manifest request for `ghcr.io/org/app` counts as a mirror's. */
function judged(path: string, agent: string | undefined): string {
  const route = parseRoute(path);
  if (route.kind !== 'manifest') throw new Error(`no manifest: ${path}`);
  return isMirrorTraffic(route, targetOf([]), agent) ? 'mirror' : 'direct';
}

test.each([
  // A registry in the path alone: the client means this server.
  ['/v2/ghcr.io/org/app/manifests/v1', docker, 'direct'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'containerd/2.0.0', 'direct'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'go-containerregistry/v0.20', 'direct'],
  ['/v2/ghcr.io/org/app/manifests/v1', undefined, 'direct'],
  // Every other form takes this server for the registry.
  ['/v2/org/app/manifests/v1', docker, 'mirror'],
  ['/v2/org/app/manifests/v1', undefined, 'mirror'],
  ['/v2/org/app/manifests/v1?ns=ghcr.io', 'containerd/2.0.0', 'mirror'],
  ['/v2/ghcr.io/org/app/manifests/v1?ns=ghcr.io', 'containerd/2.0.0', 'mirror'],
  ['/ghcr.io/v2/org/app/manifests/v1', docker, 'mirror'],
  ['/ghcr.io/v2/ghcr.io/org/app/manifests/v1', docker, 'mirror'],
  // podman and its kin put their mirror's location before the name.
  ['/v2/ghcr.io/org/app/manifests/v1', podman, 'mirror'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'skopeo/1.18.0', 'mirror'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'Buildah/1.39.3', 'mirror'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'libpod/5.4.0', 'mirror'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'cri-o/1.32.0 go/go1.23', 'mirror'],
  // Only what begins with such a name is one.
  ['/v2/ghcr.io/org/app/manifests/v1', 'curl/8 (like containers/5)', 'direct'],
  ['/v2/ghcr.io/org/app/manifests/v1', 'containersx/5', 'direct'],
  // A repository that is named like a registry is none.
  ['/v2/ghcr.iox/org/app/manifests/v1', docker, 'mirror'],
] as const)('%s from %s is %s traffic', (path, agent, expected) => {
  expect(judged(path, agent)).toBe(expected);
});
