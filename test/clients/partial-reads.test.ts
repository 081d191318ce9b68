import { describe, expect, inject, test } from 'vitest';
import { largestBlob, sizeOf } from './images.ts';
import { openLab } from './lab.ts';

const { app } = inject('images');
const [large, size] = largestBlob(app);

describe.concurrent('a cold layer that a client does not read in one go', () => {
  test.for(['d28', 'c2', 'podman', 'crane'] as const)(
    'is downloaded once although %s is killed in the middle and starts again',
    async (key, context) => {
      const lab = await openLab(context);
      const client = await lab.client(key);
      await lab.dockerHub.throttle(20_000_000);

      const interruption = new AbortController();
      const first = client.pull(app.reference, interruption.signal);
      await lab.dockerHub.reached(large, size / 2);
      interruption.abort();
      expect((await first).ok).toBe(false);

      const second = await client.pull(app.reference);
      expect(second.ok, `${client.name}: ${second.said}`).toBe(true);
      expect(second.digests).toContain(app.digest);
      const { blobGets, blobBytes } = await lab.dockerHub.journal();
      expect(blobGets.get(large)).toBe(1);
      expect(blobBytes).toBe(sizeOf(app));
    },
  );

  test('is downloaded once although containerd reads it in parallel ranges and drops each', async (context) => {
    const lab = await openLab(context);
    const client = await lab.client('c2ranges');
    await lab.dockerHub.throttle(20_000_000);
    const pulled = await client.pull(app.reference);
    expect(pulled.ok, `${client.name}: ${pulled.said}`).toBe(true);
    expect(pulled.digests).toContain(app.digest);
    expect(await client.run?.(app.reference)).toBe(app.prints);
    const { blobGets, blobBytes } = await lab.dockerHub.journal();
    expect(blobGets.get(large)).toBe(1);
    expect(blobBytes).toBe(sizeOf(app));

    await lab.server.stop();
    const lines = lab.server.log().split('\n');
    const ranges = lines.filter((line) => line.includes(large) && line.includes('"status":206'));
    expect(ranges.length).toBeGreaterThan(4);
  });
});
