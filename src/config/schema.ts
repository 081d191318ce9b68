import * as z from 'zod';
import type { LogLevel } from '../lib/log.ts';
import {
  durationSchema,
  globsSchema,
  listenSchema,
  sizeSchema,
  speedSchema,
  textSchema,
  timeoutSchema,
  upstreamUrlSchema,
  wholeNumberSchema,
} from './scalars.ts';

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

const leastBandwidth = { min: 64 * 1024, minText: '64KiB' };

const upstreamSchema = z.strictObject({
  url: upstreamUrlSchema(
    'Where the upstream is. A path is a repository prefix: with `https://harbor.corp/dockerhub`, `library/alpine` is asked for as `dockerhub/library/alpine`. No credentials, no query, no `/v2`.',
  ),
  tags: z
    .boolean()
    .default(true)
    .describe(
      'Whether tags may be asked of it. Content by digest always may, because it is verified. At least one upstream of a registry must answer tags.',
    ),
  username: textSchema('text', 'User name at this upstream; needs `password`.').optional(),
  password: textSchema(
    'text',
    `Password or access token, best written \`\${file:/run/secrets/NAME}\` or \`\${NAME}\`; needs \`username\`.`,
  ).optional(),
  ca: textSchema(
    'path',
    'PEM file of certificate authorities to trust for this upstream; relative to the configuration file.',
  ).optional(),
  insecure: z
    .boolean()
    .default(false)
    .describe(
      'Permits a plain `http://` URL, for which it must be true. Certificates of `https://` are always verified.',
    ),
  connectTimeout: timeoutSchema('Longest wait for a connection.').prefault('5s'),
  headersTimeout: timeoutSchema('Longest wait for the response headers.').prefault('30s'),
  stallTimeout: timeoutSchema('Longest wait for the next byte of a body.').prefault('30s'),
  minSpeed: speedSchema(
    'A body that comes slower than this for some seconds is given up and continued at another upstream; `off` waits however long it takes. Time spent waiting for `maxBandwidth` does not count.',
    { min: 1, minText: '1B', off: true },
  ).prefault('16KiB'),
  maxConnections: wholeNumberSchema('Connections that one blob may use on this upstream at once.', {
    min: 1,
    max: 32,
  }).default(4),
  maxBandwidth: speedSchema(
    'The most that is downloaded from this upstream, all downloads together; at least 64KiB. Unlimited when left out.',
    leastBandwidth,
  ).optional(),
});

const registrySchema = z.strictObject({
  upstreams: z
    .array(upstreamSchema)
    .min(1, 'must list at least one upstream')
    .describe('Tags are asked in this order, content of the fastest healthy one.'),
  hosts: z
    .array(textSchema('host', 'A `Host` header value, with its port if clients send one.'))
    .default([])
    .describe('`Host` header values that mean this registry. Each may be given once in the whole file.'),
  tagTtl: durationSchema('How long a tag is served without asking again; `0s` asks every time.').prefault(
    '5m',
  ),
  negativeTtl: durationSchema('How long "not found" is remembered.').prefault('30s'),
});

const ruleSchema = z.strictObject({
  images: globsSchema('Images as `registry/repository`, such as `ghcr.io/org/**`.'),
  tags: globsSchema('Tags; any reference when left out.').optional(),
  action: z.enum(['allow', 'deny']).describe('What happens to a pull that matches.'),
  reason: textSchema('text', 'Shown to the client when the pull is denied.').optional(),
});

/** The file's schema: input as written (durations and sizes as text), output in ms and bytes. Unknown keys fail. */
export const configSchema = z.strictObject({
  listen: listenSchema('Address to serve on; port 0 lets the system choose. IPv6 in brackets.').prefault(
    '0.0.0.0:5000',
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
    .record(z.string(), registrySchema)
    .prefault(
      Object.fromEntries(
        Object.entries(defaultRegistryUrls).map(([name, url]) => [name, { upstreams: [{ url }] }]),
      ),
    )
    .describe(
      'The registries served, by host (`host` or `host:port`, lower case). When given, it replaces the whole default list.',
    ),
  policy: z
    .strictObject({
      default: z.enum(['allow', 'deny']).default('allow').describe('What happens when no rule matches.'),
      rules: z.array(ruleSchema).prefault([]).describe('The first rule that matches decides.'),
    })
    .prefault({})
    .describe('What may be pulled.'),
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
      writeStallTimeout: timeoutSchema('Longest wait for a client to take the next byte.').prefault('60s'),
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
