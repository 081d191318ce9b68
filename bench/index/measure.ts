import { createHash } from 'node:crypto';
import { percentile } from '../harness/samples.ts';
import { type Landmarks, registry } from './generate.ts';

/** A manifest to be recorded, by what it is called and what it names. */
export type NewManifest = {
  readonly digest: string;
  readonly bytes: Buffer;
  readonly layers: readonly string[];
  readonly tag: string | undefined;
};

/** What an index is asked by a server, as one version of the code does it. Repositories are those of {@link registry}. */
export type IndexSubject = {
  /** Decides anew about a digest: whether some tag that led to it is allowed; `denying` rules allow none. */
  provenance(
    repository: string,
    digest: string,
    options: { readonly denying: boolean; readonly current: boolean },
  ): Promise<boolean>;
  /** The text of a denial, made anew. */
  explain(repository: string): Promise<string>;
  history(repository: string, tag: string | undefined): Promise<number>;
  referrers(repository: string, subject: string): Promise<number>;
  /** A page of 100 of the repository's tags, from a list of all that is stored. */
  tagPage(repository: string, last: string): Promise<number>;
  tag(repository: string, tag: string): Promise<unknown>;
  manifest(repository: string, digest: string): Promise<unknown>;
  link(repository: string, digest: string): Promise<unknown>;
  /** Notes that manifests were pulled, all of them now. */
  recordPulls(repository: string, digests: readonly string[]): Promise<void>;
  putManifest(repository: string, manifest: NewManifest): Promise<unknown>;
  /** Reads all that is recorded of these; the answer is how many there are. */
  blobs(): Promise<number>;
  manifests(): Promise<number>;
  repositories(): Promise<number>;
  close(): Promise<void>;
};

/** One question's milliseconds: of the whole, and of the longest time that the main thread did nothing else. */
export type Figures = {
  readonly name: string;
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  readonly turn: { readonly p99: number; readonly max: number };
  /** Whether clients wait for it. */
  readonly request: boolean;
};

type Question = {
  readonly name: string;
  /** Only who administers the server, or nobody, waits for it. */
  readonly behindTheScenes?: true;
  ask(subject: IndexSubject, round: number): Promise<unknown>;
};

/** Times each question is asked, unless that takes longer than {@link longest}. */
const most = 500;

/** Milliseconds for one question, after which it is asked no more; but three times at least. */
const longest = 3_000;

/** Asks all questions of an index; a wrong answer is an exception. */
export async function measure(subject: IndexSubject, landmarks: Landmarks): Promise<readonly Figures[]> {
  const figures: Figures[] = [];
  for (const question of questionsAbout(landmarks)) {
    const times: number[] = [];
    const turns: number[] = [];
    const started = performance.now();
    for (let round = 0; round < most; round += 1) {
      const { elapsed, turn } = await timed(() => question.ask(subject, round));
      times.push(elapsed);
      turns.push(turn);
      if (round >= 2 && performance.now() - started > longest) break;
    }
    const of = (values: readonly number[], share: number) => percentile(values, share);
    figures.push({
      name: question.name,
      p50: of(times, 0.5),
      p99: of(times, 0.99),
      max: of(times, 1),
      turn: { p99: of(turns, 0.99), max: of(turns, 1) },
      request: question.behindTheScenes !== true,
    });
  }
  return figures;
}

