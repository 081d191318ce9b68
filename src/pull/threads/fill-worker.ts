import { parentPort } from 'node:worker_threads';
import { type Digest, digestAlgorithm } from '../../oci/digest.ts';
import { serveHash } from '../../store/disk/far-hash.ts';
import { Ingest } from '../../store/disk/ingest.ts';
import { Wire } from '../../upstream/wire/wire.ts';
import { type OpenFill, runFetch } from './fetch-task.ts';
import type { FillCommand, FillReply, Unaddressed } from './fill-messages.ts';
import { FillProgress } from './fill-progress.ts';

/** The entry of a fill worker: downloads, hashes and writes, so that the main thread only serves and steers. */

if (parentPort === null) throw new Error('this file is started as a worker thread');
const port = parentPort;
const wire = new Wire();
const fills = new Map<number, OpenFill>();

port.on('message', (command: FillCommand) => {
  const reply = (message: Unaddressed<FillReply>): void => {
    port.postMessage({ ...message, fill: command.fill, call: command.call });
  };
  run(command, reply).catch((error: NodeJS.ErrnoException) => {
    reply({ kind: 'failed', code: error.code, message: error.message });
  });
});

async function run(command: FillCommand, reply: (message: Unaddressed<FillReply>) => void): Promise<void> {
  if (command.kind === 'open') {
    const { path, digest, limit, sizeKnown, hasher } = command;
    const ingest = Ingest.open(path, { algorithm: digestAlgorithm(digest), limit, hasher });
    const progress = new FillProgress(command.progress);
    fills.set(command.fill, { ingest, digest, progress, limit, sizeKnown, fetches: new Map() });
    reply({ kind: 'opened', arrived: ingest.arrived });
    return;
  }
  if (command.kind === 'hash') {
    serveHash(command.path, command.algorithm, command.port);
    return;
  }
  const fill = fills.get(command.fill);
  if (fill === undefined) {
    // Its file could not be opened; closing it still has to be answered.
    if (command.kind === 'close') reply({ kind: 'done' });
    return;
  }
  switch (command.kind) {
    case 'fetch':
      reply({ kind: 'fetched', result: await runFetch(wire, fill, command, reply) });
      return;
    case 'stop-fetch':
      fill.fetches.get(command.slot)?.abort();
      return;
    case 'verify':
      reply({ kind: 'verified', found: await wrongDigest(fill) });
      return;
    case 'digests':
      reply({ kind: 'digests', digests: await fill.ingest.digestsOf(command.ranges) });
      return;
    case 'reset':
      fill.ingest.reset();
      reply({ kind: 'done' });
      return;
    case 'close':
      for (const fetch of fill.fetches.values()) fetch.abort();
      fills.delete(command.fill);
      fill.ingest.close();
      reply({ kind: 'done' });
      return;
    default:
      command satisfies never;
  }
}

/** The digest of the bytes, when it is not the one they should have. */
async function wrongDigest({ ingest, digest }: OpenFill): Promise<Digest | undefined> {
  const found = await ingest.digest();
  return found === digest ? undefined : found;
}
