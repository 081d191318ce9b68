import { describe, expect, inject, test } from 'vitest';
import { openLab } from './lab.ts';
import { clientKeys } from './roster.ts';

const { app, multi } = inject('images');
const sizes: Readonly<Record<string, number>> = { ...app.blobs, ...multi.blobs };

describe.concurrent('a client that knows only the server', () => {
  test.for(clientKeys)(
    '%s pulls through an empty storage, and again while the registry is away',
    async (key, context) => {
      const lab = await openLab(context);
      const client = await lab.client(key);
      const pullBoth = async () => {
        for (const image of [app, multi]) {
          const pulled = await client.pull(image.reference);
          expect(pulled.ok, `${client.name}: ${pulled.said}`).toBe(true);
          expect(pulled.digests).toContain(image.digest);
          if (client.run) expect(await client.run(image.reference)).toBe(image.prints);
        }
      };
      await pullBoth();
      // Each blob that the client wanted left the registry once, and whole.
      const { blobGets, blobBytes } = await lab.dockerHub.journal();
      expect([...blobGets.keys()]).toEqual(expect.arrayContaining(Object.keys(app.blobs)));
      expect([...blobGets.values()]).toEqual(Array(blobGets.size).fill(1));
      const fetched = [...blobGets.keys()].map((digest) => sizes[digest] ?? Number.NaN);
      expect(blobBytes).toBe(fetched.reduce((sum, size) => sum + size, 0));
      for (const image of [app, multi]) await client.remove(image.reference);

      await lab.dockerHub.goAway();
      await lab.dockerHub.forget();
      await pullBoth();
      const { requests, attempts } = await lab.dockerHub.journal();
      expect({ requests, attempts }).toEqual({ requests: [], attempts: 0 });
    },
  );
});
