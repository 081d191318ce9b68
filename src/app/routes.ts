import { tokenRoutes } from '../http/access/token-route.ts';
import { adminRoutes } from '../http/admin/admin.ts';
import { bundleRoutes } from '../http/admin/bundle-routes.ts';
import { type AdminOptions, joinRoutes } from '../http/admin/router.ts';
import { syncRoutes } from '../http/admin/sync-routes.ts';
import { transferRoutes } from '../http/admin/transfer-routes.ts';
import { operationsRoutes } from '../http/server/operations.ts';
import type { Ground } from './ground.ts';
import type { Site } from './site.ts';

/** Routes of hono's. */
type Routes = ReturnType<typeof joinRoutes>;

/** The admin API for who needs no login: the command line. */
export function controlRoutes(ground: Ground, site: Site): Routes {
  return admin(ground, site, namesOf(site));
}

/** What the listener serves besides the registry's API: probes, metrics, tokens, and the admin API for who may use it. */
export function listenerRoutes(ground: Ground, site: Site, notReady: () => string | undefined): Routes {
  const { log, metrics } = ground;
  const { gatekeeper } = site.doors;
  const routes = operationsRoutes({ notReady, metrics: () => metrics.render() });
  routes.route('/', tokenRoutes({ ...site.doors, log }));
  routes.route(
    '/',
    admin(ground, site, {
      ...namesOf(site),
      authorize: (exchange, image) => gatekeeper.admin(exchange, image),
    }),
  );
  return routes;
}

function admin({ log, scrub }: Ground, site: Site, options: AdminOptions): Routes {
  return joinRoutes(
    transferRoutes({ ...site, scrub, log }, options),
    bundleRoutes({ ...site, log }, options),
    syncRoutes({ sync: site.sync, log }, options),
    // It answers every other path, so it comes last.
    adminRoutes({ operations: site.tags, log }, options),
  );
}

function namesOf({ config: { defaultRegistry, registries } }: Site) {
  return { defaultRegistry, registries: Object.keys(registries) };
}
