import { createHash } from 'node:crypto';
import SqliteDatabase, { type Database } from 'better-sqlite3';
import { schema5 } from './schema-5.ts';

/** How much of everything a generated index holds. */
export type IndexSize = {
  /** Images, each of which has the one shared base layer; every twentieth is followed by an index over two of them. */
  readonly images: number;
  /** Layers of its own that an image has, beside the base layer and the config. */
  readonly layers: number;
  /** Blobs that a repository may read although no manifest of it names them. */
  readonly vouched: number;
  readonly repositories: number;
  /** Images of the small repository. */
  readonly small: number;
  /** Images of the big repository, and tags of each. */
  readonly big: number;
  readonly tagsEach: number;
  /** Images and tags of the repository whose tags move, and moves of all of them. */
  readonly moving: { readonly images: number; readonly tags: number; readonly events: number };
  /** What an upstream listed as referring to manifests of the big repository. */
  readonly referrers: number;
};

/** The size that HOUSE's and the benchmark's promises speak of. */
export const fullSize: IndexSize = {
  images: 120_000,
  layers: 6,
  vouched: 160_000,
  repositories: 1_000,
  small: 500,
  big: 20_000,
  tagsEach: 5,
  moving: { images: 1_000, tags: 100, events: 500_000 },
  referrers: 100_000,
};

/** A fiftieth of it. */
export const shortSize: IndexSize = {
  images: 2_400,
  layers: 6,
  vouched: 3_200,
  repositories: 40,
  small: 100,
  big: 400,
  tagsEach: 5,
  moving: { images: 100, tags: 20, events: 10_000 },
  referrers: 2_000,
};

/** What a generated index holds that is measured. All repositories are of {@link registry}. */
export type Landmarks = {
  /** The layer that every image has. */
  readonly base: string;
  readonly small: string;
  readonly big: string;
  readonly moving: string;
  /** Manifests of the big repository: of indexes, of images, and layers that one image has alone. */
  readonly manifests: readonly string[];
  readonly layers: readonly string[];
  readonly tags: readonly string[];
  /** A tag of the repository whose tags move. */
  readonly movingTag: string;
};

export const registry = 'registry.example';

const at = 1_760_000_000_000;
const imageType = 'application/vnd.oci.image.manifest.v1+json';
const indexType = 'application/vnd.oci.image.index.v1+json';
const configType = 'application/vnd.oci.image.config.v1+json';
const layerType = 'application/vnd.oci.image.layer.v1.tar+gzip';
const upstream = 'https://registry.example';

type Child = { digest: string; role: string; size: number; mediaType: string; platform: string | null };

/** The same digest for the same words, on every machine. */
function digestOf(words: string): string {
  return `sha256:${createHash('sha256').update(words).digest('hex')}`;
}

/**
 * Fills an empty database with the index of an entrepot of schema 5 that has served for years: with the same
 * content whenever the size is the same.
 */
export function generateIndex(database: Database, size: IndexSize): Landmarks {
  database.exec(schema5);
  database.pragma('user_version = 5');
  return database.transaction(() => {
    const indexes = setAside(database);
    const landmarks = new Generator(database, size).run();
    for (const table of staged) {
      database.exec(`INSERT INTO main.${table} SELECT * FROM temp.${table} ORDER BY 1, 2, 3`);
      database.exec(`DROP TABLE temp.${table}`);
    }
    for (const index of indexes) database.exec(index);
    return landmarks;
  })();
}

/** Writes a generated index to a new file. */
export function generateIndexFile(file: string, size: IndexSize): Landmarks {
  const database = new SqliteDatabase(file);
  database.pragma('journal_mode = OFF');
  database.pragma('synchronous = OFF');
  database.pragma('temp_store = MEMORY');
  database.pragma('cache_size = -200000');
  try {
    return generateIndex(database, size);
  } finally {
    database.close();
  }
}

/** Tables that are filled in the order of their keys, since random places of a large file are slow to write. */
const staged = ['manifest', 'child', 'link', 'blob', 'tag_digest', 'referrer'];

