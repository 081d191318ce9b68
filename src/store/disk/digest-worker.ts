import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import type { Digest, DigestAlgorithm } from '../../oci/digest.ts';
import type { DigestCommand, DigestReply } from './digest-messages.ts';
import { Ingest } from './ingest.ts';

/** The entry of the digest thread: hashes bytes, and writes them where they are to be kept. */

/** Bytes that come one after the other. */
type Stream = { take(bytes: Buffer): void; digest(): Promise<Digest>; close(): void };

if (parentPort === null) throw new Error('this file is started as a worker thread');
const port = parentPort;
const open = new Map<number, Stream>();

port.on('message', (command: DigestCommand) => {
  run(command).catch((error: NodeJS.ErrnoException) => {
    forget(command.id);
    reply({ id: command.id, kind: 'failed', code: error.code, message: error.message });
  });
});

async function run(command: DigestCommand): Promise<void> {
  const { id } = command;
  const stream = open.get(id);
  switch (command.kind) {
    case 'begin': {
      const { path, algorithm } = command;
      open.set(id, path === undefined ? hashing(algorithm) : writing(path, algorithm));
      return;
    }
    case 'bytes': {
      const { buffer, length } = command;
      try {
        stream?.take(Buffer.from(buffer, 0, length));
      } finally {
        reply({ id, kind: 'taken', buffer }, [buffer]);
      }
      return;
    }
    case 'end': {
      // One that failed has been answered.
      if (stream === undefined) return;
      const digest = await stream.digest();
      forget(id);
      reply({ id, kind: 'ended', digest });
      return;
    }
    case 'drop':
      forget(id);
      reply({ id, kind: 'dropped' });
      return;
    default:
      command satisfies never;
  }
}

function hashing(algorithm: DigestAlgorithm): Stream {
  const hash = createHash(algorithm);
  return {
    take: (bytes) => void hash.update(bytes),
    digest: async () => `${algorithm}:${hash.digest('hex')}` as Digest,
    close: () => undefined,
  };
}

function writing(path: string, algorithm: DigestAlgorithm): Stream {
  const ingest = Ingest.open(path, { algorithm, limit: Number.MAX_SAFE_INTEGER, resumable: false });
  let end = 0;
  return {
    take: (bytes) => {
      ingest.write(end, bytes);
      end += bytes.length;
    },
    digest: () => ingest.digest(),
    close: () => ingest.close(),
  };
}

function forget(id: number): void {
  open.get(id)?.close();
  open.delete(id);
}

function reply(message: DigestReply, transferred: readonly ArrayBuffer[] = []): void {
  port.postMessage(message, transferred);
}
