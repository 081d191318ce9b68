import { expect, onTestFinished, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { Slices } from '../../../src/lib/concurrency.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import { DeniedContent } from '../../../src/pull/admission/denied-content.ts';
import { PullListings } from '../../../src/pull/listings/listings.ts';
import { PullManifests } from '../../../src/pull/manifests/manifests.ts';
import { ManifestStore } from '../../../src/pull/manifests/store.ts';
import { keyOf, type ResolvedRepository } from '../../../src/pull/repository.ts';
import { SqliteMetadata } from '../../../src/store/sqlite/sqlite-metadata.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { metadataUnderTest } from '../../helpers/delayed-metadata.ts';
import { nobody } from '../../helpers/facts.ts';
import { makeGate } from '../../helpers/gate.ts';
import { descriptorOf, makeImage, manifestOf, type TestManifest } from '../../helpers/image.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { temporaryDirectory } from '../../helpers/start-proxy.ts';
import { bodyOf, headOf, refusals, scriptedUpstream, targetOf } from '../scripted-upstream.ts';

const images = ['a', 'b', 'c'].map((seed) => makeImage({ seed }));
const [a, b, c] = images.map(({ manifest }) => manifest) as [TestManifest, TestManifest, TestManifest];
const inner = indexOf([b, c]);
const outer = indexOf([a, inner, a]);

function indexOf(children: readonly TestManifest[]): TestManifest {
  const document = {
    schemaVersion: 2,
    mediaType: mediaTypes.ociIndex,
    manifests: children.map(descriptorOf),
  };
  return manifestOf(document, mediaTypes.ociIndex);
}

/** An upstream that has these manifests, and the room that asks it; `failing` ones it answers with 503. */
async function scene(manifests: readonly TestManifest[], failing: readonly TestManifest[] = []) {
  const asked: string[] = [];
  const find = (reference: { digest?: string }) => {
    if (failing.some(({ digest }) => digest === reference.digest)) return undefined;
    return manifests.find(({ digest }) => digest === reference.digest);
  };
  const refusal = (reference: { digest?: string }) =>
    failing.some(({ digest }) => digest === reference.digest) ? refusals.unavailable : refusals.missing;
  const upstream = scriptedUpstream({
    headManifest: async (_, reference) => {
      asked.push('digest' in reference ? reference.digest : reference.tag);
      const found = find(reference as { digest?: string });
      return found ? headOf(found) : refusal(reference as { digest?: string });
    },
    getManifest: async (_, reference) => {
      const found = find(reference as { digest?: string });
      return found ? bodyOf(found) : refusal(reference as { digest?: string });
    },
    listReferrers: async () => refusals.missing,
  });
  const metadata = metadataUnderTest(SqliteMetadata.open(`${await temporaryDirectory()}/index.db`));
  const clock = makeManualClock();
  const { log } = captureLog();
  const random = () => 0.999;
  const limits = { manifestSize: 1_000_000 };
  const pulled = new PullManifests(
    { store: new ManifestStore({ metadata, facts: nobody }), clock, log, random },
    limits,
  );
  const listings = new PullListings({ metadata, clock, slices: new Slices(), facts: nobody }, limits);
  const content = new DeniedContent({ manifests: pulled, listings, metadata, clock, log });
  onTestFinished(async () => {
    for (const room of [content, pulled, listings]) room.close();
    await metadata.close();
  });
  const target = targetOf([upstream], { negativeTtl: 0 });
  return {
    asked,
    upstream,
    metadata,
    content,
    target,
    learn: (of: TestManifest, signal = neverAborted, from: ResolvedRepository = target) =>
      content.learn(from, [of.digest], signal),
    knows: async ({ digest }: TestManifest) =>
      (await metadata.manifests.get(keyOf(target), digest)) !== undefined,
  };
}

test('every manifest below is recorded, through indexes of indexes, each asked for once', async () => {
  const { learn, knows, asked } = await scene([outer, inner, a, b, c]);
  await learn(outer);
  for (const manifest of [outer, inner, a, b, c]) expect(await knows(manifest)).toBe(true);
  expect(asked.toSorted()).toEqual([outer, inner, a, b, c].map(({ digest }) => digest).toSorted());
});

test('platforms that the registry does not have are left out', async () => {
  const { learn, knows } = await scene([outer, a]);
  await learn(outer);
  expect(await knows(a)).toBe(true);
  expect(await knows(inner)).toBe(false);
});

test('whoever asks at the same time waits for the same, and later nothing is asked', async () => {
  const { learn, asked } = await scene([a]);
  await Promise.all([learn(a), learn(a), learn(a)]);
  await learn(a);
  expect(asked).toEqual([a.digest]);
});

test('a part that cannot be looked up now leaves it unknown, until it can', async () => {
  const failing = [b];
  const { learn, knows, metadata, target } = await scene([outer, inner, a, b, c], failing);
  const failure = await learn(outer).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(OciError);
  expect(failure).toMatchObject({ code: 'UNAVAILABLE', cause: { code: 'UNAVAILABLE' } });
  expect(await metadata.links.examinedAt(keyOf(target), outer.digest)).toBeUndefined();
  failing.pop();
  await learn(outer);
  expect(await knows(b)).toBe(true);
});

test('more manifests than any image has are not looked at, so that it stays unknown', async () => {
  const many = Array.from({ length: 1_001 }, (_, at) =>
    indexOf([manifestOf({ at }, mediaTypes.ociManifest)]),
  );
  const bomb = indexOf(many);
  const { learn, asked } = await scene([bomb, ...many]);
  await expect(learn(bomb)).rejects.toMatchObject({ code: 'UNAVAILABLE' });
  expect(asked).toEqual([bomb.digest]);
});

test('offline nothing is asked: what is stored is all there is', async () => {
  const { content, upstream, target } = await scene([a]);
  await content.learn(
    { ...target, registry: { ...target.registry, source: { kind: 'offline' } } },
    [a.digest],
    neverAborted,
  );
  expect(upstream.asked).toEqual([]);
});

test('who does not wait any longer leaves, and the work goes on for the others', async () => {
  const { learn, knows, upstream } = await scene([a]);
  const gate = makeGate();
  const { headManifest } = upstream.answers;
  upstream.answers.headManifest = async (...args) => {
    await gate.opened;
    return headManifest?.(...args) ?? refusals.missing;
  };
  const leaving = new AbortController();
  const [left, stayed] = [learn(a, leaving.signal), learn(a)];
  leaving.abort(new Error('gone'));
  await expect(left).rejects.toThrow('gone');
  gate.open();
  await stayed;
  expect(await knows(a)).toBe(true);
});

test('closing ends what is under way', async () => {
  const { learn, content, upstream } = await scene([a]);
  const gate = makeGate();
  upstream.answers.headManifest = (_repository, _reference, signal) =>
    new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason));
      gate.open();
    });
  const waiting = learn(a);
  await gate.opened;
  content.close();
  await expect(waiting).rejects.toThrow('stopping');
});
