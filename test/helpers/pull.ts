import { isIndexMediaType, mediaTypes } from '../../src/oci/media-types.ts';
import { digestOf } from './image.ts';
import { type Answer, request } from './request.ts';

/** The clients whose order of requests is imitated (the measured sequences of real clients). */
export type ClientKind = 'docker' | 'containerd' | 'podman';

/** What to pull and how. */
export type PullOptions = {
  /** The repository as it stands in the path, with a registry prefix if the test wants one. */
  readonly repository: string;
  /** A tag or a digest. */
  readonly reference: string;
  readonly client?: ClientKind;
  /** The registry named in `?ns=`, as containerd does. */
  readonly ns?: string;
  /** What stands before `/v2`, as `/ghcr.io` does for a dockerd mirror URL with a path. */
  readonly base?: string;
  readonly platform?: string;
  readonly headers?: Readonly<Record<string, string>>;
};

/** A pull that went well: what arrived, verified by digest. */
export type Pulled = {
  readonly digest: string;
  /** The blobs' lengths by digest. */
  readonly blobs: ReadonlyMap<string, number>;
  /** `X-Cache` of every answer, in order of the requests. */
  readonly outcomes: readonly string[];
};

type Descriptor = { digest: string; size: number; platform?: { os: string; architecture: string } };
type Document = { manifests?: Descriptor[]; config?: Descriptor; layers?: Descriptor[] };

const accept = {
  docker: `application/json, ${mediaTypes.dockerManifest}, ${mediaTypes.ociIndex}, application/vnd.docker.distribution.manifest.v1+prettyjws, ${mediaTypes.dockerList}, ${mediaTypes.ociManifest}`,
  containerd: `${mediaTypes.dockerManifest}, ${mediaTypes.dockerList}, ${mediaTypes.ociManifest}, ${mediaTypes.ociIndex}, */*`,
  podman: `${mediaTypes.ociManifest}, ${mediaTypes.dockerManifest}, application/vnd.docker.distribution.manifest.v1+json, ${mediaTypes.dockerList}, ${mediaTypes.ociIndex}`,
} as const satisfies Record<ClientKind, string>;

/**
 * Pulls an image as a real client does: resolves the tag, reads index and platform manifest, then gets config and
 * layers at once, and verifies every digest and size.
 * @throws on the first answer that a real client would not accept.
 */
export async function pull(origin: string, options: PullOptions): Promise<Pulled> {
  const { client = 'docker', platform = 'linux/amd64', base = '', repository } = options;
  const query = options.ns === undefined ? '' : `?ns=${options.ns}`;
  const outcomes: string[] = [];
  const ask = async (method: string, path: string, extra: Record<string, string> = {}) => {
    const headers = { ...options.headers, ...extra };
    const answer = await request(origin, path, { method, headers });
    outcomes.push(String(answer.headers['x-cache'] ?? ''));
    if (answer.status !== 200 || !answer.complete) {
      throw new Error(`${method} ${path}: ${answer.status} complete=${answer.complete} ${answer.text}`);
    }
    return answer;
  };
  const manifest = async (reference: string) => {
    const path = `${base}/v2/${repository}/manifests/${reference}${query}`;
    return checkManifest(await ask('GET', path, { accept: accept[client] }), reference);
  };
  if (client !== 'containerd') await ask('GET', '/v2/');
  let reference = options.reference;
  if (client === 'containerd' || (client === 'docker' && !reference.includes(':'))) {
    const path = `${base}/v2/${repository}/manifests/${reference}${query}`;
    const head = await ask('HEAD', path, { accept: accept[client] });
    reference = String(head.headers['docker-content-digest']);
  }
  const top = await manifest(reference);
  const leaf = top.index ? await manifest(choose(top.document, platform)) : top;
  const { config, layers = [] } = leaf.document;
  const descriptors = config ? [config, ...layers] : layers;
  const blobs = await Promise.all(
    descriptors.map(async ({ digest, size }) => {
      const { body } = await ask('GET', `${base}/v2/${repository}/blobs/${digest}${query}`);
      if (body.length !== size) throw new Error(`${digest}: ${body.length} bytes instead of ${size}`);
      if (digestOf(body) !== digest) throw new Error(`${digest}: wrong bytes`);
      return [digest, body.length] as const;
    }),
  );
  return { digest: top.digest, blobs: new Map(blobs), outcomes };
}

function checkManifest(answer: Answer, reference: string) {
  const digest = digestOf(answer.body);
  const type = String(answer.headers['content-type']);
  if (reference.includes(':') && digest !== reference)
    throw new Error(`manifest ${reference} has wrong bytes`);
  if (answer.headers['docker-content-digest'] !== digest)
    throw new Error(`digest header lies on ${reference}`);
  if (Number(answer.headers['content-length']) !== answer.length)
    throw new Error(`no length on ${reference}`);
  const document = JSON.parse(answer.text) as Document & { mediaType?: string };
  if (document.mediaType !== type) throw new Error(`${reference} came as ${type}`);
  return { digest, document, index: isIndexMediaType(type) };
}

function choose(document: Document, platform: string): string {
  const found = document.manifests?.find((entry) => {
    return `${entry.platform?.os}/${entry.platform?.architecture}` === platform;
  });
  if (!found) throw new Error(`no manifest for ${platform}`);
  return found.digest;
}
