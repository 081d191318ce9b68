import { delay } from '../../lib/abort.ts';
import type { Clock } from '../../lib/clock.ts';
import type { Log } from '../../lib/log.ts';
import { IntegrityError, type OciError } from '../../oci/errors.ts';
import { parseManifest, platformText } from '../../oci/manifest.ts';
import { type Reference, referenceText, type Tag } from '../../oci/reference.ts';
import type { PolicyRules } from '../../policy/rules.ts';
import type { StoredManifest } from '../../store/manifest-records.ts';
import type { UpstreamClient } from '../../upstream/client.ts';
import type { Ranked } from '../../upstream/health/ranking.ts';
import { type ManifestHead, UpstreamError, type UpstreamResult } from '../../upstream/result.ts';
import { Absences } from '../asking/absences.ts';
import { type Asked, askInOrder, inContentOrder, inTagOrder } from '../asking/ask.ts';
import type { HedgeBudget } from '../asking/hedge-budget.ts';
import { retryAfterOf, type Verdict, verdictError } from '../asking/outcomes.ts';
import { type Ask, imageName, keyOf, type ResolvedRepository } from '../repository.ts';
import { absentError, isClosed, upstreamsOf } from '../source.ts';
import type { ManifestStore } from './store.ts';

/** An upstream failure that comes within this many milliseconds is tried once more before the client is told. */
const quickFailure = 2_000;

/** How long an unreachable upstream is not asked again for what is not cached: one client's burst of retries. */
const burst = 1_000;

/** Pause before that second try, in milliseconds. */
const retryPause = 250;

/** What a manifest fetch works with. */
export type ManifestFetchDeps = {
  readonly store: ManifestStore;
  readonly clock: Clock;
  readonly log: Log;
  readonly random: () => number;
  /** Second requests for content by digest; without it there are none. */
  readonly hedging?: HedgeBudget;
  /** Which digests rules deny: a manifest that has one of them is recorded by that, whatever it was called upstream. */
  readonly rules?: Pick<PolicyRules, 'refused'>;
};

/** What is asked for, whoever waits for it. */
type NamedImage = Omit<Ask, 'signal'>;

/** Asks upstreams about manifests, keeps what they send, and remembers for a while what they do not have. */
export class ManifestFetch {
  readonly #deps: ManifestFetchDeps;
  readonly #limit: number;
  readonly #absences: Absences;

  /** @param options.manifestSize the largest manifest accepted, in bytes */
  constructor(deps: ManifestFetchDeps, options: { manifestSize: number }) {
    this.#deps = deps;
    this.#limit = options.manifestSize;
    this.#absences = new Absences({ clock: deps.clock });
  }

  /** The failure that is still remembered for a reference. */
  recall(image: NamedImage): Error | undefined {
    return this.#absences.recall(fetchKey(image));
  }

  /** Remembers a failure for `ttl` milliseconds. */
  remember(image: NamedImage, error: OciError, ttl: number): void {
    this.#absences.remember(fetchKey(image), error, ttl);
  }

  /** The error that a verdict comes to, remembered; `whileDown` milliseconds where it is "cannot be reached". */
  refuse(image: NamedImage, verdict: Verdict, whileDown: number): OciError {
    const error = verdictError(verdict, titleOf(image), 'MANIFEST_UNKNOWN');
    const { negativeTtl } = image.target.registry;
    const named = retryAfterOf(verdict);
    const limited = named === undefined ? negativeTtl : Math.min(named * 1000, negativeTtl);
    const ttl = { missing: negativeTtl, denied: negativeTtl, limited, unavailable: whileDown }[verdict.kind];
    this.remember(image, error, ttl);
    return error;
  }

  /** What the registry's upstreams say that a reference names. */
  head({ target, reference, signal }: Ask): Promise<Asked<ManifestHead>> {
    return askInOrder(
      this.#orderFor(target, reference),
      (upstream, own) => {
        target.budget?.spend();
        return upstream.headManifest(target.repository, reference, own);
      },
      signal,
    );
  }

