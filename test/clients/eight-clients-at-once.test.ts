import { expect, inject, type TestContext, test } from 'vitest';
import { sizeOf } from './images.ts';
import { openLab } from './lab.ts';
import { clientKeys } from './roster.ts';

const { app } = inject('images');

async function pullWithAll(context: TestContext, maxConnections: number) {
  expect(clientKeys).toHaveLength(8);
  const lab = await openLab(context, { maxConnections });
  const clients = await Promise.all(clientKeys.map((key) => lab.client(key)));
  // Slow enough for the last client to come while the large layer is still on its way.
  await lab.dockerHub.throttle(12_000_000);
  const pulls = await Promise.all(clients.map((client) => client.pull(app.reference)));
  for (const [position, pulled] of pulls.entries()) {
    expect(pulled.ok, `${clients[position]?.name}: ${pulled.said}`).toBe(true);
    expect(pulled.digests).toContain(app.digest);
  }
  return lab.dockerHub.journal();
}

test('eight different clients pull one cold image at once, and the registry sends each blob once', async (context) => {
  const { blobGets, blobBytes } = await pullWithAll(context, 1);
  const onceEach = Object.keys(app.blobs).map((digest) => [digest, 1]);
  expect(Object.fromEntries(blobGets)).toEqual(Object.fromEntries(onceEach));
  expect(blobBytes / sizeOf(app)).toBe(1);
});

test('with several connections a blob, too, the registry sends each byte once', async (context) => {
  const { blobBytes } = await pullWithAll(context, 4);
  expect(blobBytes).toBeGreaterThanOrEqual(sizeOf(app));
  // What was on its way when a connection had to end earlier is lost.
  expect(blobBytes / sizeOf(app)).toBeLessThan(1.02);
});
