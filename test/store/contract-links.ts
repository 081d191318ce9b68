import { describe, expect, test } from 'vitest';
import type { Digest } from '../../src/oci/digest.ts';
import type { Tag } from '../../src/oci/reference.ts';
import type { RepositoryKey } from '../../src/oci/repository-key.ts';
import type { LinkRecords, StepEnd } from '../../src/store/link-records.ts';
import type { ChildLink, StoredManifest } from '../../src/store/manifest-records.ts';
import type { Metadata } from '../../src/store/metadata.ts';
import { manifest, mustTag } from '../helpers/stored.ts';
import { app, child, found, layer, namesake, other, spare, v1, v2 } from './contract-content.ts';

const [first, second, third] = [manifest('1'), manifest('2'), manifest('3')];

/** All that is directly above a digest, page by page. */
async function above(
  metadata: Metadata,
  digest: Digest,
  { current = false, key = app }: { current?: boolean; key?: RepositoryKey } = {},
): Promise<{ readonly tags: readonly Tag[]; readonly above: readonly Digest[] }> {
  const [tags, found]: [Tag[], Digest[]] = [[], []];
  let after: StepEnd | undefined;
  do {
    const [step] = await metadata.links.stepsUp(key, [{ digest, after }], { current });
    tags.push(...(step?.tags ?? []));
    found.push(...(step?.above ?? []));
    after = step?.next;
  } while (after !== undefined);
  return { tags, above: found };
}

/**
 * What every {@link LinkRecords} promises: what a repository may read, and what leads to it.
 * @param open opens an empty index that is gone when the test ends
 */
