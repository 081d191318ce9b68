/** The manifest media types that are stored and served. */
export const mediaTypes = {
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
} as const;

/** One of the four manifest media types. */
export type ManifestMediaType = (typeof mediaTypes)[keyof typeof mediaTypes];

const known: ReadonlySet<string> = new Set(Object.values(mediaTypes));

/** The media types of Docker's image manifest schema 1, which carries no verifiable digests and is refused. */
const schema1: ReadonlySet<string> = new Set([
  'application/vnd.docker.distribution.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.v1+prettyjws',
]);

/** The `Accept` value sent upstream: one fixed order, so that the answer never depends on who asked. */
export const manifestAccept = [
  mediaTypes.ociIndex,
  mediaTypes.ociManifest,
  mediaTypes.dockerList,
  mediaTypes.dockerManifest,
].join(', ');

/** Drops the parameters of a media type (`; charset=utf-8`) and folds its case (RFC 9110, section 8.3.1). */
export function bareMediaType(value: string): string {
  const end = value.indexOf(';');
  return (end < 0 ? value : value.slice(0, end)).trim().toLowerCase();
}

/** Whether a bare media type is one of the four that are served. */
export function isManifestMediaType(value: string): value is ManifestMediaType {
  return known.has(value);
}

/** Whether a bare media type is Docker's schema 1. */
export function isSchema1MediaType(value: string): boolean {
  return schema1.has(value);
}

/** Whether the media type lists manifests (an index or a Docker manifest list). */
export function isIndexMediaType(value: string): boolean {
  return value === mediaTypes.ociIndex || value === mediaTypes.dockerList;
}
