import { describe, expect, inject, test } from 'vitest';
import { denialReason } from './entrepot.ts';
import { openLab } from './lab.ts';
import type { ClientKey } from './roster.ts';

const { latest, multi } = inject('images');
const byDigest = `${latest.reference.split(':', 1)}@${latest.digest}`;

// The configurations of docs/CLIENTS.md that make a rule binding, each while the registry itself could be reached.
const cases: [ClientKey, string][] = [
  ['d28c', '403 Forbidden'],
  ['buildc', '403 Forbidden'],
  ['c16', '403 Forbidden'],
  ['c2', '403 Forbidden'],
  ['cri16', '403 Forbidden'],
  ['cri', '403 Forbidden'],
  ['podman', denialReason],
  ['skopeo', denialReason],
];

describe.concurrent('a client that is configured to have no way around the server', () => {
  test.for(cases)(
    '%s gets what is allowed, and what is denied neither by tag nor by digest',
    async ([key, words], context) => {
      const lab = await openLab(context);
      const origin = await lab.openOrigin();
      const client = await lab.client(key, { ...origin.known, bound: true });
      for (const reference of [latest.reference, byDigest]) {
        const denied = await client.pull(reference);
        expect(denied.ok).toBe(false);
        expect(denied.said).toContain(words);
      }
      const allowed = await client.pull(multi.reference);
      expect(allowed.ok, allowed.said).toBe(true);
      expect((await origin.journal()).requests).toEqual([]);
    },
  );
});
