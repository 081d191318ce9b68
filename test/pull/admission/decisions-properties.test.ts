import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { repositoryText } from '../../../src/oci/repository-key.ts';
import { type PolicyRule, PolicyRules } from '../../../src/policy/rules.ts';
import { Admission } from '../../../src/pull/admission/admission.ts';
import type { DigestPolicy } from '../../../src/pull/admission/provenance.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { howOften } from '../../helpers/runs.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { graphs, type Happening, happening, World } from '../provenance-world.ts';
import { targetOf } from '../scripted-upstream.ts';

/** What an admission is told of what happened. */
function tell(admission: Admission, world: World, event: Happening): void {
  if (event.kind === 'drop') admission.forget();
  if (event.kind === 'drop' || event.kind === 'link') return;
  const key = world.keys[event.to] as (typeof world.keys)[number];
  const tags = event.kind === 'untag' || (event.kind === 'put' && event.tag !== undefined);
  admission.changed(key, { tags, manifest: event.kind === 'put' });
}

/** Rules by tags, by digests, by both; `digest` is one of the world's. */
const policies: readonly { fallback: 'allow' | 'deny'; rules(digest: Digest): readonly PolicyRule[] }[] = [
  { fallback: 'deny', rules: () => [{ images: ['**'], tags: ['v*'], action: 'allow' }] },
  { fallback: 'allow', rules: () => [{ images: ['**'], tags: ['latest', 'night*'], action: 'deny' }] },
  { fallback: 'allow', rules: (digest) => [{ images: ['**'], digests: [digest], action: 'deny' }] },
  {
    fallback: 'deny',
    rules: (digest) => [
      { images: ['**'], tags: ['v1'], digests: [digest], action: 'deny' },
      { images: ['**'], tags: ['v*'], action: 'allow' },
    ],
  },
  {
    fallback: 'allow',
    rules: (digest) => [
      { images: ['**'], digests: [digest], tags: ['v*'], action: 'allow' },
      { images: ['**'], digests: [digest], action: 'deny' },
    ],
  },
];

test('what is remembered of a decision is what would be decided anew, whatever became known since', async () => {
  const metadata = SqliteMetadata.open(`${await temporaryDirectory()}/index.db`);
  onTestFinished(() => metadata.close());
  // A link alone tells nobody anything: it is recorded for what an upstream vouched for, which no decision rests on.
  const events = fc.array(
    happening.filter(({ kind }) => kind !== 'link'),
    { minLength: 1, maxLength: 16 },
  );
  const modes = fc.constantFrom<DigestPolicy>('provenance', 'deny', 'allow');
  await fc.assert(
    fc.asyncProperty(
      graphs,
      events,
      fc.constantFrom(...policies),
      fc.nat(6),
      modes,
      async (graph, happenings, { fallback, rules }, what, digests) => {
        const world = new World(metadata, graph);
        const named = rules(world.digests[what] as Digest);
        const lock = { digest: () => undefined };
        const open = () =>
          new Admission(
            { rules: new PolicyRules({ default: fallback, rules: named }), metadata, lock },
            { digests },
          );
        const lasting = open();
        for (const event of happenings) {
          await world.record(event);
          tell(lasting, world, event);
          const anew = open();
          for (const key of world.keys) {
            const target = targetOf([], { name: key.registry, repository: key.repository });
            for (const digest of world.digests) {
              const wanted = { kind: 'content', digest } as const;
              const now = await lasting.judge(target, wanted, { deniedContent: true });
              const fresh = await anew.judge(target, wanted, { deniedContent: true });
              expect(now, `${repositoryText(key)}@${digest}`).toEqual(fresh);
            }
          }
        }
      },
    ),
    { numRuns: howOften(50, 8) },
  );
}, 120_000);
