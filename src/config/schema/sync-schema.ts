import * as z from 'zod';
import { readSchedule } from '../schedule-text.ts';
import { leastBandwidth } from './registries-schema.ts';
import {
  durationSchema,
  oneOrMoreSchema,
  type Reading,
  readString,
  refused,
  speedSchema,
  wholeNumberSchema,
} from './scalars.ts';
import { readSemverRange, readTagPattern } from './selectors.ts';

const repositoryPattern = /^[a-z0-9.:-]+(?:\/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)+$/;
const platformPattern = /^[a-z0-9]+\/[a-z0-9_]+(?:\/[a-z0-9]+)?$/;

const syncEntrySchema = z.strictObject({
  image: readString(readRepository, {
    title: 'registry/repository',
    description: 'The image, such as `ghcr.io/org/app` or `docker.io/library/python`; without a tag.',
  }),
  tags: oneOrMoreSchema(
    readTagPattern,
    'a glob or /regex/',
    'Which tags: globs, or regular expressions between slashes; `"*"` for all.',
  ).optional(),
  semver: readString(readSemverRange, {
    title: 'version range',
    description: 'Which versions, as npm writes ranges: `>=1.4.0`. With `tags`, both must match.',
  }).optional(),
  newest: wholeNumberSchema(
    'Of the tags that match, only those of so many of the highest versions; tags that differ in their variant (`1.4.0`, `1.4.0-slim`) are one version. Tags that are no version are left out, and without `tags` and `semver` pre-releases too.',
    { min: 1, max: 1000 },
  ).optional(),
  platforms: oneOrMoreSchema(
    readPlatform,
    'a platform',
    'The platforms to fetch, such as `linux/amd64`; all when left out. The index is kept as it is, and other platforms are still fetched when they are pulled.',
  ).optional(),
  schedule: readString(readSchedule, {
    title: 'schedule',
    description:
      "When to look for new versions: minute, hour, day, month and weekday as cron has them, in the server's time zone, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. A time that passed while the server was down is made up for once after its start. Left out: only when `entrepot sync --now` asks.",
  }).optional(),
  jitter: durationSchema(
    'A run starts up to so much later than the schedule says, by chance, so that many mirrors do not ask at once.',
  ).prefault('5m'),
  maxBandwidth: speedSchema(
    'The most that a run downloads; at least 64KiB. What a client waits for meanwhile is not held back. Unlimited when left out.',
    leastBandwidth,
  ).optional(),
  requests: wholeNumberSchema(
    'Requests that a run may send to upstreams: lists, manifests, and blobs, of which each counts once. What is left over waits for the next run. Unlimited when left out.',
    { min: 1, max: 1_000_000 },
  ).optional(),
});

/** Images that are kept up to date without anybody pulling them. */
export const syncSchema = z.array(syncEntrySchema);

/** Reads `registry/repository`; whether that registry is configured is told elsewhere. */
function readRepository(text: string): Reading<string> {
  const example = 'such as docker.io/library/python or ghcr.io/org/app';
  if (/[A-Z]/.test(text)) return refused('must be lower case, as images are');
  if (text.includes('@') || /:[^/]*$/.test(text.slice(text.indexOf('/') + 1))) {
    return refused('must name no tag and no digest: give the keys tags, semver or newest');
  }
  if (/[*?{}[\]]/.test(text)) return refused(`must be one image, not a glob: ${example}`);
  return repositoryPattern.test(text)
    ? { kind: 'value', value: text }
    : refused(`must be registry/repository, ${example}`);
}

function readPlatform(text: string): Reading<string> {
  return platformPattern.test(text)
    ? { kind: 'value', value: text }
    : refused('must be os/architecture or os/architecture/variant, such as linux/amd64 or linux/arm/v7');
}
