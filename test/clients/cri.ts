import { once } from 'node:events';
import http2 from 'node:http2';
import net from 'node:net';
import type { Told } from './client.ts';

/** What kubelet takes out of an imagePullSecret. */
type PullSecret = { readonly username: string; readonly password: string };

const service = '/runtime.v1.ImageService';

/** Resolves when a container runtime that listens already answers for images: its plugin starts later than its socket. */
export async function criIsReady(socket: string, signal: AbortSignal): Promise<void> {
  while (!(await call(socket, 'ListImages', Buffer.alloc(0), signal)).ok) signal.throwIfAborted();
}

/**
 * Asks a container runtime for an image as kubelet does: `PullImage` of the Container Runtime Interface (api.proto of
 * k8s.io/cri-api), over gRPC on the runtime's socket. `said` is what a pod's events would show.
 */
export async function pullOverCri(
  socket: string,
  reference: string,
  secret: PullSecret | undefined,
  signal?: AbortSignal,
): Promise<Told> {
  return call(socket, 'PullImage', pullRequest(reference, secret), signal);
}

async function call(
  socket: string,
  method: string,
  message: Buffer,
  signal: AbortSignal | undefined,
): Promise<Told> {
  const session = http2.connect('http://localhost', { createConnection: () => net.connect(socket) });
  session.on('error', () => undefined);
  try {
    const headers = {
      ':method': 'POST',
      ':path': `${service}/${method}`,
      'content-type': 'application/grpc',
      te: 'trailers',
    };
    const stream = session.request(headers, signal ? { signal } : {});
    let status: string | undefined;
    let said = '';
    const note = (fields: http2.IncomingHttpHeaders) => {
      if (fields['grpc-status'] === undefined) return;
      status = String(fields['grpc-status']);
      said = decodeURIComponent(String(fields['grpc-message'] ?? ''));
    };
    stream.on('response', note).on('trailers', note).resume();
    stream.end(frame(message));
    await once(stream, 'close');
    return { ok: status === '0', said };
  } finally {
    session.destroy();
  }
}

/** `PullImageRequest`: the image's `image` is its field 1, the `auth` with a name and a password its field 2. */
function pullRequest(reference: string, secret: PullSecret | undefined): Buffer {
  const image = field(1, field(1, Buffer.from(reference)));
  if (secret === undefined) return image;
  const name = field(1, Buffer.from(secret.username));
  const password = field(2, Buffer.from(secret.password));
  return Buffer.concat([image, field(2, Buffer.concat([name, password]))]);
}

/** A length-delimited field of a protobuf message. */
function field(number: number, value: Buffer): Buffer {
  const length: number[] = [];
  let rest = value.length;
  for (; rest > 0x7f; rest >>>= 7) length.push((rest & 0x7f) | 0x80);
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length, rest]), value]);
}

/** One uncompressed gRPC message. */
function frame(message: Buffer): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}