/** Puts tables of the same names before those of the schema, and removes its indexes; the answer makes them again. */
function setAside(database: Database): readonly string[] {
  for (const table of staged) database.exec(`CREATE TEMP TABLE ${table} AS SELECT * FROM main.${table}`);
  const indexes = database
    .prepare<[], { name: string; sql: string }>(
      "SELECT name, sql FROM main.sqlite_schema WHERE type = 'index' AND sql IS NOT NULL",
    )
    .all();
  for (const { name } of indexes) database.exec(`DROP INDEX ${name}`);
  return indexes.map(({ sql }) => sql);
}

class Generator {
  readonly #size: IndexSize;
  readonly #insert;
  readonly #base = digestOf('base layer');
  readonly #manifests: string[] = [];
  readonly #layers: string[] = [];
  readonly #tags: string[] = [];
  #image = 0;

  constructor(database: Database, size: IndexSize) {
    this.#size = size;
    const into = (table: string, columns: string) => {
      const values = columns.replaceAll(/[a-z_]+/g, '?');
      return database.prepare(`INSERT INTO ${table} (${columns}) VALUES (${values})`);
    };
    this.#insert = {
      repository: into('repository', 'id, registry, name'),
      manifest: into('manifest', 'digest, media_type, bytes, stored_at'),
      child: into('child', 'parent, digest, role, size, media_type, platform'),
      link: into('link', 'repository, digest, size, media_type'),
      blob: into('blob', 'digest, size, stored_at'),
      tag: into('tag', 'repository, name, digest, upstream, checked_at, changed_at'),
      tagDigest: into('tag_digest', 'repository, digest, tag'),
      event: into('tag_event', 'repository, tag, action, old, new, upstream, at'),
      referrer: into('referrer', 'repository, digest, subject'),
      listing: into('listing', 'repository, name, body, media_type, checked_at'),
    };
  }

  run(): Landmarks {
    const { images, small, big, moving, repositories } = this.#size;
    this.#blob(this.#base);
    const bigImages = this.#repository(1, 'org/big', big);
    this.#tagBig(bigImages);
    this.#refer(bigImages);
    this.#tagOnce(2, this.#repository(2, 'org/small', small));
    this.#move(this.#repository(3, 'org/moving', moving.images));
    const rest = images - small - big - moving.images;
    const others = repositories - 3;
    for (let other = 0; other < others; other += 1) {
      const until = Math.floor((rest * (other + 1)) / others);
      const from = Math.floor((rest * other) / others);
      const id = other + 4;
      this.#tagOnce(id, this.#repository(id, `org/app-${other}`, until - from));
    }
    for (let vouched = 0; vouched < this.#size.vouched; vouched += 1) {
      const digest = digestOf(`vouched ${vouched}`);
      this.#blob(digest);
      this.#insert.link.run(4 + (vouched % others), digest, null, null);
    }
    return {
      base: this.#base,
      small: 'org/small',
      big: 'org/big',
      moving: 'org/moving',
      manifests: this.#manifests,
      layers: this.#layers,
      tags: this.#tags,
      movingTag: 't0',
    };
  }

  /** A repository with its images; the answer is what its tags may name. */
  #repository(id: number, name: string, images: number): readonly string[] {
    this.#insert.repository.run(id, registry, name);
    this.#insert.link.run(id, this.#base, 30_000_000, layerType);
    const made: string[] = [];
    for (let image = 0; image < images; image += 1) {
      const digest = this.#makeImage(id, made.at(-1));
      made.push(digest);
      if (id === 1) this.#manifests.push(digest);
      if (image % 20 === 19) this.#makeIndex(id, made.slice(-2));
    }
    return made;
  }

  #makeImage(repository: number, before: string | undefined): string {
    const number = this.#image;
    this.#image += 1;
    const child = (digest: string, role: string, size: number, mediaType: string): Child => {
      return { digest, role, size, mediaType, platform: null };
    };
    const own = [child(digestOf(`config ${number}`), 'config', 4_000, configType)];
    for (let layer = 0; layer < this.#size.layers; layer += 1) {
      own.push(child(digestOf(`layer ${number} ${layer}`), 'layer', 1_000_000 + layer, layerType));
    }
    for (const { digest, size, mediaType } of own) {
      this.#blob(digest);
      this.#insert.link.run(repository, digest, size, mediaType);
    }
    if (repository === 1) this.#layers.push(own[1]?.digest ?? '');
    const children = [...own, child(this.#base, 'layer', 30_000_000, layerType)];
    // One image in sixty refers to another.
    if (number % 60 === 59 && before !== undefined) children.push(child(before, 'subject', 2_000, imageType));
    return this.#manifest(repository, imageType, children);
  }

  #makeIndex(repository: number, images: readonly string[]): void {
    const children = images.map((digest, position) => {
      const platform = position === 0 ? 'linux/amd64' : 'linux/arm64';
      return { digest, role: 'manifest', size: 2_000, mediaType: imageType, platform };
    });
    this.#manifest(repository, indexType, children);
  }

  /** The bytes are about as many as a real manifest has, and have the digest. */
  #manifest(repository: number, mediaType: string, children: readonly Child[]): string {
    const layers = children.map(({ digest, size, mediaType: type }) => ({ mediaType: type, digest, size }));
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, layers }));
    const digest = digestOf(bytes.toString());
    this.#insert.manifest.run(digest, mediaType, bytes, at);
    this.#insert.link.run(repository, digest, bytes.length, mediaType);
    for (const child of children) {
      const { role, size, mediaType: type, platform } = child;
      this.#insert.child.run(digest, child.digest, role, size, type, platform);
    }
    return digest;
  }

  #blob(digest: string): void {
    this.#insert.blob.run(digest, 1_000_000, at);
  }

  /** The last tag of each image is a nightly one, the others are versions. */
  #tagBig(images: readonly string[]): void {
    const { tagsEach } = this.#size;
    images.forEach((digest, image) => {
      for (let tag = 0; tag < tagsEach; tag += 1) {
        const name = tag === tagsEach - 1 ? `nightly-${image}` : `v1.${image}.${tag}`;
        this.#tag(1, name, digest);
        this.#tags.push(name);
      }
    });
    const body = Buffer.from(JSON.stringify(this.#tags.toSorted()));
    this.#insert.listing.run(1, 'tags', body, 'application/json', at);
  }

  #refer(images: readonly string[]): void {
    for (let referrer = 0; referrer < this.#size.referrers; referrer += 1) {
      this.#insert.referrer.run(1, digestOf(`referrer ${referrer}`), images[referrer % images.length]);
    }
  }

  #tagOnce(repository: number, images: readonly string[]): void {
    images.forEach((digest, image) => {
      this.#tag(repository, `v2.${image}`, digest);
    });
  }

  #tag(repository: number, name: string, digest: string): void {
    this.#insert.tag.run(repository, name, digest, upstream, at, at);
    this.#insert.tagDigest.run(repository, digest, name);
    this.#insert.event.run(repository, name, 'moved', null, digest, upstream, at);
  }

  /** Tags that went round all images many times. */
  #move(images: readonly string[]): void {
    const { tags, events } = this.#size.moving;
    const served = new Set<string>();
    const now = new Map<string, string>();
    for (let event = 0; event < events; event += 1) {
      const name = `t${event % tags}`;
      const digest = images[(event * 7 + Math.floor(event / tags)) % images.length] ?? '';
      this.#insert.event.run(3, name, 'moved', now.get(name) ?? null, digest, upstream, at + event);
      now.set(name, digest);
      const key = `${digest} ${name}`;
      if (served.has(key)) continue;
      served.add(key);
      this.#insert.tagDigest.run(3, digest, name);
    }
    for (const [name, digest] of now) this.#insert.tag.run(3, name, digest, upstream, at, at + events);
  }
}
