import fc from 'fast-check';
import { expect, test } from 'vitest';
import { blobPath, manifestPath, mustGet, repository } from '../helpers/cold-layer.ts';
import type { Fault } from '../helpers/fake-faults.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { within } from '../helpers/gate.ts';
import { makeImage, type TestBlob } from '../helpers/image.ts';
import { openFilesUnder } from '../helpers/leaks.ts';
import { makeJumpingClock } from '../helpers/manual-clock.ts';
import { patience } from '../helpers/patience.ts';
import { type Answer, request } from '../helpers/request.ts';
import { howOften } from '../helpers/runs.ts';
import { type RunningProxy, startProxy } from '../helpers/start-proxy.ts';

/** What is held back of a large blob until its digest is right; a blob up to `heldWhole` is, entirely. */
const held = 512 * 1024;
const heldWhole = 4 * 1024 * 1024;

/** A part of a whole; whole thousandths, since most doubles between 0 and 1 are next to nothing. */
const share = fc.nat(1_000).map((thousandths) => thousandths / 1_000);
const edge = fc.oneof(share, fc.constantFrom(0, 1));

type Client = {
  readonly from: number;
  readonly to: number;
  /** The part of its range that the first client has got, or is done, when this one comes; at once without it. */
  readonly comes: number | undefined;
  /** The part of its range after which it leaves, if it does. */
  readonly leaves: number | undefined;
};

const client: fc.Arbitrary<Client> = fc.record({
  from: edge,
  to: edge,
  comes: fc.option(edge, { nil: undefined, freq: 2 }),
  leaves: fc.option(share, { nil: undefined, freq: 2 }),
});

/** What one upstream does wrong: `passing` once each, in this order; `lasting` from then on. */
type Conduct = { readonly passing: readonly Fault[]; readonly lasting: Fault | undefined };

const passing: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 3, arbitrary: share.map((at): Fault => ({ cutAfter: at * 6_000_000 })) },
  share.map((at): Fault => ({ cutAt: `${at * 100}%` })),
  share.map((at): Fault => ({ stallAt: `${at * 100}%` })),
  fc.constantFrom<Fault>(
    { reset: true },
    { status: 503 },
    { noRange: true },
    { chunked: true },
    { status: 429, headers: { 'retry-after': '1' } },
    { body: '<html></html>', headers: { 'content-type': 'text/html' }, noRange: true },
  ),
);

const lasting: fc.Arbitrary<Fault> = fc.oneof(
  share.map((at): Fault => ({ corruptAt: `${at * 99}%` })),
  share.map((at): Fault => ({ truncateTo: `${at * 99}%` })),
  share.map((at): Fault => ({ cutAt: `${at * 99}%` })),
  fc.constantFrom<Fault>({ status: 404 }, { status: 503 }, { reset: true }, { noRange: true }),
);

const conduct: fc.Arbitrary<Conduct> = fc.record({
  passing: fc.array(passing, { maxLength: 3 }),
  lasting: fc.option(lasting, { nil: undefined, freq: 2 }),
});

/** Mostly at random; now and then none works. */
const conducts: fc.Arbitrary<[Conduct, Conduct, Conduct]> = fc.oneof(
  { weight: 5, arbitrary: fc.tuple(conduct, conduct, conduct) },
  {
    weight: 1,
    arbitrary: lasting.map((fault): [Conduct, Conduct, Conduct] => {
      const bad: Conduct = { passing: [], lasting: fault.noRange ? { status: 503 } : fault };
      return [bad, bad, bad];
    }),
  },
);

/** Slow enough for further connections to be opened, or as fast as it goes. */
const pace = fc.constantFrom(undefined, undefined, 3_000_000);

function misbehave(upstream: FakeUpstream, digest: string, conduct: Conduct, bytesPerSecond?: number): void {
  const match = { kind: 'blob', method: 'GET', reference: digest } as const;
  const always = { match, ...(bytesPerSecond !== undefined && { bytesPerSecond }) };
  upstream.script({ ...always, ...conduct.lasting });
  // The latest script that matches wins, so the first to happen is put in place last.
  for (const fault of conduct.passing.toReversed()) upstream.script({ ...always, ...fault, times: 1 });
}

const isHarmless = ({ lasting }: Conduct) => lasting === undefined || lasting.noRange === true;

type Range = { readonly start: number; readonly end: number };
type Outcome = { readonly answer: Answer | undefined; readonly range: Range; readonly left: boolean };

/** How far the first client is; the others come by it. */
class Progress {
  readonly #waiting: { readonly part: number; readonly come: () => void }[] = [];
  #part = 0;