  /**
   * Fetches a manifest, verifies it and keeps it.
   * @param named the tag that is served as it from then on
   * @throws OciError as `PullManifests.pull` does
   */
  async get(ask: Ask, named: Tag | undefined): Promise<{ manifest: StoredManifest; upstream: string }> {
    const { clock, hedging } = this.#deps;
    const { target, reference, signal } = ask;
    if (isClosed(target.registry)) throw await this.#absent(ask);
    const started = clock.now();
    const getFrom = (upstream: UpstreamClient, own: AbortSignal) =>
      this.#getFrom(upstream, { ...ask, signal: own }, named);
    const second = reference.kind === 'digest' ? hedging : undefined;
    let answer = await askInOrder(this.#orderFor(target, reference), getFrom, signal, second);
    if (
      answer.kind === 'refused' &&
      answer.verdict.kind === 'unavailable' &&
      clock.now() - started < quickFailure
    ) {
      await delay(retryPause, signal);
      answer = await askInOrder(this.#orderFor(target, reference), getFrom, signal, second);
    }
    if (answer.kind === 'refused') throw this.refuse(ask, answer.verdict, burst);
    this.#absences.forget(fetchKey(ask));
    return { manifest: answer.value, upstream: answer.upstream };
  }

  /** Whoever has it may say what a digest names; what a tag does, only who is trusted with that. */
  #orderFor({ registry }: ResolvedRepository, reference: Reference): readonly Ranked<UpstreamClient>[] {
    const upstreams = upstreamsOf(registry);
    return reference.kind === 'tag' ? inTagOrder(upstreams) : inContentOrder(upstreams, this.#deps.random);
  }

  /** Names the image whose bundle would bring what is not here. */
  async #absent({ target, reference }: NamedImage): Promise<OciError> {
    const title = titleOf({ target, reference });
    if (reference.kind === 'tag')
      return absentError(target.registry.source, 'MANIFEST_UNKNOWN', title, title);
    const { store } = this.#deps;
    const key = keyOf(target);
    const tag = await store.tagLeadingTo(key, reference.digest);
    if (tag === undefined) return absentError(target.registry.source, 'MANIFEST_UNKNOWN', title, title);
    const image = titleOf({ target, reference: { kind: 'tag', tag } });
    const named = await store.tag(key, tag);
    const index = named && (await store.manifest(key, named.digest));
    const parsed = index && parseManifest(index.bytes, index.mediaType);
    const entries = parsed?.kind === 'index' ? parsed.manifests : [];
    const platform = entries.find(({ digest }) => digest === reference.digest)?.platform;
    const part = platform === undefined ? title : `the ${platformText(platform)} image of ${image}`;
    return absentError(target.registry.source, 'MANIFEST_UNKNOWN', part, image);
  }

  async #getFrom(
    upstream: UpstreamClient,
    { target, reference, signal }: Ask,
    named: Tag | undefined,
  ): Promise<UpstreamResult<StoredManifest>> {
    const { store, clock, log, rules } = this.#deps;
    target.budget?.spend();
    const got = await upstream.getManifest(target.repository, reference, this.#limit, signal);
    if (got.kind !== 'ok') return got;
    const asked = {
      digest: reference.kind === 'digest' ? reference.digest : undefined,
      tag: named,
      upstream: upstream.name,
      at: clock.now(),
      refused: rules?.refused(imageName(target)) ?? [],
    };
    try {
      const manifest = await store.admit(keyOf(target), got.value, asked);
      return { kind: 'ok', value: manifest, upstream: upstream.name };
    } catch (error) {
      if (!(error instanceof IntegrityError)) throw error;
      log.warn(
        { image: imageName(target), upstream: upstream.name, ...error },
        'manifest of a wrong digest refused',
      );
      const cause = new UpstreamError(`it sent a manifest whose digest is ${error.found}`, {
        upstream: upstream.name,
        op: 'get-manifest',
        cause: error,
      });
      return { kind: 'unavailable', upstream: upstream.name, cause };
    }
  }
}

/** An image as people write it. */
function titleOf({ target, reference }: NamedImage): string {
  return `${imageName(target)}${reference.kind === 'tag' ? ':' : '@'}${referenceText(reference)}`;
}

/** What a fetch is shared and remembered by. */
export function fetchKey({ target, reference }: NamedImage): string {
  return `${imageName(target)} ${referenceText(reference)}`;
}
