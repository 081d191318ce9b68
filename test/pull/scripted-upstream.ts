import type { Registry, ResolvedRepository } from '../../src/pull/repository.ts';
import type { Source } from '../../src/pull/source.ts';
import type { UpstreamClient } from '../../src/upstream/client.ts';
import { UpstreamHealth } from '../../src/upstream/health/health.ts';
import {
  type ManifestBody,
  type ManifestHead,
  UpstreamError,
  type UpstreamRefusal,
  type UpstreamResult,
} from '../../src/upstream/result.ts';
import type { TestManifest } from '../helpers/image.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';
import { mustKey } from '../helpers/stored.ts';

/** What an upstream may be asked, as `operation reference`. */
export type Answers = Partial<
  Pick<UpstreamClient, 'headManifest' | 'getManifest' | 'headBlob' | 'getBlob' | 'listTags' | 'listReferrers'>
>;

/** An upstream whose answers the test gives; what it gives none for must not be asked. */
export type ScriptedUpstream = {
  readonly client: UpstreamClient;
  /** Replaced by the test as it goes. */
  answers: Answers;
  /** The operations asked for, in order. */
  readonly asked: string[];
};

/** What an upstream is configured with; its health is told only what the test tells it. */
export type Traits = Partial<Pick<UpstreamClient, 'tags' | 'maxConnections' | 'minSpeed' | 'health'>>;

/** Makes a {@link ScriptedUpstream}. */
export function scriptedUpstream(
  answers: Answers = {},
  name = 'up',
  {
    tags = true,
    maxConnections = 1,
    minSpeed = 0,
    health = new UpstreamHealth({ clock: makeManualClock(), random: () => 0.999 }),
  }: Traits = {},
): ScriptedUpstream {
  const asked: string[] = [];
  const scripted = { answers, asked };
  const traits = { name, tags, maxConnections, minSpeed, bandwidths: [], health };
  const client = new Proxy(traits as unknown as UpstreamClient, {
    get(target, property) {
      if (property in target) return Reflect.get(target, property);
      return (...args: unknown[]) => {
        const operation = String(property);
        asked.push(operation);
        const answer = scripted.answers[operation as keyof Answers] as
          | ((...all: unknown[]) => unknown)
          | undefined;
        if (answer === undefined) throw new Error(`${name} must not be asked for ${operation}`);
        return answer(...args);
      };
    },
  });
  return Object.assign(scripted, { client });
}

/** The repository `ghcr.io/org/app`, or another, of a registry with these upstreams. */
export function targetOf(
  upstreams: readonly ScriptedUpstream[],
  options: Partial<Omit<Registry, 'source'>> & { repository?: string; closed?: 'offline' | 'hosted' } = {},
): ResolvedRepository {
  const { repository = 'org/app', closed, ...rest } = options;
  const mirror = { kind: 'mirror', upstreams: upstreams.map(({ client }) => client) } as const;
  const source: Source = closed === undefined ? mirror : { kind: closed };
  const registry = { name: 'ghcr.io', tagTtl: 60_000, negativeTtl: 10_000, ...rest, source };
  return { registry, repository: mustKey(registry.name, repository).repository };
}

/** An upstream's content. */
export function ok<T>(value: T, upstream = 'up'): UpstreamResult<T> {
  return { kind: 'ok', value, upstream };
}

/** The refusals, one of each kind. */
export const refusals = {
  missing: { kind: 'missing', upstream: 'up' },
  denied: { kind: 'denied', upstream: 'up', status: 403 },
  limited: { kind: 'limited', upstream: 'up', retryAfter: 3 },
  unavailable: {
    kind: 'unavailable',
    upstream: 'up',
    cause: new UpstreamError('it refuses connections', { upstream: 'up', op: 'test' }),
  },
} as const satisfies Record<UpstreamRefusal['kind'], UpstreamRefusal>;

/** The answer to a GET of a manifest. */
export function bodyOf({ bytes, mediaType, digest }: TestManifest): UpstreamResult<ManifestBody> {
  return ok({ bytes, mediaType, digestHint: digest });
}

/** The answer to a HEAD of a manifest. */
export function headOf({ bytes, mediaType, digest }: TestManifest): UpstreamResult<ManifestHead> {
  return ok({ digest, mediaType, size: bytes.length });
}
