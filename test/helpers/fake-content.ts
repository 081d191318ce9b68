import { type Answer, errorAnswer, jsonAnswer } from './fake-answer.ts';
import { digestOf, type TestBlob, type TestManifest } from './image.ts';
import type { JournalEntry } from './journal.ts';

/** What one fake registry deviates in. */
export type ContentOptions = {
  /** `false`: answers 404 on the referrers API, as registries of distribution-spec 1.0 do. */
  readonly referrers?: boolean;
  /** `false`: no `Docker-Content-Digest` on manifests. */
  readonly digestHeader?: boolean;
};

type Repository = {
  readonly blobs: Map<string, Buffer>;
  readonly manifests: Map<string, TestManifest>;
  readonly tags: Map<string, string>;
};

/** The repositories of a fake registry. */
export class FakeContent {
  #options: ContentOptions;
  #repositories = new Map<string, Repository>();

  constructor(options: ContentOptions) {
    this.#options = options;
  }

  /** Gives a repository a blob; `as` puts it under another digest than its own. */
  addBlob(repository: string, blob: TestBlob, as: string = blob.digest): void {
    this.#repository(repository).blobs.set(as, blob.bytes);
  }

  /** Gives a repository a manifest, and points tags at it. */
  addManifest(repository: string, manifest: TestManifest, ...tags: string[]): void {
    this.#repository(repository).manifests.set(manifest.digest, manifest);
    for (const tag of tags) this.setTag(repository, tag, manifest.digest);
  }

  /** Points a tag at a digest. */
  setTag(repository: string, tag: string, digest: string): void {
    this.#repository(repository).tags.set(tag, digest);
  }

  /** Removes a tag; its manifest stays. */
  deleteTag(repository: string, tag: string): void {
    this.#repository(repository).tags.delete(tag);
  }

  /** The bytes of a blob of a repository. */
  blob(repository: string | undefined, digest: string | undefined): Buffer | undefined {
    return this.#repositories.get(repository ?? '')?.blobs.get(digest ?? '');
  }

  /** Answers a registry request as a registry that works does. */
  answer(entry: JournalEntry): Answer {
    if (entry.kind === 'ping')
      return jsonAnswer(200, {}, { 'docker-distribution-api-version': 'registry/2.0' });
    if (entry.method !== 'GET' && entry.method !== 'HEAD') return errorAnswer(405, 'UNSUPPORTED');
    const repository = this.#repositories.get(entry.repository ?? '');
    if (!repository) return errorAnswer(404, 'NAME_UNKNOWN');
    const reference = entry.reference ?? '';
    if (entry.kind === 'manifest') return this.#manifest(repository, reference);
    if (entry.kind === 'blob') return blobAnswer(repository, reference);
    if (entry.kind === 'tags') return tagsAnswer(repository, entry);
    if (entry.kind === 'referrers' && this.#options.referrers !== false) {
      return referrersAnswer(repository, reference, entry);
    }
    return errorAnswer(404, 'NAME_UNKNOWN');
  }

  #manifest(repository: Repository, reference: string): Answer {
    const manifest = repository.manifests.get(repository.tags.get(reference) ?? reference);
    if (!manifest) return errorAnswer(404, 'MANIFEST_UNKNOWN');
    const headers: Record<string, string> = { 'content-type': manifest.mediaType };
    if (this.#options.digestHeader !== false) headers['docker-content-digest'] = manifest.digest;
    return { status: 200, headers, body: manifest.bytes };
  }

  #repository(name: string): Repository {
    const known = this.#repositories.get(name);
    if (known) return known;
    const fresh: Repository = { blobs: new Map(), manifests: new Map(), tags: new Map() };
    this.#repositories.set(name, fresh);
    return fresh;
  }
}

function blobAnswer(repository: Repository, digest: string): Answer {
  const body = repository.blobs.get(digest);
  if (!body) return errorAnswer(404, 'BLOB_UNKNOWN');
  const headers = { 'content-type': 'application/octet-stream', 'docker-content-digest': digest };
  return { status: 200, headers, body, ranged: true };
}

function tagsAnswer(repository: Repository, entry: JournalEntry): Answer {
  const { n, last = '' } = entry.query;
  const rest = [...repository.tags.keys()].sort().filter((tag) => tag > last);
  const page = n === undefined ? rest : rest.slice(0, Number(n));
  const headers: Record<string, string> = {};
  if (page.length < rest.length) {
    headers['link'] = `</v2/${entry.repository}/tags/list?n=${n}&last=${page.at(-1)}>; rel="next"`;
  }
  return jsonAnswer(200, { name: entry.repository, tags: page }, headers);
}

type ReferringManifest = { artifactType?: string; subject?: { digest?: string } };

function referrersAnswer(repository: Repository, subject: string, entry: JournalEntry): Answer {
  const wanted = entry.query['artifactType'];
  const manifests = [...repository.manifests.values()].flatMap((manifest) => {
    const document = parseOrUndefined(manifest.bytes);
    const fits = wanted === undefined || document?.artifactType === wanted;
    if (document?.subject?.digest !== subject || !fits) return [];
    const { mediaType, digest, bytes } = manifest;
    return [{ mediaType, digest, size: bytes.length, artifactType: document.artifactType }];
  });
  const mediaType = 'application/vnd.oci.image.index.v1+json';
  const headers: Record<string, string> = { 'content-type': mediaType };
  if (wanted !== undefined) headers['oci-filters-applied'] = 'artifactType';
  return jsonAnswer(200, { schemaVersion: 2, mediaType, manifests }, headers);
}

function parseOrUndefined(bytes: Buffer): ReferringManifest | undefined {
  try {
    return JSON.parse(bytes.toString()) as ReferringManifest;
  } catch {
    return undefined;
  }
}

/** A manifest that is served under another digest than its own, with the lie in the header. */
export function forgedManifest(manifest: TestManifest, bytes: Buffer): TestManifest {
  if (digestOf(bytes) === manifest.digest) throw new Error('these bytes are not forged');
  return { digest: manifest.digest, bytes, mediaType: manifest.mediaType };
}
