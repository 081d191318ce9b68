import type { ServerResponse } from 'node:http';
import { type Fault, type Offset, offsetIn, type ScriptState } from './fake-faults.ts';
import type { Journal, JournalEntry } from './journal.ts';

/** What a fake server is about to answer, before faults. */
export type Answer = {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Buffer;
  /** Honours Range requests on this body. */
  readonly ranged?: boolean;
  /** Authentication: faults neither apply to it nor count it. */
  readonly beforeFaults?: boolean;
};

/** A JSON answer. */
export function jsonAnswer(status: number, document: unknown, headers: Record<string, string> = {}): Answer {
  const body = Buffer.from(JSON.stringify(document));
  return { status, headers: { 'content-type': 'application/json', ...headers }, body };
}

/** An OCI error answer. */
export function errorAnswer(status: number, code: string, headers: Record<string, string> = {}): Answer {
  return jsonAnswer(status, { errors: [{ code, message: `upstream says ${code}` }] }, headers);
}

const chunkSize = 256 * 1024;

/** Sends an answer with a fault applied, and keeps the journal entry up to date. */
export async function sendAnswer(
  response: ServerResponse,
  answer: Answer,
  context: { entry: JournalEntry; journal: Journal; script: ScriptState | undefined; die: () => void },
): Promise<void> {
  const { entry, journal, script, die } = context;
  const fault = script?.fault ?? {};
  const gone = new Promise<void>((resolve) => response.once('close', resolve));
  response.once('close', () => {
    entry.state = response.writableFinished && entry.state === 'open' ? 'done' : 'cut';
    journal.touch();
  });
  if (script && (fault.hold || fault.hang)) await script.waitHere(gone);
  if (fault.hang) return;
  if (fault.reset) {
    response.socket?.resetAndDestroy();
    return;
  }
  const plan = applyFault(answer, fault, entry);
  if (response.destroyed) return;
  entry.status = plan.status;
  response.writeHead(plan.status, plan.headers);
  journal.touch();
  if (entry.method === 'HEAD' || plan.body.length === 0) {
    response.end();
    return;
  }
  response.flushHeaders();
  await sendBody(response, plan, { entry, journal, script, fault, gone, die });
}

/** An answer after faults: `body` is the part to be sent of a representation of `size` bytes, from `start` on. */
type Plan = {
  status: number;
  headers: Record<string, string>;
  body: Buffer;
  start: number;
  size: number;
};

function applyFault(usual: Answer, fault: Fault, entry: JournalEntry): Plan {
  const failing = fault.status !== undefined && fault.status >= 400;
  const answer = failing ? errorAnswer(fault.status, 'UNKNOWN') : usual;
  let status = fault.status ?? answer.status;
  const headers: Record<string, string> = { ...answer.headers };
  let body = fault.body === undefined ? (answer.body ?? Buffer.alloc(0)) : Buffer.from(fault.body);
  let start = 0;
  if (fault.redirectTo) {
    status = 307;
    headers['location'] = fault.redirectTo;
    body = Buffer.alloc(0);
  }
  if (fault.truncateTo !== undefined) body = body.subarray(0, offsetIn(body.length, fault.truncateTo));
  const size = body.length;
  if (answer.ranged && status === 200) {
    headers['accept-ranges'] = 'bytes';
    const range = fault.noRange ? undefined : parseRange(entry.headers.range, body.length);
    if (range === 'unsatisfiable') {
      status = 416;
      headers['content-range'] = `bytes */${body.length}`;
      body = Buffer.alloc(0);
    } else if (range) {
      status = 206;
      headers['content-range'] = `bytes ${range.start}-${range.end - 1}/${body.length}`;
      start = range.start;
      body = body.subarray(range.start, range.end);
    }
  }
  if (!fault.chunked) headers['content-length'] = String(body.length);
  for (const [name, value] of Object.entries(fault.headers ?? {})) {
    delete headers[name.toLowerCase()];
    if (value !== undefined) headers[name.toLowerCase()] = value;
  }
  return { status, headers, body, start, size };
}

function parseRange(header: string | undefined, size: number) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (match[1] === '' && match[2] === '')) return undefined;
  const [, first = '', last = ''] = match;
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first);
  const end = first === '' || last === '' ? size : Math.min(size, Number(last) + 1);
  return start >= size || start >= end ? ('unsatisfiable' as const) : { start, end };
}

type BodyContext = {
  entry: JournalEntry;
  journal: Journal;
  script: ScriptState | undefined;
  fault: Fault;
  gone: Promise<void>;
  die: () => void;
};

async function sendBody(response: ServerResponse, plan: Plan, context: BodyContext): Promise<void> {
  const { entry, journal, script, fault, gone, die } = context;
  const at = (offset: Offset | undefined) => (offset === undefined ? undefined : offsetIn(plan.size, offset));
  const [cutAt, dieAt, stallAt, corruptAt] = [fault.cutAt, fault.dieAt, fault.stallAt, fault.corruptAt].map(
    at,
  );
  const end = plan.start + plan.body.length;
  const last = cutAt ?? dieAt ?? end + 1;
  const cut = Math.min(last, plan.start + (fault.cutAfter ?? plan.body.length + 1));
  const stop = Math.min(end, Math.max(cut, plan.start));
  let position = plan.start;
  while (position < stop && !response.destroyed) {
    if (script && position === stallAt) await script.waitHere(gone);
    if (response.destroyed) break;
    const next = nextStop(position, stop, stallAt, fault);
    const piece = plan.body.subarray(position - plan.start, next - plan.start);
    const flowing = response.write(corrupted(piece, position, corruptAt));
    position = next;
    journal.wrote(entry, piece.length);
    if (!flowing) await Promise.race([drained(response), gone]);
    const wait = script?.pauseAfter(piece.length) ?? 0;
    if (wait > 0) await pause(wait, gone);
  }
  if (script && position === stallAt && !response.destroyed) await script.waitHere(gone);
  if (response.destroyed) return;
  if (cut > end) {
    response.end();
    return;
  }
  entry.state = 'cut';
  journal.touch();
  if (dieAt !== undefined) die();
  // destroySoon flushes what was written and then closes: the client sees exactly the bytes before the cut.
  response.socket?.destroySoon();
}

function nextStop(position: number, stop: number, stallAt: number | undefined, fault: Fault): number {
  const pace = Math.min(fault.bytesPerSecond ?? Infinity, fault.totalBytesPerSecond ?? Infinity);
  const size = pace < Infinity ? Math.max(1, Math.ceil(pace / 50)) : chunkSize;
  const stall = stallAt !== undefined && stallAt > position ? stallAt : stop;
  return Math.min(position + size, stop, stall);
}

function corrupted(chunk: Buffer, position: number, corruptAt: number | undefined): Buffer {
  const index = (corruptAt ?? -1) - position;
  const byte = chunk[index];
  if (byte === undefined) return chunk;
  const copy = Buffer.from(chunk);
  copy[index] = byte ^ 0xff;
  return copy;
}

function drained(response: ServerResponse): Promise<void> {
  return new Promise((resolve) => response.once('drain', resolve));
}

async function pause(ms: number, gone: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  await Promise.race([
    gone,
    new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms);
    }),
  ]);
  clearTimeout(timer);
}