function questionsAbout(landmarks: Landmarks): readonly Question[] {
  const { base, small, big, moving, movingTag, manifests, layers, tags } = landmarks;
  // Steps of a prime spread what is asked for over the whole index.
  const pick = <T>(from: readonly T[], round: number) => from[(round * 7_919) % from.length] as T;
  const allowed = { denying: false, current: false };
  const expect = async (wanted: boolean, got: Promise<boolean>) => {
    if ((await got) !== wanted) throw new Error(`decided ${!wanted} where ${wanted} is right`);
  };
  return [
    {
      name: 'provenance: a base layer, small repository',
      ask: (subject) => expect(true, subject.provenance(small, base, allowed)),
    },
    {
      name: 'provenance: a base layer, big repository',
      ask: (subject) => expect(true, subject.provenance(big, base, allowed)),
    },
    {
      name: 'provenance: a layer, big repository',
      ask: (subject, round) => expect(true, subject.provenance(big, pick(layers, round), allowed)),
    },
    {
      name: 'provenance: a manifest, big repository',
      ask: (subject, round) => expect(true, subject.provenance(big, pick(manifests, round), allowed)),
    },
    {
      name: 'provenance: a manifest, by current tags',
      ask: (subject, round) =>
        expect(true, subject.provenance(big, pick(manifests, round), { denying: false, current: true })),
    },
    {
      name: 'provenance: a manifest, denied',
      ask: (subject, round) =>
        expect(false, subject.provenance(big, pick(manifests, round), { denying: true, current: false })),
    },
    {
      name: 'provenance: a base layer, small repository, denied',
      ask: (subject) => expect(false, subject.provenance(small, base, { denying: true, current: false })),
    },
    {
      name: 'provenance: a base layer, big repository, denied',
      ask: (subject) => expect(false, subject.provenance(big, base, { denying: true, current: false })),
    },
    { name: 'the text of a denial, big repository', ask: (subject) => subject.explain(big) },
    {
      name: 'history of one tag',
      behindTheScenes: true,
      ask: (subject) => subject.history(moving, movingTag),
    },
    {
      name: 'history of a tag that has none',
      behindTheScenes: true,
      ask: (subject) => subject.history(moving, 'none'),
    },
    {
      name: 'history of a repository',
      behindTheScenes: true,
      ask: (subject) => subject.history(moving, undefined),
    },
    {
      name: 'referrers of a manifest',
      ask: (subject, round) => subject.referrers(big, pick(manifests, round)),
    },
    { name: 'referrers of a base layer', ask: (subject) => subject.referrers(big, base) },
    {
      name: 'a page of 100 of 100,000 tags',
      ask: (subject, round) => subject.tagPage(big, pick(tags, round)),
    },
    { name: 'a tag', ask: (subject, round) => subject.tag(big, pick(tags, round)) },
    { name: 'a manifest', ask: (subject, round) => subject.manifest(big, pick(manifests, round)) },
    { name: 'a link', ask: (subject, round) => subject.link(big, pick(layers, round)) },
    {
      name: '1,000 pulls noted',
      behindTheScenes: true,
      ask: (subject, round) =>
        subject.recordPulls(
          big,
          Array.from({ length: 1_000 }, (_, pull) => pick(manifests, round * 1_000 + pull)),
        ),
    },
    {
      name: 'a new manifest with its tag',
      ask: (subject, round) => subject.putManifest(big, fresh(round, base)),
    },
    { name: 'all blobs', behindTheScenes: true, ask: (subject) => subject.blobs() },
    { name: 'all manifests', behindTheScenes: true, ask: (subject) => subject.manifests() },
    { name: 'all repositories', behindTheScenes: true, ask: (subject) => subject.repositories() },
  ];
}

/** An image of eight new layers on the base layer. */
function fresh(round: number, base: string): NewManifest {
  const digestOf = (words: string) => `sha256:${createHash('sha256').update(words).digest('hex')}`;
  const layers = Array.from({ length: 8 }, (_, layer) => digestOf(`${registry} new ${round} ${layer}`));
  const bytes = Buffer.from(JSON.stringify({ layers, padding: 'x'.repeat(600) }));
  return { digest: digestOf(bytes.toString()), bytes, layers: [...layers, base], tag: `v9.${round}` };
}

async function timed(action: () => Promise<unknown>): Promise<{ elapsed: number; turn: number }> {
  let turn = 0;
  let last = performance.now();
  let watching = true;
  const over = new Promise<void>((resolve) => {
    const tick = () => {
      const now = performance.now();
      turn = Math.max(turn, now - last);
      last = now;
      if (watching) setImmediate(tick);
      else resolve();
    };
    setImmediate(tick);
  });
  const started = performance.now();
  await action();
  const elapsed = performance.now() - started;
  watching = false;
  await over;
  return { elapsed, turn };
}
