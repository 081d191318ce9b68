import net from 'node:net';
import { makeGate, within } from './gate.ts';

/** How a {@link download} ended. */
export type DownloadEnd = 'complete' | 'cut' | 'left' | 'wrong bytes' | `status ${number}`;

/** A cheap client: one raw connection that compares the body with what it must be while it arrives. */
export type Download = {
  /** Settles with the status when the headers are in. */
  readonly headers: Promise<number>;
  /** The value of `X-Cache`, once the headers are in. */
  readonly cache: string;
  /** Never rejects. */
  readonly ended: Promise<DownloadEnd>;
  /** Bytes of the body that arrived. */
  readonly length: number;
  /** Settles when this many bytes of the body have arrived. */
  received(bytes: number): Promise<void>;
  /** Closes the connection without reading on. */
  leave(): void;
  /** Starts reading, for a download opened with `reading: false`. */
  read(): void;
};

/**
 * Downloads a path and compares it with `expected`, reading into one reused buffer, so that dozens of clients fit
 * into a test process. With `reading: false` nothing is read beyond the headers until {@link Download.read}.
 */
export function download(
  origin: string,
  path: string,
  expected: Buffer,
  options: { reading?: boolean; headers?: Record<string, string> } = {},
): Download {
  const { hostname, port, host } = new URL(origin);
  const lines = Object.entries({ host, connection: 'close', ...options.headers });
  const state = { head: '', status: 0, cache: '', length: 0, right: true, left: false };
  const headers = Promise.withResolvers<number>();
  const ended = Promise.withResolvers<DownloadEnd>();
  const waiting: { bytes: number; gate: ReturnType<typeof makeGate> }[] = [];
  const take = (chunk: Buffer) => {
    state.right &&= chunk.equals(expected.subarray(state.length, state.length + chunk.length));
    state.length += chunk.length;
    for (const { bytes, gate } of waiting) if (state.length >= bytes) gate.open();
  };
  const socket = net.connect({
    host: hostname,
    port: Number(port),
    onread: {
      buffer: Buffer.alloc(256 * 1024),
      callback: (size, buffer) => {
        const chunk = Buffer.from(buffer.buffer, buffer.byteOffset, size);
        if (state.status !== 0) {
          take(chunk);
          return true;
        }
        state.head += chunk.toString('latin1');
        const end = state.head.indexOf('\r\n\r\n');
        if (end < 0) return true;
        const rest = Buffer.from(state.head.slice(end + 4), 'latin1');
        state.status = Number(state.head.slice(9, 12));
        state.cache = /^x-cache: *(\S+)/im.exec(state.head.slice(0, end))?.[1] ?? '';
        headers.resolve(state.status);
        if (state.status < 300) take(rest);
        return options.reading !== false;
      },
    },
  });
  socket.write(
    `GET ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
  );
  socket.on('error', () => {});
  socket.once('close', () => {
    headers.resolve(state.status);
    ended.resolve(endOf(state, expected.length));
    for (const { gate } of waiting) gate.open();
  });
  return {
    headers: headers.promise,
    ended: ended.promise,
    get cache() {
      return state.cache;
    },
    get length() {
      return state.length;
    },
    async received(bytes) {
      const gate = makeGate();
      waiting.push({ bytes, gate });
      if (state.length >= bytes || socket.destroyed) gate.open();
      await within(gate.opened, () => `${bytes} bytes of ${path}, had ${state.length}`);
      if (state.length < bytes) throw new Error(`${path} ended after ${state.length} of ${bytes} bytes`);
    },
    leave() {
      state.left = true;
      socket.destroy();
    },
    read: () => socket.resume(),
  };
}

function endOf(
  state: { status: number; length: number; right: boolean; left: boolean },
  size: number,
): DownloadEnd {
  if (state.left) return 'left';
  if (state.status >= 300) return `status ${state.status}`;
  if (!state.right || state.length > size) return 'wrong bytes';
  return state.length === size ? 'complete' : 'cut';
}
