import { onTestFinished } from 'vitest';
import { type Answer, errorAnswer } from './fake-answer.ts';
import { FakeAuth, type FakeAuthOptions } from './fake-auth.ts';
import { type ContentOptions, FakeContent } from './fake-content.ts';
import type { Fault, Script } from './fake-faults.ts';
import { FakeServer, type TlsFiles } from './fake-server.ts';
import { blobsOf, type TestImage, type TestIndex } from './image.ts';
import type { Journal, JournalEntry } from './journal.ts';

/** What a fake upstream is like. */
export type FakeUpstreamOptions = ContentOptions & {
  readonly auth?: FakeAuthOptions;
  /** Blobs are answered with this redirect to another origin, as cloud registries do. */
  readonly redirectBlobs?: 301 | 302 | 303 | 307 | 308;
  readonly tls?: TlsFiles;
  /** `false`: answers 405 on HEAD. */
  readonly head?: boolean;
};

/** A registry on a loopback port, in this process, that does what the test says. */
export type FakeUpstream = {
  /** The origin, without a trailing slash. */
  readonly url: string;
  /** `host:port`. */
  readonly host: string;
  readonly journal: Journal;
  readonly content: FakeContent;
  /** The origin behind `redirectBlobs`; like a real one, it refuses requests that carry `Authorization`. */
  readonly cdn: FakeServer;
  /** Gives a repository an image or an index with all it names, and points tags at it. */
  add(repository: string, image: TestImage | TestIndex, ...tags: string[]): void;
  /** Puts a fault in place. */
  script(fault: Fault): Script;
  /** Takes all faults away. */
  heal(): void;
  /** Refuses connections and cuts those that are open, until {@link FakeUpstream.accept}. */
  refuse(): Promise<void>;
  accept(): Promise<void>;
  /** Declares the bearer tokens given out so far expired. */
  expireTokens(): void;
  close(): Promise<void>;
};

/** Opens a fake upstream that ends with the test. */
export async function startFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const upstream = await openFakeUpstream(options);
  onTestFinished(() => upstream.close());
  return upstream;
}

/** Opens a fake upstream that the caller closes. */
export async function openFakeUpstream(options: FakeUpstreamOptions = {}): Promise<FakeUpstream> {
  const content = new FakeContent(options);
  const cdn = await FakeServer.open((entry) => cdnAnswer(content, entry));
  const auth = options.auth && new FakeAuth(options.auth, () => server.url);
  const server = await FakeServer.open(
    (entry) => {
      if (entry.kind === 'token') return auth?.token(entry) ?? errorAnswer(404, 'NAME_UNKNOWN');
      const refusal = auth?.check(entry);
      if (refusal) return refusal;
      if (entry.method === 'HEAD' && options.head === false) return errorAnswer(405, 'UNSUPPORTED');
      const found = content.answer(entry);
      const redirected = options.redirectBlobs && entry.kind === 'blob' && found.status === 200;
      return redirected ? redirectAnswer(options.redirectBlobs, cdn, entry) : found;
    },
    options.tls ? { tls: options.tls } : {},
  );
  return {
    get url() {
      return server.url;
    },
    get host() {
      return server.host;
    },
    journal: server.journal,
    content,
    cdn,
    add(repository, image, ...tags) {
      const images = 'images' in image ? image.images : [image];
      for (const { manifest, ...rest } of images) {
        content.addManifest(repository, manifest);
        for (const blob of blobsOf({ manifest, ...rest })) content.addBlob(repository, blob);
      }
      content.addManifest(repository, image.manifest, ...tags);
    },
    script: (fault) => server.script(fault),
    heal() {
      server.heal();
      cdn.heal();
    },
    refuse: () => server.refuse(),
    accept: () => server.accept(),
    expireTokens: () => auth?.expireTokens(),
    async close() {
      await Promise.all([server.close(), cdn.close()]);
    },
  };
}

function redirectAnswer(status: number, cdn: FakeServer, entry: JournalEntry): Answer {
  const location = `${cdn.url}/v2/${entry.repository}/blobs/${entry.reference}?X-Amz-Signature=signed-secret`;
  return { status, headers: { location } };
}

function cdnAnswer(content: FakeContent, entry: JournalEntry): Answer {
  if (entry.headers.authorization) return errorAnswer(400, 'UNSUPPORTED');
  return content.answer(entry);
}
