import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, inject, test } from 'vitest';
import { makeAuthority } from './certificates.ts';
import { largestBlob } from './images.ts';
import { openLab } from './lab.ts';
import type { ClientKey } from './roster.ts';

const { app, multi, tool } = inject('images');
const [large, size] = largestBlob(app);

describe.concurrent('a certificate by a private authority', () => {
  test.for<ClientKey>(['d20', 'd28', 'd28c', 'c16', 'c2', 'cri', 'podman', 'skopeo', 'crane'])(
    'is refused by %s unless it is told of that authority',
    async (key, context) => {
      const lab = await openLab(context, { tls: true });
      const stranger = await makeAuthority(path.join(lab.directory, 'stranger'), 'a stranger');
      const client = await lab.client(key, { ca: stranger.cert });
      const pulled = await client.pullByPrefix(multi.reference);
      expect(pulled.ok).toBe(false);
      expect(pulled.said).toMatch(/x509: certificate signed by unknown authority/);
      expect(lab.server.requests()).toEqual([]);
    },
  );

  test.for<ClientKey>(['d28', 'c2', 'podman'])(
    'is renewed by another one in the middle of a pull by %s, which does not notice',
    async (key, context) => {
      const lab = await openLab(context, { tls: true });
      if (lab.tls === undefined) throw new Error('no certificate');
      const next = await makeAuthority(path.join(lab.directory, 'next'), 'the next authority');
      const both = path.join(lab.directory, 'both.crt');
      await writeFile(
        both,
        (await Promise.all([lab.tls.authority.cert, next.cert].map((file) => readFile(file)))).join(''),
      );
      const [old, informed] = await Promise.all([lab.client(key), lab.client(key, { ca: both })]);
      const before = await old.pullByPrefix(tool.reference);
      expect(before.ok, before.said).toBe(true);

      await lab.dockerHub.throttle(30_000_000);
      const pulling = informed.pull(app.reference);
      await lab.dockerHub.reached(large, size / 2);
      await lab.tls.renew(next);
      await lab.server.logs(/(?:TLS certificate in force.*){2}/s);
      const pulled = await pulling;
      expect(pulled.ok, pulled.said).toBe(true);
      expect(pulled.digests).toContain(app.digest);

      const after = await old.pullByPrefix(multi.reference);
      expect(after.ok).toBe(false);
      expect(after.said).toMatch(/x509: certificate signed by unknown authority/);
      const later = await informed.pullByPrefix(multi.reference);
      expect(later.ok, later.said).toBe(true);
    },
  );
});
