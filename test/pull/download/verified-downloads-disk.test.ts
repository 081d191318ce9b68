import { expect, test } from 'vitest';
import { silentLog } from '../../../src/lib/log.ts';
import { HedgeBudget } from '../../../src/pull/asking/hedge-budget.ts';
import { VerifiedDownloads } from '../../../src/pull/download/verified-downloads.ts';
import { FillStorageError, FillWorkerError } from '../../../src/pull/threads/fill-errors.ts';
import { pullFacts } from '../../helpers/facts.ts';
import { seededBytes } from '../../helpers/image.ts';
import { targetOf } from '../scripted-upstream.ts';
import { DownloadScene, type TestLane } from './download-scene.ts';

const size = 6_000_000;
const blob = seededBytes('disk', size);
const wrong = Buffer.from(blob.map((byte) => byte ^ 1));

/** Brings what it is asked for at once. */
const whole = (lane: TestLane) => {
  lane.begin(size);
  lane.bring(size);
};

/** A verified download of a blob, of which `a` and `b` together bring a wrong copy first; `c` is right. */
function begin(prepare: (scene: DownloadScene) => void) {
  const facts = pullFacts();
  const downloads = new VerifiedDownloads(
    { log: silentLog, random: () => 0.999, hedges: new HedgeBudget({ facts }), facts },
    { patience: { rounds: 2, pause: 0 } },
  );
  const half = (lane: TestLane) => {
    lane.begin(size);
    lane.bring(size / 2);
    lane.cut();
  };
  const upstreams = { a: { copy: wrong, script: half }, b: { script: whole }, c: { script: whole } };
  const scene = new DownloadScene(blob, upstreams, {
    run: (self, fill, signal) => {
      prepare(self);
      return downloads.run(fill, targetOf(self.upstreams), self.slot, signal);
    },
  });
  return { scene, done: scene.fill.done.catch((error: unknown) => error) };
}

test.each([
  ['the disk fails', new FillStorageError('no space', 'ENOSPC')],
  ['the worker ends', new FillWorkerError('it has ended')],
])(
  'when %s under a second copy that is the end of it, and no other upstream is tried',
  async (_what, failure) => {
    let lanes = 0;
    const { scene, done } = begin((self) => {
      const { fetch } = self.slot;
      self.slot.fetch = (request, begun, signal) => {
        lanes += 1;
        return lanes > 2 ? Promise.reject(failure) : fetch(request, begun, signal);
      };
    });
    expect(await done).toBe(failure);
    expect([lanes, scene.calls]).toEqual([3, ['verify', 'digests', 'reset']]);
  },
);

test('when who was wrong cannot be found out, the right copy is kept and nobody blamed', async () => {
  const { scene, done } = begin((self) => {
    const { digests } = self.slot;
    let asked = 0;
    self.slot.digests = (ranges) => {
      asked += 1;
      return asked > 1 ? Promise.reject(new FillWorkerError('it has ended')) : digests(ranges);
    };
  });
  expect(await done).toBeUndefined();
  expect(scene.file.equals(blob)).toBe(true);
  const blamed = scene.upstreams.filter(({ client }) => client.health.exclusionFor('content') !== undefined);
  expect(blamed).toEqual([]);
});
