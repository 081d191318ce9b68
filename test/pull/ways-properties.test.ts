import fc from 'fast-check';
import { expect, onTestFinished, test } from 'vitest';
import { waysTo } from '../../src/pull/ways.ts';
import { SqliteMetadata } from '../../src/store/sqlite/sqlite-metadata.ts';
import { howOften } from '../helpers/runs.ts';
import { temporaryDirectory } from '../helpers/start-proxy.ts';
import { graphs, happening, World, written } from './provenance-world.ts';

test('the ways that are found one by one are those that there are, whatever was recorded in whatever order', async () => {
  const metadata = SqliteMetadata.open(`${await temporaryDirectory()}/index.db`);
  onTestFinished(() => metadata.close());
  const noted = fc.uniqueArray(fc.nat(8), { maxLength: 3 });
  await fc.assert(
    fc.asyncProperty(
      graphs,
      fc.array(happening, { minLength: 1, maxLength: 25 }),
      noted,
      async (graph, events, named) => {
        const world = new World(metadata, graph);
        for (const event of events) await world.record(event);
        for (const [repository, key] of world.keys.entries()) {
          for (const digest of world.digests) {
            for (const current of [false, true]) {
              const options = { current, noted: named.map((what) => world.digests[what] as typeof digest) };
              const found: string[] = [];
              for await (const { tag, via } of waysTo(metadata.links, key, digest, options)) {
                found.push(written(tag, via));
              }
              expect([...new Set(found)].sort()).toEqual(world.ways(repository, digest, options));
            }
          }
        }
      },
    ),
    { numRuns: howOften(100, 20) },
  );
}, 120_000);
