import * as z from 'zod';
import { readHelperName, readTrustedRealm } from './account-scalars.ts';
import {
  durationSchema,
  readString,
  speedSchema,
  textSchema,
  timeoutSchema,
  upstreamUrlSchema,
  wholeNumberSchema,
} from './scalars.ts';

/** The least speed that a cap may set. */
export const leastBandwidth = { min: 64 * 1024, minText: '64KiB' };

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
  dockerConfig: textSchema(
    'path',
    "A Docker `config.json` that holds this upstream's login, itself or by the credential helpers it names; relative to the configuration file. Instead of `username`.",
  ).optional(),
  credentialHelper: readString(readHelperName, {
    title: 'name',
    description:
      'The `NAME` of a program `docker-credential-NAME` that is asked for the login, such as `ecr-login`, `gcr` or `acr-env`; found in `PATH`. Instead of `username`.',
  }).optional(),
  trustedRealms: z
    .array(
      readString(readTrustedRealm, {
        title: 'host or origin',
        description: 'A host (https is meant), or an origin such as `http://auth.corp:5001`.',
      }),
    )
    .prefault([])
    .describe(
      'Where this upstream may send its login for a token, besides its own host and others of its registrable domain.',
    ),
  ca: textSchema(
    'path',
    'PEM file of certificate authorities to trust for this upstream, besides the public ones; relative to the configuration file.',
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

/** A source registry: how it is asked, and the hosts that mean it. */
export const registrySchema = z.strictObject({
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
