import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { isVerified } from '../../../src/pull/fill/fill-state.ts';
import { seededBytes } from '../../helpers/image.ts';
import { howOften } from '../../helpers/runs.ts';
import { refusals } from '../scripted-upstream.ts';
import { megabyte } from './download-flow.ts';
import { DownloadScene, down, startDownload, type TestLane, type TestUpstream } from './download-scene.ts';

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

const part = seededBytes('part', 8 * megabyte);

type Chance = 'brings' | 'cut' | 'ends' | 'down' | 'missing' | 'limited' | 'silent' | 'slow';

const chance = fc.record({
  kind: fc.constantFrom<Chance>(
    'brings',
    'brings',
    'brings',
    'cut',
    'ends',
    'down',
    'missing',
    'limited',
    'silent',
    'slow',
  ),
  bytes: fc.integer({ min: 0, max: 4 * megabyte }),
  declares: fc.boolean(),
});
const upstream = fc.record({
  chances: fc.array(chance, { minLength: 1, maxLength: 6 }),
  maxConnections: fc.integer({ min: 1, max: 6 }),
  rate: fc.constantFrom(100_000, megabyte / 2, 20 * megabyte),
});

/** An upstream that does one thing all the time. */
const steady = (kind: Chance) => ({
  chances: [{ kind, bytes: 0, declares: true }],
  maxConnections: 6,
  rate: megabyte / 2,
});
/** So few runs need not meet each ending by chance. */
const oneOfEach: [ReturnType<typeof steady>[], boolean, [number, number][]][] = [
  [[steady('brings')], true, []],
  [[steady('down')], true, []],
];

test('whatever several upstreams do, a download ends: with the right blob, or with an error, and no connection is left', async () => {
  const seen = { whole: 0, failed: 0, parallel: 0 };
  await fc.assert(
    fc.asyncProperty(
      fc.array(upstream, { minLength: 1, maxLength: 3 }),
      fc.boolean(),
      fc.array(fc.tuple(fc.nat(7), fc.nat(3)), { maxLength: 2 }),
      async (several, sizeKnown, left) => {
        const rates = new Map<TestLane, number>();
        const upstreams = several.map(({ chances, maxConnections, rate }, index): [string, TestUpstream] => {
          const name = `u${index}`;
          let turn = 0;
          const script = (lane: TestLane) => {
            const next = chances[Math.min(turn++, chances.length - 1)];
            if (next === undefined || next.kind === 'silent') {
              // Its own timeouts end it.
              setTimeout(() => lane.refuse(down(name, 'no answer in time')), 20_000);
              return;
            }
            if (next.kind === 'down') lane.refuse(down(name));
            else if (next.kind === 'missing' || next.kind === 'limited')
              lane.refuse({ ...refusals[next.kind], upstream: name });
            else {
              lane.begin(next.declares ? part.length : undefined);
              rates.set(lane, next.kind === 'slow' ? 1_000 : rate);
              if (next.kind === 'brings') return;
              lane.bring(next.bytes);
              if (next.kind === 'cut') lane.cut();
              // An upstream whose answer ends early and declares no size says that this is the blob.
              else if (next.kind === 'ends' && (sizeKnown || next.declares)) lane.finish();
            }
          };
          return [name, { maxConnections, minSpeed: 50_000, script }];
        });
        const scene = new DownloadScene(part, Object.fromEntries(upstreams), { sizeKnown });
        for (const [start_, length] of left) {
          const [from, to] = [start_ * megabyte, Math.min(part.length, (start_ + length) * megabyte)];
          scene.leave(from, part.subarray(from, to));
        }
        const { done } = startDownload(scene, { rounds: 3, pause: 100 });
        let outcome: { failure: unknown } | undefined;
        void done.then((failure) => {
          outcome = { failure };
        });
        let most = 0;
        for (let time = 0; time < 1_200_000 && outcome === undefined; time += 100) {
          for (const lane of scene.open) {
            lane.bring((rates.get(lane) ?? 0) / 10);
            // An answer without a declared length ends with the blob.
            if (lane.position >= part.length) lane.finish();
          }
          most = Math.max(most, scene.open.length);
          for (const [name, { maxConnections }] of upstreams) {
            expect(scene.open.filter((lane) => lane.upstream === name).length).toBeLessThanOrEqual(
              maxConnections ?? 1,
            );
          }
          await vi.advanceTimersByTimeAsync(100);
        }
        expect(outcome, `over ${scene.asked.join(', ')}`).toBeDefined();
        expect(scene.open).toEqual([]);
        if (outcome?.failure === undefined) {
          expect(scene.file.equals(part)).toBe(true);
          expect(isVerified(scene.fill.state)).toBe(true);
        } else {
          expect(outcome.failure).toMatchObject({ code: expect.any(String) });
          expect(isVerified(scene.fill.state)).toBe(false);
        }
        seen[outcome?.failure === undefined ? 'whole' : 'failed'] += 1;
        if (most > 1) seen.parallel += 1;
        vi.clearAllTimers();
      },
    ),
    { numRuns: howOften(50, 12), examples: oneOfEach },
  );
  for (const [kind, count] of Object.entries(seen)) expect(count, kind).toBeGreaterThan(0);
});
