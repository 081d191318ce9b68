import { Hono } from 'hono';
import { statuses } from '../respond.ts';

/** What the operations routes show. */
type Operations = {
  /** Why the server should get no new requests; `undefined` when it should. */
  notReady(): string | undefined;
  metrics(): Promise<{ text: string; contentType: string }>;
};

/**
 * The routes for probes and monitoring: `/livez` (the process answers), `/readyz` (it should get requests; its
 * aliases are `/health` and `/ping`), `/metrics` (Prometheus's text format).
 */
export function operationsRoutes(operations: Operations): Hono {
  const app = new Hono();
  app.get('/livez', (c) => c.text('ok\n'));
  for (const path of ['/readyz', '/health', '/ping']) {
    app.get(path, (c) => {
      const why = operations.notReady();
      return why === undefined ? c.text('ok\n') : c.text(`${why}\n`, statuses.unavailable);
    });
  }
  app.get('/metrics', async (c) => {
    const { text, contentType } = await operations.metrics();
    return c.body(text, statuses.ok, { 'Content-Type': contentType });
  });
  app.get('/', (c) => c.text('entrepot: a pull-through OCI registry mirror. The registry API is at /v2/.\n'));
  app.notFound((c) => {
    return c.json(
      { errors: [{ code: 'NAME_UNKNOWN', message: 'no such path: the registry API is at /v2/' }] },
      statuses.notFound,
    );
  });
  return app;
}
