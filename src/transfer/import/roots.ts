import { type Digest, parseDigest } from '../../oci/digest.ts';
import { type ImageName, parseImageName } from '../../oci/image-name.ts';
import { parseTag, type Tag } from '../../oci/reference.ts';
import { imageText, type RepositoryKey } from '../../oci/repository-key.ts';
import { type BundleContents, splitImage } from '../bundle/bundle-contents.ts';
import { BundleError } from '../bundle/bundle-error.ts';

/** A manifest at the top of what an archive brings, and the name by which it is to be found. */
export type Root = {
  readonly key: RepositoryKey;
  readonly tag: Tag | undefined;
  readonly digest: Digest;
  /** As the archive says; `undefined` when it does not. */
  readonly mediaType: string | undefined;
  readonly referrer: boolean;
};

/** A manifest that an archive gives no name to. */
export type Nameless = { readonly digest: Digest; readonly mediaType: string | undefined };

/** The registry that Docker means when an archive's name has none. */
const dockersRegistry = 'docker.io';

const nameAnnotation = 'io.containerd.image.name';
const refAnnotation = 'org.opencontainers.image.ref.name';

/** What a bundle's contents name. */
export function rootsOfContents({ images }: BundleContents): readonly Root[] {
  return images.map(({ image, tag, digest, mediaType, referrer }) => {
    const key = splitImage(image);
    if (key === undefined) throw new Error(`${image} was not checked`);
    return { key, tag, digest, mediaType, referrer };
  });
}

/**
 * What the `index.json` of an image layout names (image-spec, "Image Layout").
 * @param given the name that the user gives: of the one image, or the repository of all
 * @throws BundleError `BUNDLE_UNSUPPORTED` when it is malformed, `BUNDLE_UNNAMED`
 */
export function rootsOfLayout(
  index: Buffer,
  given: ImageName | undefined,
): { readonly roots: readonly Root[]; readonly nameless: readonly Nameless[] } {
  const named: { readonly digest: Digest; readonly mediaType: string | undefined; readonly names: Names }[] =
    [];
  for (const value of entriesOf(index)) {
    const { digest: text, mediaType, annotations } = value as Record<string, unknown>;
    const digest = typeof text === 'string' ? parseDigest(text) : undefined;
    if (digest === undefined) throw malformed('index.json');
    const type = typeof mediaType === 'string' ? mediaType : undefined;
    named.push({ digest, mediaType: type, names: namesOf(annotations) });
  }
  if (given?.tag !== undefined) {
    const [only, ...others] = new Set(named.map(({ digest }) => digest));
    if (only === undefined || others.length > 0) throw severalImages(named.length);
  }
  const roots: Root[] = [];
  const nameless: Nameless[] = [];
  for (const { digest, mediaType, names } of named) {
    const name =
      given === undefined ? names.name : { ...given, tag: given.tag ?? names.name?.tag ?? names.tag };
    if (name === undefined) nameless.push({ digest, mediaType });
    else roots.push({ ...rootNamed(name), digest, mediaType, referrer: false });
  }
  refuseContradictions(roots);
  return { roots, nameless };
}

/** One image of `docker save`: names of files within the archive, and the tags it goes by. */
export type SavedImage = {
  readonly config: string;
  readonly layers: readonly string[];
  readonly names: readonly (RepositoryKey & { readonly tag: Tag | undefined })[];
};

/**
 * What the `manifest.json` of `docker save` names.
 * @param given as for {@link rootsOfLayout}
 * @throws BundleError `BUNDLE_UNSUPPORTED` when it is malformed, `BUNDLE_UNNAMED`
 */
export function savedImages(manifest: Buffer, given: ImageName | undefined): readonly SavedImage[] {
  const entries = listIn(manifest, 'manifest.json');
  if (given?.tag !== undefined && entries.length !== 1) throw severalImages(entries.length);
  return entries.map((value) => {
    const { Config: config, RepoTags: repoTags, Layers: layers } = (value ?? {}) as Record<string, unknown>;
    if (typeof config !== 'string' || !isTextList(layers)) throw malformed('manifest.json');
    const tags = isTextList(repoTags) ? repoTags : [];
    const own = tags.flatMap((text) => parseImageName(text, dockersRegistry) ?? []);
    const names =
      given === undefined
        ? own
        : given.tag !== undefined || own.length === 0
          ? [given]
          : own.map(({ tag }) => ({ ...given, tag }));
    if (names.length === 0) throw unnamed();
    return {
      config,
      layers,
      names: names.map(({ registry, repository, tag }) => ({ registry, repository, tag })),
    };
  });
}

/** The error for images that nothing names. */
export function unnamed(): BundleError {
  return new BundleError(
    'BUNDLE_UNNAMED',
    'the archive does not say what its image is called: say it with --name, as in --name docker.io/library/app:1.0',
  );
}

type Names = { readonly name: ImageName | undefined; readonly tag: Tag | undefined };

/** Reads both annotations: tools write a whole name into either, or the tag alone into the second. */
function namesOf(annotations: unknown): Names {
  const texts = (typeof annotations === 'object' && annotations !== null ? annotations : {}) as Record<
    string,
    unknown
  >;
  const [whole, ref] = [texts[nameAnnotation], texts[refAnnotation]];
  const tag = typeof ref === 'string' ? parseTag(ref) : undefined;
  for (const text of [whole, ref]) {
    if (typeof text !== 'string' || (text === ref && tag !== undefined && text !== whole)) continue;
    const name = parseImageName(text, dockersRegistry);
    if (name !== undefined) return { name: { ...name, tag: name.tag ?? tag }, tag };
  }
  return { name: undefined, tag };
}

function rootNamed({ registry, repository, tag }: ImageName): Pick<Root, 'key' | 'tag'> {
  return { key: { registry, repository }, tag };
}

function refuseContradictions(roots: readonly Root[]): void {
  const seen = new Map<string, Digest>();
  for (const { key, tag, digest } of roots) {
    if (tag === undefined) continue;
    const name = imageText(key, { kind: 'tag', tag });
    if ((seen.get(name) ?? digest) !== digest) {
      throw new BundleError('BUNDLE_UNSUPPORTED', `the archive has two different images called ${name}`);
    }
    seen.set(name, digest);
  }
}

function entriesOf(index: Buffer): readonly unknown[] {
  let document: unknown;
  try {
    document = JSON.parse(index.toString('utf8'));
  } catch {
    throw malformed('index.json');
  }
  const { manifests } = (document ?? {}) as Record<string, unknown>;
  if (!Array.isArray(manifests) || !manifests.every((value) => typeof value === 'object' && value !== null)) {
    throw malformed('index.json');
  }
  return manifests;
}

function listIn(bytes: Buffer, name: string): readonly unknown[] {
  try {
    const list: unknown = JSON.parse(bytes.toString('utf8'));
    if (Array.isArray(list)) return list;
  } catch {
    // Not JSON at all is as malformed as other JSON.
  }
  throw malformed(name);
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((entry) => typeof entry === 'string');
}

function malformed(name: string): BundleError {
  return new BundleError('BUNDLE_UNSUPPORTED', `${name} of the archive is malformed`);
}

function severalImages(count: number): BundleError {
  return new BundleError(
    'BUNDLE_UNNAMED',
    `the archive has ${count} images: --name with a tag can name one only; give it without`,
  );
}
