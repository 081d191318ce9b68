/** What one pull made of it. */
export type Pulled = {
  /** The digests by which the client knows the image now; empty when the pull failed. */
  readonly digests: readonly string[];
  /** Whether the client reported success. */
  readonly ok: boolean;
  /** What a person would have read: both streams. */
  readonly said: string;
};

/** A real container client with private storage, which is told of the server under test and of nothing else. */
export type Client = {
  readonly name: string;
  /**
   * Pulls an image, by its own name (`docker.io/library/app:1.0`) wherever the client can be configured with a mirror,
   * through the server's prefix where it cannot. The signal ends it the hard way, as a failed pull.
   */
  pull(reference: string, signal?: AbortSignal): Promise<Pulled>;
  /** Pulls `SERVER/reference`, as a person does who has configured nothing. */
  pullByPrefix(reference: string): Promise<Pulled>;
  /** Forgets the image and its layers. */
  remove(reference: string): Promise<void>;
  /** Runs a pulled image without a network and returns what it prints; absent where this machine cannot run it. */
  readonly run?: (reference: string) => Promise<string>;
  /** Ends its processes; its files stay. */
  stop(): Promise<void>;
  /** What its daemon logged so far. */
  log(): string;
};

/** Where a client works and what it pulls through. */
export type ClientOptions = {
  /** An existing directory of its own, an absolute path. */
  readonly directory: string;
  /** `127.0.0.1:PORT` of the server under test. */
  readonly server: string;
};

/** How long one pull may take, in milliseconds. */
export const pullTimeout = 180_000;
