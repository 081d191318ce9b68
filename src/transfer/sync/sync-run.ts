import type { Log } from '../../lib/log.ts';
import type { Digest } from '../../oci/digest.ts';
import { OciError } from '../../oci/errors.ts';
import type { Tag } from '../../oci/reference.ts';
import type { ShownTags } from '../../pull/admission/shown-tags.ts';
import { BackgroundBudget, BudgetSpentError } from '../../pull/background-budget.ts';
import { imageName, type ResolvedRepository } from '../../pull/repository.ts';
import { upstreamsOf } from '../../pull/source.ts';
import type { Warm } from '../warm/warm-images.ts';
import { selectTags } from './select-tags.ts';
import type { SyncEntry } from './sync-entry.ts';

/** What became of one tag. */
export type SyncResult =
  | { readonly result: 'added' | 'moved' | 'unchanged'; readonly digest: Digest }
  | { readonly result: 'failed'; readonly code: string; readonly message: string };

/** What a run came to. */
export type SyncReport = {
  readonly added: readonly string[];
  readonly moved: readonly string[];
  readonly unchanged: readonly string[];
  /** Without a tag where the repository's tags could not be listed. */
  readonly failed: readonly { readonly tag?: string; readonly code: string; readonly message: string }[];
  /** Why it ended before all tags were looked at. */
  readonly stopped?: string;
  /** Requests sent to upstreams. */
  readonly requests: number;
  /** Bytes that were fetched. */
  readonly bytes: number;
};

/** What is told of a run as it goes. */
export type SyncRunEvent =
  | { readonly kind: 'selected'; readonly tags: readonly string[] }
  | ({ readonly kind: 'tag'; readonly tag: string } & SyncResult);

/** What runs work with. */
export type SyncRunDeps = {
  readonly shownTags: Pick<ShownTags, 'all'>;
  readonly warm: Pick<Warm, 'run'>;
  readonly log: Log;
  readonly wait: (ms: number, signal: AbortSignal) => Promise<void>;
};

/** Milliseconds that a run waits for leave to ask an upstream that limits its requests; beyond it ends. */
const patience = 15 * 60_000;

/**
 * Looks for new versions of one entry's image and fetches them, one after the other, the newest first. Tags are
 * asked of upstream whatever their age here; a stale answer counts as a failure.
 * @param polite whether to keep within what upstreams grant to work that nobody waits for
 * @throws the signal's reason; every other failure is part of the report
 */
export async function* runSync(
  deps: SyncRunDeps,
  entry: SyncEntry,
  { polite }: { readonly polite: boolean },
  signal: AbortSignal,
): AsyncGenerator<SyncRunEvent, SyncReport, undefined> {
  const budget = new BackgroundBudget({ requests: entry.requests, bytesPerSecond: entry.maxBandwidth });
  const target = { ...entry.target, budget };
  const tagsBy = { added: [] as Tag[], moved: [] as Tag[], unchanged: [] as Tag[] };
  const failed: { tag?: string; code: string; message: string }[] = [];
  let bytes = 0;
  const done = (stopped?: string): SyncReport => {
    return { ...tagsBy, failed, requests: budget.used, bytes, ...(stopped !== undefined && { stopped }) };
  };
  let tags: readonly Tag[];
  try {
    tags = selectTags(await listAll(deps, target, signal), entry.selection);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BudgetSpentError) return done(spentMessage(budget));
    failed.push(failureOf(error));
    return done();
  }
  yield { kind: 'selected', tags };
  for (const tag of tags) {
    const stop = await mayGoOn(deps, target, polite, signal);
    if (stop !== undefined) return done(stop);
    const { bytes: fetched, ...result } = await attempt(
      () => syncTag(deps, entry, target, tag, signal),
      signal,
    );
    bytes += fetched;
    if (result.result === 'spent') return done(spentMessage(budget));
    if (result.result === 'failed') {
      failed.push({ tag, code: result.code, message: result.message });
      deps.log.warn({ image: `${imageName(target)}:${tag}`, cause: result.message }, 'tag not synced');
    } else tagsBy[result.result].push(tag);
    yield { kind: 'tag', tag, ...result };
  }
  return done();
}

/** Every tag that policy lets be shown, as an upstream lists them now. */
async function listAll(
  { shownTags }: SyncRunDeps,
  target: ResolvedRepository,
  signal: AbortSignal,
): Promise<readonly string[]> {
  const { tags, outcome } = await shownTags.all({ target: askingAgain(target), signal });
  if (outcome !== 'stale') return tags;
  throw new OciError('UNAVAILABLE', `no upstream of ${target.registry.name} lists its tags now`);
}

async function syncTag(
  { warm }: SyncRunDeps,
  { platforms }: SyncEntry,
  target: ResolvedRepository,
  tag: Tag,
  signal: AbortSignal,
): Promise<SyncResult & { readonly bytes: number }> {
  const image = { target: askingAgain(target), reference: { kind: 'tag', tag } } as const;
  const { result, digest, before, bytes, message } = await warm.run(image, { platforms }, () => {}, signal);
  if (result === 'denied' || result === 'failed' || digest === undefined) {
    const code = result === 'denied' ? 'DENIED' : 'UNAVAILABLE';
    return { result: 'failed', code, message: message ?? 'parts of it are missing', bytes };
  }
  const change = before === undefined ? 'added' : before === digest ? 'unchanged' : 'moved';
  return { result: change, digest, bytes };
}

type Attempted = (SyncResult | { readonly result: 'spent' }) & { readonly bytes: number };

/** Makes every failure but an abort part of the answer. */
async function attempt(
  work: () => Promise<SyncResult & { readonly bytes: number }>,
  signal: AbortSignal,
): Promise<Attempted> {
  try {
    return await work();
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof BudgetSpentError) return { result: 'spent', bytes: 0 };
    return { result: 'failed', bytes: 0, ...failureOf(error) };
  }
}

/** Why the run must end; `undefined` when it may go on, perhaps after a while. */
async function mayGoOn(
  { wait }: SyncRunDeps,
  { registry, budget }: ResolvedRepository & { readonly budget: BackgroundBudget },
  polite: boolean,
  signal: AbortSignal,
): Promise<string | undefined> {
  signal.throwIfAborted();
  if (budget.spent) return spentMessage(budget);
  const rateLimits = upstreamsOf(registry)
    .filter(({ tags }) => tags)
    .map(({ health }) => health.rateLimit);
  const ms = Math.min(...rateLimits.map((limit) => limit.backgroundIn()));
  if (!polite || rateLimits.length === 0 || ms === Number.POSITIVE_INFINITY) return undefined;
  if (ms > patience) return `${registry.name} limits the rate of requests: the rest waits for the next run`;
  if (ms > 0) await wait(ms, signal);
  for (const limit of rateLimits) if (limit.backgroundIn() === 0) limit.askedInBackground();
  return undefined;
}

/** The same repository, whose tags are always to be confirmed. */
function askingAgain<T extends ResolvedRepository>(target: T): T {
  return { ...target, registry: { ...target.registry, tagTtl: 0 } };
}

function spentMessage({ used }: BackgroundBudget): string {
  return `the ${used} upstream requests of a run are used up: the rest waits for the next run`;
}

function failureOf(error: unknown): { readonly code: string; readonly message: string } {
  const message = error instanceof Error ? error.message : String(error);
  return { code: error instanceof OciError ? error.code : 'UNKNOWN', message };
}
