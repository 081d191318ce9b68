/**
 * A process of its own: an HTTP proxy before one upstream, on which blobs travel as over a bad line. Run as
 * `node road-process.ts '{"port": …, "upstream": "http://…", …}'`, see {@link RoadCommand}.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import { setTimeout as delay } from 'node:timers/promises';
import type { RoadCommand, RoadTraffic } from './road-messages.ts';

const command = JSON.parse(process.argv[2] ?? '') as RoadCommand;
const { bytesPerSecond = Infinity, totalBytesPerSecond = Infinity, cutEvery = Infinity } = command;

/** Pieces small enough for a pace without visible steps. */
const pieceSize = 32 * 1024;

/** When each connection, and all together, may send again; in milliseconds. */
const freeAt = new WeakMap<object, number>();
const everybody = {};
let traffic: RoadTraffic = { requests: 0, blobBytes: 0, cuts: 0 };

const server = createServer({ highWaterMark: 4 * pieceSize }, (incoming, outgoing) => {
  if (incoming.url === '/road-traffic') {
    outgoing.end(JSON.stringify(traffic));
    traffic = { requests: 0, blobBytes: 0, cuts: 0 };
    return;
  }
  const { method, headers, url = '' } = incoming;
  const onward = request(new URL(url, command.upstream), { method, headers, agent: false });
  onward.on('error', () => outgoing.destroy());
  onward.on('response', (answer: IncomingMessage) => {
    outgoing.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
    if (method !== 'GET' || !url.includes('/blobs/')) answer.pipe(outgoing);
    else passOn(answer, outgoing).catch(() => outgoing.destroy());
  });
  outgoing.on('close', () => onward.destroy());
  incoming.pipe(onward);
});
server.keepAliveTimeout = 60_000;
server.listen(command.port, '127.0.0.1');

async function passOn(answer: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const { socket } = outgoing;
  traffic.requests += 1;
  let left = cutEvery;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    for (let at = 0; at < chunk.length; at += pieceSize) {
      const piece = chunk.subarray(at, Math.min(at + pieceSize, chunk.length, at + left));
      if (socket) await turn(socket, piece.length, bytesPerSecond);
      await turn(everybody, piece.length, totalBytesPerSecond);
      if (outgoing.destroyed) return;
      traffic.blobBytes += piece.length;
      left -= piece.length;
      const room = outgoing.write(piece);
      if (left === 0) {
        traffic.cuts += 1;
        socket?.destroySoon();
        return;
      }
      if (!room) await drained(outgoing);
    }
  }
  outgoing.end();
}

/** Waits until the pace leaves room; what was not used is not saved up for a burst. */
async function turn(who: object, bytes: number, pace: number): Promise<void> {
  if (pace === Infinity) return;
  const now = performance.now();
  // Timers are late by a millisecond or two: that much may be caught up.
  const start = Math.max(now - 10, freeAt.get(who) ?? 0);
  freeAt.set(who, start + (bytes / pace) * 1000);
  if (start > now) await delay(start - now);
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      outgoing.off('drain', settle);
      outgoing.off('close', settle);
      resolve();
    };
    outgoing.on('drain', settle);
    outgoing.on('close', settle);
  });
}
