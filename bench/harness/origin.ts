import { mkdirSync } from 'node:fs';
import { open, readFile, truncate } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { blobPath, type Image, pushImage } from './images.ts';
import { startDockerRegistry, startNginx } from './peers.ts';
import { freePort, type Sandbox, type Server } from './sandbox.ts';

/** What one party asked of its upstream. */
export type Traffic = { requests: number; blobBytes: (image: Image) => number };

/** A party's own door to the origin: it counts, and may hold each connection to `bytesPerSecond`. */
export type Gate = {
  readonly url: string;
  /** Waits until no request is under way, then returns what came since the last call. */
  settle(): Promise<Traffic>;
};

/**
 * The upstream of the cold tests. A docker-registry holds the images and answers everything but blob bytes;
 * those an nginx in front sends straight from the registry's own files with sendfile, as a CDN would. So the
 * origin costs little beside the caches measured, and the access log counts every byte that left it.
 */
export class Origin {
  readonly #sandbox: Sandbox;
  readonly #registry: Server;
  /** The registry's root directory: another process may read it. */
  readonly storage: string;
  readonly #images = new Map<string, Image>();

  private constructor(sandbox: Sandbox, registry: Server, storage: string) {
    this.#sandbox = sandbox;
    this.#registry = registry;
    this.storage = storage;
  }

  static async start(sandbox: Sandbox): Promise<Origin> {
    const storage = sandbox.path('origin');
    mkdirSync(storage);
    const registry = await startDockerRegistry(sandbox, { storage, logging: 'error' });
    return new Origin(sandbox, registry, storage);
  }

  /** The origin without a gate. */
  get url(): string {
    return this.#registry.url;
  }

  /** An image with layers of these sizes (bytes), on top of those of `base`; made once a run and name. */
  async image(name: string, layerSizes: readonly number[], base?: Image): Promise<Image> {
    const known = this.#images.get(name);
    if (known) return known;
    const image = await pushImage(this.#sandbox, this.#registry.url, {
      repository: `library/${name}`,
      layerSizes,
      ...(base && { base }),
    });
    this.#images.set(name, image);
    return image;
  }

  /** The file that holds a blob or a manifest. */
  file(digest: string): string {
    const hex = digest.slice('sha256:'.length);
    return `${this.storage}/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`;
  }

  /** Opens one gate; the caller stops it. */
  async gate(options: { bytesPerSecond?: number } = {}): Promise<Gate & { stop(): Promise<void> }> {
    const url = `http://127.0.0.1:${await freePort()}`;
    const log = this.#sandbox.path('gate.log');
    const limit = options.bytesPerSecond === undefined ? '' : `limit_rate ${options.bytesPerSecond};`;
    const server = `server {
      listen ${url.slice('http://'.length)}; access_log ${log} bytes; ${limit}
      location = /gate-status { stub_status; access_log off; limit_rate 0; }
      location / { proxy_pass ${this.#registry.url}; proxy_set_header Host $http_host; proxy_http_version 1.1; }
      location ~ "^/v2/.+/blobs/sha256:(([0-9a-f]{2})[0-9a-f]{62})$" {
        alias ${this.storage}/docker/registry/v2/blobs/sha256/$2/$1/data;
        add_header Docker-Content-Digest sha256:$1;
      }
    }`;
    const nginx = await startNginx(this.#sandbox, { name: 'gate', url, servers: [server] });
    await (await open(log, 'a')).close();
    await truncate(log);
    const settle = async (): Promise<Traffic> => {
      await idle(url);
      const lines = (await readFile(log, 'utf8')).split('\n').filter(Boolean);
      await truncate(log);
      return { requests: lines.length, blobBytes: (image) => countBlobBytes(lines, image) };
    };
    return { url, settle, stop: () => nginx.stop() };
  }
}

/** Bytes of the image's layers that left the gate, whichever request carried them. */
function countBlobBytes(lines: readonly string[], image: Image): number {
  const paths = new Set(image.layers.map((layer) => blobPath(image, layer)));
  return lines.reduce((sum, line) => {
    const [method, , bytes, path] = line.split(' ');
    return method === 'GET' && paths.has(path ?? '') ? sum + Number(bytes) : sum;
  }, 0);
}

/** Returns once the gate has had nothing but our own question in hand for a quarter of a second. */
async function idle(url: string): Promise<void> {
  const deadline = Date.now() + 120_000;
  for (let quiet = 0; quiet < 5; ) {
    if (Date.now() > deadline) throw new Error('the upstream never came to rest');
    const status = await (await fetch(`${url}/gate-status`)).text();
    const [, reading, writing] = /Reading: (\d+) Writing: (\d+)/.exec(status) ?? [];
    quiet = Number(reading) === 0 && Number(writing) <= 1 ? quiet + 1 : 0;
    await delay(50);
  }
}
