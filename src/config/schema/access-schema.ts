import * as z from 'zod';
import { readHost, readPasswordHash, readRealm } from './account-scalars.ts';
import { imagesSchema } from './policy-schema.ts';
import { readString, textSchema, unlessMissing } from './scalars.ts';

const actions = ['pull', 'push', 'delete', 'admin'] as const;
const actionsMessage = `must be one of ${actions.join(', ')}, or a list of them`;

const actionsSchema = z
  .union([z.enum(actions), z.array(z.enum(actions)).min(1, actionsMessage)], {
    error: unlessMissing(actionsMessage),
  })
  .transform((given) => (typeof given === 'string' ? [given] : given))
  .meta({ title: 'action or list', description: '`pull`, `push`, `delete` or `admin`, or a list of these.' });

const grantSchema = z.strictObject({ images: imagesSchema, actions: actionsSchema });

const grant = z.union([z.enum(actions), grantSchema], {
  error: unlessMissing(`must be one of ${actions.join(', ')}, or a map of images and actions`),
});

/** Grants as written: an action by itself is granted on every image. */
const grantsSchema = z.array(
  grant.transform((given) => (typeof given === 'string' ? { images: ['**'], actions: [given] } : given)),
);

const grantsTitle = 'list of actions or grants';

const userSchema = z.strictObject({
  passwordHash: readString(readPasswordHash, {
    title: 'bcrypt hash',
    description: 'What `entrepot hash-password` prints. Left out for a user of the file `htpasswd`.',
  }).optional(),
  grants: grantsSchema
    .min(1, 'must list at least one grant')
    .meta({ title: grantsTitle, description: 'What the user may do, besides what anyone may.' }),
});

/** Who may do what. */
export const accessSchema = z.strictObject({
  anonymous: grantsSchema.prefault(['pull']).meta({
    title: grantsTitle,
    description:
      'What anyone may do without a login. An entry is an action by itself (on every image), or a map of `images` and `actions`. With `[]`, every host asks for a login.',
  }),
  users: z
    .record(z.string().meta({ title: 'user' }), userSchema)
    .default({})
    .describe('The users, by name.'),
  htpasswd: textSchema(
    'path',
    'A file of further users and bcrypt hashes, as `htpasswd -B` writes it; relative to the configuration file. It is read again when it changes.',
  ).optional(),
  htpasswdGrants: grantsSchema.prefault([]).meta({
    title: grantsTitle,
    description: 'What a user of that file may do who is not named under `users`.',
  }),
  loginHosts: z
    .array(readString(readHost, { title: 'host', description: 'A host, with its port if clients send one.' }))
    .prefault([])
    .describe(
      '`Host` header values for which `/v2/` asks for a login, which is how `docker login` and `podman login` find out. Not for the names that clients use as a mirror.',
    ),
  realm: readString(readRealm, {
    title: 'URL',
    description:
      'Where clients are told to ask for tokens; `/token` of the host that they asked when left out. Needed behind a proxy that ends TLS.',
  }).optional(),
  passthrough: z
    .boolean()
    .default(false)
    .describe(
      "Lets a client's own login at the upstream decide on what the grants do not give it: the upstream is asked with it. Otherwise no login of a client is ever sent to an upstream.",
    ),
});

/** The server's certificate. */
export const tlsSchema = z.strictObject({
  cert: textSchema(
    'path',
    'PEM file of the certificate and those that link it to its authority; relative to the configuration file.',
  ),
  key: textSchema('path', "PEM file of the certificate's private key, not encrypted; relative likewise."),
});