  /** Notes that this part of the range has arrived; 1 also when no more is to be expected. */
  reach(part: number): void {
    this.#part = Math.max(this.#part, part);
    for (const { part, come } of this.#waiting) if (part <= this.#part) come();
  }

  /** Waits for the part; for 0, that is the first byte. */
  reached(part: number): Promise<void> {
    return new Promise((come) => {
      if (this.#part > 0 && part <= this.#part) come();
      else this.#waiting.push({ part, come });
    });
  }
}

/** All clients of a run, in the order of their plans. */
function visitAll(proxy: RunningProxy, layer: TestBlob, plans: readonly Client[]): Promise<Outcome[]> {
  const first = new Progress();
  const visits = plans.map(async (plan, index) => {
    if (index > 0) {
      if (plan.comes !== undefined) await first.reached(plan.comes);
      return visit(proxy, layer, plan);
    }
    const outcome = await visit(proxy, layer, plan, (part) => first.reach(part));
    first.reach(1);
    return outcome;
  });
  return Promise.all(visits);
}

/** One client: asks for its range, perhaps leaves. Never rejects. */
async function visit(
  proxy: RunningProxy,
  layer: TestBlob,
  plan: Client,
  got: (part: number) => void = () => {},
): Promise<Outcome> {
  const size = layer.bytes.length;
  const [from, to] = [Math.min(plan.from, plan.to), Math.max(plan.from, plan.to)];
  const start = Math.min(Math.floor(from * size), size - 1);
  const range = { start, end: Math.max(Math.floor(to * size), start + 1) };
  const enough = (plan.leaves ?? 2) * (range.end - range.start);
  let left = false;
  const answer = await request(proxy.url, blobPath(layer.digest), {
    headers: { range: `bytes=${range.start}-${range.end - 1}` },
    onChunk: (length, response) => {
      got(length / (range.end - range.start));
      if (length < enough) return;
      left = plan.leaves !== undefined;
      if (left) response.destroy();
    },
  }).catch(() => undefined);
  return { answer, range, left };
}

const all = { from: 0, to: 1, comes: undefined, leaves: undefined };
const well: Conduct = { passing: [], lasting: undefined };
const down: Conduct = { passing: [], lasting: { status: 503 } };
const unhurried: [undefined, undefined, undefined] = [undefined, undefined, undefined];

/** Runs that show each way in which a client's visit may end, however few are drawn. */
const eachEnding: [
  Client[],
  70_000 | 6_000_000,
  [Conduct, Conduct, Conduct],
  [undefined, undefined, undefined],
][] = [
  [[all], 70_000, [well, well, well], unhurried],
  [[all], 70_000, [down, down, down], unhurried],
  [[{ ...all, leaves: 0.1 }], 6_000_000, [well, well, well], unhurried],
];

test('whatever the upstreams do, each client gets the right bytes or an error, and with one that works the right bytes', async () => {
  const upstreams = await Promise.all([1, 2, 3].map(() => startFakeUpstream()));
  const clock = makeJumpingClock();
  const proxy = await startProxy({
    registries: { 'ghcr.io': upstreams.map(({ url }) => ({ url, stallTimeout: 250 })) },
    clock,
    allowFills: true,
  });
  let runs = 0;
  const seen = { complete: 0, failed: 0, left: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(client, { minLength: 1, maxLength: 5 }),
      fc.constantFrom(1, 70_000, 3_000_000, 6_000_000),
      conducts,
      fc.tuple(pace, pace, pace),
      async (clients, size, each, paces) => {
        const image = makeImage({ seed: `run-${runs++}`, layers: [size] });
        const layer = image.layers[0] as TestBlob;
        for (const upstream of upstreams) upstream.add(repository, image);
        // Whatever was held against an upstream in the run before is forgotten by now.
        clock.advance(3 * 24 * 3600_000);
        await mustGet(proxy.url, manifestPath(image.manifest.digest));
        for (const [index, upstream] of upstreams.entries()) {
          misbehave(upstream, layer.digest, each[index] as Conduct, paces[index]);
        }
        const journals = () => upstreams.map(({ journal }) => journal.toString()).join('\n--\n');
        const visits = visitAll(proxy, layer, clients);
        const outcomes = await within(visits, () => `every client in\n${journals()}`);

        const corrupt = each.some(({ lasting }) => lasting?.corruptAt !== undefined);
        const works = each.some((one) => isHarmless(one) && one.passing.length === 0);
        for (const { answer, range, left } of outcomes) {
          const due = layer.bytes.subarray(range.start, range.end);
          const whole = answer?.status === 206 && answer.complete;
          // Of a front piece wrong bytes may have been given out before the whole could be judged.
          const judged = !corrupt || size <= heldWhole || (whole && range.end > size - held);
          if (answer?.status === 206 && judged) {
            expect(answer.body.equals(due.subarray(0, answer.length))).toBe(true);
          }
          if (whole) expect(answer.length).toBe(due.length);
          if (works && !left && !(corrupt && size > heldWhole)) expect(whole, journals()).toBe(true);
          seen[left ? 'left' : whole ? 'complete' : 'failed'] += 1;
        }
        for (const upstream of upstreams) {
          upstream.heal();
          upstream.journal.clear();
        }
      },
    ),
    { numRuns: howOften(40, 11), endOnFailure: true, examples: eachEnding },
  );
  for (const count of Object.values(seen)) expect(count, JSON.stringify(seen)).toBeGreaterThan(0);
  const open = () => openFilesUnder(proxy.storagePath).filter((file) => file.startsWith('fills/'));
  await expect.poll(open, { timeout: patience }).toEqual([]);
});
