import { expect, inject, test } from 'vitest';
import { sizeOf } from './images.ts';
import { openLab } from './lab.ts';
import { clientKeys } from './roster.ts';

const { app } = inject('images');

test('eight different clients pull one cold image at once, and the registry sends each blob once', async (context) => {
  expect(clientKeys).toHaveLength(8);
  const lab = await openLab(context);
  const clients = await Promise.all(clientKeys.map(lab.client));
  // Slow enough for the last client to come while the large layer is still on its way.
  await lab.dockerHub.throttle(12_000_000);

  const pulls = await Promise.all(clients.map((client) => client.pull(app.reference)));
  for (const [position, pulled] of pulls.entries()) {
    expect(pulled.ok, `${clients[position]?.name}: ${pulled.said}`).toBe(true);
    expect(pulled.digests).toContain(app.digest);
  }

  const { blobGets, blobBytes } = await lab.dockerHub.journal();
  const onceEach = Object.keys(app.blobs).map((digest) => [digest, 1]);
  expect(Object.fromEntries(blobGets)).toEqual(Object.fromEntries(onceEach));
  expect(blobBytes / sizeOf(app)).toBe(1);
});
