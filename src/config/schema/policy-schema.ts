import * as z from 'zod';
import { durationSchema, oneOrMoreSchema, readString, textSchema } from './scalars.ts';
import { readDigest, readImageGlob, readSemverRange, readTagPattern } from './selectors.ts';

/** Images, as rules and grants name them. */
export const imagesSchema = oneOrMoreSchema(
  readImageGlob,
  'a glob',
  'Images as `registry/repository`, such as `ghcr.io/org/**`; `**` for all.',
);

const ruleSchema = z.strictObject({
  images: imagesSchema,
  tags: oneOrMoreSchema(
    readTagPattern,
    'a glob or /regex/',
    'Tags: globs, or regular expressions between slashes, such as `/^v[0-9]+$/`. Any when left out.',
  ).optional(),
  semver: readString(readSemverRange, {
    title: 'version range',
    description:
      'Versions that the tag may be, as npm writes ranges: `>=3.10 <4`. With `tags`, both must match.',
  }).optional(),
  digests: oneOrMoreSchema(
    readDigest,
    'a digest',
    'What the reference must be or lead to: the digest of a manifest or index.',
  ).optional(),
  action: z.enum(['allow', 'deny']).describe('What happens to a pull that matches.'),
  reason: textSchema('text', 'Shown to the client when the pull is denied.').optional(),
  pin: z
    .boolean()
    .optional()
    .describe(
      'Keeps each tag at the digest that it had when it was first pulled, until `entrepot rollback` moves it. For `allow` only.',
    ),
  minAge: durationSchema(
    'How long a new digest of a tag must have been known before it is served; until then the one before it is. For `allow` only.',
  ).optional(),
});

/** What may be pulled. */
export const policySchema = z.strictObject({
  default: z.enum(['allow', 'deny']).default('allow').describe('What happens when no rule matches.'),
  rules: z
    .array(ruleSchema)
    .prefault([])
    .describe('The first rule that matches decides; a rule matches when all that it names does.'),
  digests: z
    .enum(['provenance', 'allow', 'deny'])
    .default('provenance')
    .describe(
      'What is asked for by digest, and its parts. `provenance`: served when an allowed tag is known to have led to it. `allow`: served unless its repository is denied as a whole, or a rule denies the digest. `deny`: only what an allowed tag names now.',
    ),
  failClosed: z
    .boolean()
    .default(false)
    .describe(
      'Answers a denied pull of a mirror client with a manifest that no client can use, instead of the plain denial after which clients fall back to the registry itself.',
    ),
  lockfile: textSchema(
    'path',
    'A file that `entrepot lock` wrote: its images are served at exactly its digests, whatever the upstream says. Relative to the configuration file.',
  ).optional(),
});
