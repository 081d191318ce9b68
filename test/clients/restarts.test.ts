import { describe, expect, inject, test } from 'vitest';
import { largestBlob } from './images.ts';
import { openLab } from './lab.ts';

const { app, multi } = inject('images');

describe.concurrent('a server that restarts', () => {
  test.for(['d20', 'd28'] as const)(
    'by SIGKILL in the middle of a pull does not fail %s',
    async (key, context) => {
      const lab = await openLab(context);
      const client = await lab.client(key);
      const [large, size] = largestBlob(app);
      await lab.dockerHub.throttle(10_000_000);

      const pulling = client.pull(app.reference);
      await lab.dockerHub.reached(large, size / 2);
      await lab.server.kill();
      await lab.dockerHub.throttle(0);
      await lab.server.restart();

      const pulled = await pulling;
      expect(pulled.ok, `${client.name}: ${pulled.said}`).toBe(true);
      expect(pulled.digests).toContain(app.digest);
      expect(await client.run?.(app.reference)).toBe(app.prints);
      // What had arrived before is not asked for again.
      const { requests } = await lab.dockerHub.journal();
      const bytes = requests
        .filter(({ url }) => url.includes(large))
        .reduce((sum, entry) => sum + entry.bytes, 0);
      expect(bytes / size).toBeLessThan(1.1);
    },
  );

  test('while the registries are away serves what it holds', async (context) => {
    const lab = await openLab(context);
    const client = await lab.client('crane');
    const before = await client.pull(multi.reference);
    expect(before.ok, before.said).toBe(true);
    await client.remove(multi.reference);

    await lab.server.stop();
    await Promise.all([lab.dockerHub.stop(), lab.ghcr.stop()]);
    await lab.server.restart();
    const after = await client.pull(multi.reference);
    expect(after.ok, after.said).toBe(true);
    expect(after.digests).toContain(multi.digest);
  });
});