export function describeLinks(name: string, open: () => Promise<Metadata>): void {
  describe(`${name} as LinkRecords`, () => {
    test('an empty index knows none', async () => {
      const metadata = await open();
      expect(await metadata.links.get(app, layer)).toBeUndefined();
      expect(await metadata.links.repositories()).toEqual([]);
      expect(await metadata.links.referrersOf(app, layer)).toEqual([]);
    });

    test('what one repository may read another may not, nor its namesake of another registry', async () => {
      const metadata = await open();
      const stored = manifest('private');
      await metadata.manifests.put(app, stored, [child(layer)], { tag: v1, upstream: 'u', at: 5 });
      for (const stranger of [other, namesake]) {
        expect(await metadata.manifests.get(stranger, stored.digest)).toBeUndefined();
        expect(await metadata.links.get(stranger, stored.digest)).toBeUndefined();
        expect(await metadata.links.get(stranger, layer)).toBeUndefined();
        expect(await metadata.tags.get(stranger, v1)).toBeUndefined();
      }
      await metadata.manifests.put(other, stored, [], { tag: undefined, upstream: 'u', at: 6 });
      expect(await metadata.manifests.get(other, stored.digest)).toBeDefined();
      expect(await metadata.links.get(other, layer)).toBeUndefined();
    });

    test('the subject of a manifest is no leave to read it', async () => {
      const metadata = await open();
      const subject = child(layer, 'subject');
      await metadata.manifests.put(app, manifest('sbom'), [subject], {
        tag: undefined,
        upstream: 'u',
        at: 5,
      });
      expect(await metadata.links.get(app, layer)).toBeUndefined();
    });

    test('a link without a size keeps the size that is known, and learns one', async () => {
      const metadata = await open();
      await metadata.links.put(app, layer, undefined);
      expect(await metadata.links.get(app, layer)).toEqual({ size: undefined, mediaType: undefined });
      await metadata.links.put(app, layer, 10);
      expect(await metadata.links.get(app, layer)).toMatchObject({ size: 10 });
      await metadata.links.put(app, layer, undefined);
      expect(await metadata.links.get(app, layer)).toMatchObject({ size: 10 });
      await metadata.manifests.put(app, manifest('m'), [child(layer)], {
        tag: undefined,
        upstream: 'u',
        at: 1,
      });
      expect(await metadata.links.get(app, layer)).toEqual({ size: 10, mediaType: 'application/x' });
    });

    test('repositories of which something is recorded are listed, by registry and name', async () => {
      const metadata = await open();
      await metadata.manifests.put(other, manifest('m'), [], found);
      await metadata.links.put(app, layer, undefined);
      await metadata.links.put(namesake, layer, undefined);
      expect(await metadata.links.repositories()).toEqual([namesake, app, other]);
    });

    test('what refers to a digest is what names it as its subject and what an upstream lists, in that repository alone', async () => {
      const metadata = await open();
      const [sbom, stranger, listed] = [manifest('sbom'), manifest('stranger'), manifest('listed')];
      await metadata.manifests.put(app, sbom, [child(layer, 'subject')], found);
      await metadata.manifests.put(other, stranger, [child(layer, 'subject')], found);
      await metadata.manifests.put(app, manifest('index'), [child(layer, 'manifest')], found);
      await metadata.links.putReferrers(app, layer, [listed.digest, sbom.digest]);
      expect(await metadata.links.referrersOf(app, layer)).toEqual([sbom.digest, listed.digest].sort());
      expect(await metadata.links.referrersOf(other, layer)).toEqual([stranger.digest]);
    });
  });

  describe(`${name} on what was examined`, () => {
    test('when it was is remembered by repository, of those that are known', async () => {
      const metadata = await open();
      expect(await metadata.links.putExamined(app, layer, 5)).toBe(false);
      expect(await metadata.links.repositories()).toEqual([]);
      for (const key of [app, other]) await metadata.manifests.put(key, manifest('m'), [], found);
      expect(await metadata.links.putExamined(app, layer, 5)).toBe(true);
      expect(await metadata.links.examinedAt(app, layer)).toBe(5);
      expect(await metadata.links.examinedAt(other, layer)).toBeUndefined();
      expect(await metadata.links.examinedAt(app, spare)).toBeUndefined();
      expect(await metadata.links.putExamined(app, layer, 7)).toBe(true);
      expect(await metadata.links.examinedAt(app, layer)).toBe(7);
    });

    test('that is forgotten with any manifest, which may have been what was found', async () => {
      const metadata = await open();
      const stored = manifest('m');
      await metadata.manifests.put(app, stored, [], found);
      await metadata.links.putExamined(app, layer, 5);
      await metadata.manifests.drop(stored.digest);
      expect(await metadata.links.examinedAt(app, layer)).toBeUndefined();
    });
  });

  describe(`${name} on what is directly above a digest`, () => {
    const nothing = { tags: [], above: [] };
    const put = (stored: StoredManifest, children: readonly ChildLink[], key = app, tag?: Tag) => {
      return (metadata: Metadata) => metadata.manifests.put(key, stored, children, { ...found, tag });
    };

    test('nothing is, where nothing is recorded', async () => {
      const metadata = await open();
      expect(await above(metadata, layer)).toEqual(nothing);
      await put(first, [child(spare)], app, v1)(metadata);
      expect(await above(metadata, layer)).toEqual(nothing);
    });

    test('a manifest is above what it names, once, whatever it names it as', async () => {
      const metadata = await open();
      await put(first, [child(layer), child(layer, 'config')])(metadata);
      expect(await above(metadata, layer)).toEqual({ tags: [], above: [first.digest] });
      expect(await above(metadata, first.digest)).toEqual(nothing);
    });

    test('its subject is above a manifest, and not the manifest above its subject', async () => {
      const metadata = await open();
      await put(first, [child(layer, 'subject')])(metadata);
      expect(await above(metadata, first.digest)).toEqual({ tags: [], above: [layer] });
      expect(await above(metadata, layer)).toEqual(nothing);
    });

    test('what an upstream lists as a referrer has what it refers to above it, in that repository alone', async () => {
      const metadata = await open();
      for (const subject of [layer, spare]) await metadata.links.putReferrers(app, subject, [first.digest]);
      const { above: subjects } = await above(metadata, first.digest);
      expect([...subjects].sort()).toEqual([layer, spare].sort());
      expect(await above(metadata, first.digest, { key: other })).toEqual(nothing);
    });

    test('the tags served as it are above a digest: all there were, or those that are', async () => {
      const metadata = await open();
      await put(first, [], app, v1)(metadata);
      await put(first, [], app, v2)(metadata);
      await put(second, [], app, v1)(metadata);
      expect((await above(metadata, first.digest)).tags).toEqual([v1, v2]);
      expect((await above(metadata, first.digest, { current: true })).tags).toEqual([v2]);
      expect((await above(metadata, second.digest, { current: true })).tags).toEqual([v1]);
    });

    test('a manifest of one repository is above nothing in another, nor in its namesake', async () => {
      const metadata = await open();
      await put(first, [child(layer)], app, v1)(metadata);
      for (const key of [other, namesake]) {
        expect(await above(metadata, layer, { key })).toEqual(nothing);
        expect(await above(metadata, first.digest, { key })).toEqual(nothing);
      }
      await put(second, [child(layer)], other)(metadata);
      expect((await above(metadata, layer, { key: other })).above).toEqual([second.digest]);
      expect((await above(metadata, layer)).above).toEqual([first.digest]);
    });

    test.each([
      ['before', ['link', 'store']],
      ['after', ['store', 'link']],
    ])(
      'a manifest that another repository brought is above its children where it has a link, made %s it was stored',
      async (_when, order) => {
        const index = put(second, [child(first.digest, 'manifest')], other);
        const vouched = (metadata: Metadata) => metadata.links.put(namesake, first.digest, undefined);
        const imported = (metadata: Metadata) =>
          metadata.manifests.import([
            {
              key: other,
              manifest: third,
              children: [child(first.digest, 'manifest')],
              tag: undefined,
              at: 1,
            },
          ]);
        const metadata = await open();
        for (const step of order) {
          if (step === 'store') await put(first, [child(layer)])(metadata);
          else for (const link of [index, vouched, imported]) await link(metadata);
        }
        for (const key of [app, other, namesake]) {
          expect((await above(metadata, layer, { key })).above).toEqual([first.digest]);
        }
        const { above: indexes } = await above(metadata, first.digest, { key: other });
        expect([...indexes].sort()).toEqual([second.digest, third.digest].sort());
      },
    );

    test('a manifest that is dropped is above nothing, in no repository, until it is put again', async () => {
      const metadata = await open();
      for (const key of [app, other]) await put(first, [child(layer)], key)(metadata);
      await put(second, [child(layer)])(metadata);
      await metadata.manifests.drop(first.digest);
      expect((await above(metadata, layer)).above).toEqual([second.digest]);
      expect(await above(metadata, layer, { key: other })).toEqual(nothing);
      await put(first, [child(layer)], other)(metadata);
      expect((await above(metadata, layer, { key: other })).above).toEqual([first.digest]);
      expect((await above(metadata, layer)).above).toHaveLength(2);
    });

    test('however much there is comes in pages, each thing once', async () => {
      const metadata = await open();
      const subjects = Array.from({ length: 70 }, (_, number) => manifest(`subject ${number}`).digest);
      const parents = Array.from({ length: 100 }, (_, number) => manifest(`parent ${number}`));
      const tags = Array.from({ length: 90 }, (_, number) => mustTag(`t${number}`));
      for (const parent of parents) await put(parent, [child(first.digest, 'manifest')])(metadata);
      for (const tag of tags) await put(first, [child(spare, 'subject')], app, tag)(metadata);
      for (const subject of subjects) await metadata.links.putReferrers(app, subject, [first.digest]);
      for (const current of [true, false]) {
        const all = await above(metadata, first.digest, { current });
        expect([...all.tags].sort()).toEqual([...tags].sort());
        const expected = [...subjects, ...parents.map(({ digest }) => digest), spare];
        expect([...all.above].sort()).toEqual(expected.sort());
      }
    });

    test('several digests are answered for in their order, each from where it is to go on', async () => {
      const metadata = await open();
      await put(first, [child(layer), child(spare)], app, v1)(metadata);
      const from = [layer, first.digest, second.digest, spare].map((digest) => ({ digest }));
      const steps = await metadata.links.stepsUp(app, from, { current: false });
      expect(steps.map((step) => [...step.tags, ...step.above])).toEqual([
        [first.digest],
        [v1],
        [],
        [first.digest],
      ]);
      const end = { tag: '', parent: first.digest, subject: '' };
      expect(
        await metadata.links.stepsUp(app, [{ digest: layer, after: end }], { current: false }),
      ).toMatchObject([{ above: [] }]);
    });
  });
}
