import { describe, expect, test } from 'vitest';
import type { Journal } from '../../src/store/journal.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { app, layer, v1 } from './contract-content.ts';

/**
 * What every {@link Journal} promises.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeJournal(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as Journal`, () => {
    test('pulls of what is not known are passed over', async () => {
      const metadata = await open();
      await metadata.journal.recordPulls([
        { kind: 'manifest', ...app, digest: layer, tag: v1, at: 1 },
        { kind: 'blob', digest: layer, at: 1 },
      ]);
      expect(await metadata.blobs.get(layer)).toBeUndefined();
      expect(await metadata.tags.get(app, v1)).toBeUndefined();
      expect(await metadata.links.get(app, layer)).toBeUndefined();
    });

    test('what is known of upstreams is replaced whole', async () => {
      const metadata = await open();
      expect(await metadata.journal.upstreamHealth()).toEqual([]);
      const record = (upstream: string, snapshot: unknown) => ({ registry: 'ghcr.io', upstream, snapshot });
      await metadata.journal.putUpstreamHealth([record('a', { at: [1, null] }), record('b', null)]);
      const known = await metadata.journal.upstreamHealth();
      expect(known.toSorted((a, b) => a.upstream.localeCompare(b.upstream))).toEqual([
        record('a', { at: [1, null] }),
        record('b', null),
      ]);
      await metadata.journal.putUpstreamHealth([record('b', 2)]);
      expect(await metadata.journal.upstreamHealth()).toEqual([record('b', 2)]);
    });

    test('the last runs of a sync entry are remembered, newest first, and no others', async () => {
      const metadata = await open();
      for (let at = 1; at <= 25; at += 1) {
        const report = { added: [`v${at}`] };
        await metadata.journal.putSyncRun({ entry: 'app', startedAt: at, endedAt: at + 1, report });
        if (at === 1)
          await metadata.journal.putSyncRun({ entry: 'other', startedAt: 0, endedAt: 0, report: null });
      }
      const runs = await metadata.journal.syncRuns('app');
      expect(runs).toHaveLength(20);
      expect(runs[0]).toEqual({ entry: 'app', startedAt: 25, endedAt: 26, report: { added: ['v25'] } });
      expect(runs.at(-1)?.startedAt).toBe(6);
      expect(await metadata.journal.syncRuns('other')).toHaveLength(1);
      expect(await metadata.journal.syncRuns('none')).toEqual([]);
    });
  });
}
