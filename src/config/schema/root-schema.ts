import * as z from 'zod';
import type { LogLevel } from '../../lib/log.ts';
import { accessSchema, tlsSchema } from './access-schema.ts';
import { policySchema } from './policy-schema.ts';
import { leastBandwidth, registrySchema } from './registries-schema.ts';
import {
  listenSchema,
  sizeSchema,
  speedSchema,
  textSchema,
  timeoutSchema,
  wholeNumberSchema,
} from './scalars.ts';
import { syncSchema } from './sync-schema.ts';

const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const satisfies readonly LogLevel[];

/** The registries of a configuration that names none: registry host to the URL of its one upstream. */
export const defaultRegistryUrls: Readonly<Record<string, string>> = {
  'docker.io': 'https://registry-1.docker.io',
  'ghcr.io': 'https://ghcr.io',
  'quay.io': 'https://quay.io',
  'registry.k8s.io': 'https://registry.k8s.io',
  'mcr.microsoft.com': 'https://mcr.microsoft.com',
  'gcr.io': 'https://gcr.io',
};

/** The registry that a name without one means, unless configured. */
export const defaultRegistryName = 'docker.io';

/** The file's schema: input as written (durations and sizes as text), output in ms and bytes. Unknown keys fail. */
export const configSchema = z.strictObject({
  listen: listenSchema('Address to serve on; port 0 lets the system choose. IPv6 in brackets.').prefault(
    '0.0.0.0:5000',
  ),
  offline: z
    .boolean()
    .default(false)
    .describe(
      'Never asks any upstream: what is stored is served as it is, the rest does not exist. New images come by `entrepot import`.',
    ),
  storage: z
    .strictObject({
      path: textSchema(
        'path',
        'Folder of the cache; relative to the configuration file, or to the working folder without one.',
      ).default('./storage'),
    })
    .prefault({})
    .describe('The disk.'),
  defaultRegistry: textSchema(
    'registry host',
    'The registry of a name without one, as `registry-mirrors` of the Docker daemon sends; one of `registries`.',
  ).default(defaultRegistryName),
  registries: z
    .record(z.string().meta({ title: 'host' }), registrySchema)
    .prefault(
      Object.fromEntries(
        Object.entries(defaultRegistryUrls).map(([name, url]) => [name, { upstreams: [{ url }] }]),
      ),
    )
    .describe(
      'The registries served, by host (`host` or `host:port`, lower case). When given, it replaces the whole default list.',
    ),
  prefetch: z
    .boolean()
    .default(true)
    .describe(
      "Begins to download an image's layers when a client pulls the manifest of its platform, before it asks for them: as far as `limits.connections` leaves room, and none over 1GiB.",
    ),
  sync: syncSchema
    .prefault([])
    .describe(
      'Images that are fetched on a schedule, before anybody pulls them, so that new versions are there.',
    ),
  policy: policySchema.prefault({}).describe('What may be pulled.'),
  access: accessSchema.prefault({}).describe('Who may do what.'),
  tls: tlsSchema
    .optional()
    .describe('Serves https instead of http. The files are read again when they change.'),
  limits: z
    .strictObject({
      manifestSize: sizeSchema('Largest manifest accepted; at least 4MiB.', {
        min: 4 * 1024 ** 2,
        minText: '4MiB',
      }).prefault('4MiB'),
      connections: wholeNumberSchema('Downloads from upstreams at once; further ones wait.', {
        min: 1,
        max: 1024,
      }).default(64),
      maxBandwidth: speedSchema(
        'The most that is downloaded from all upstreams together; at least 64KiB. Unlimited when left out.',
        leastBandwidth,
      ).optional(),
    })
    .prefault({})
    .describe('Bounds on what is taken from upstreams.'),
  server: z
    .strictObject({
      writeStallTimeout: timeoutSchema(
        'Longest wait for a client to take the next byte, of whatever answer.',
      ).prefault('60s'),
      drainDelay: timeoutSchema(
        'How long everything is still served after SIGTERM while `/readyz` says 503, so that load balancers notice before connections are refused; a second signal ends it. Behind a Service of Kubernetes some `10s`, and a `terminationGracePeriodSeconds` of more than both drain times together.',
        { zero: true },
      ).prefault('0s'),
      drainTimeout: timeoutSchema('How long running answers may go on at shutdown.', {
        zero: true,
      }).prefault('25s'),
    })
    .prefault({})
    .describe('The serving side.'),
  log: z
    .strictObject({
      level: z.enum(logLevels).default('info').describe('Least severity written.'),
      format: z.enum(['json', 'text']).default('json').describe('`json` for machines, `text` for people.'),
    })
    .prefault({})
    .describe('The log, on standard output.'),
});

/** A configuration file's content after the schema: defaults filled in, paths not yet absolute. */
export type ParsedConfig = z.output<typeof configSchema>;
