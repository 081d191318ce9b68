import { expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import { OciError } from '../../../src/oci/errors.ts';
import { mediaTypes } from '../../../src/oci/media-types.ts';
import type { Reference } from '../../../src/oci/reference.ts';
import type { Judgement, Known, Wanted } from '../../../src/pull/admission/admission.ts';
import { Admit } from '../../../src/pull/admission/admit.ts';
import { hit, miss } from '../../../src/pull/manifests/answer.ts';
import { freely, type TagTerms } from '../../../src/pull/manifests/tag-terms.ts';
import { makeBlob } from '../../helpers/image.ts';
import { mustTag } from '../../helpers/stored.ts';
import { targetOf } from '../scripted-upstream.ts';

const { digest, bytes } = makeBlob('manifest', 10);
const manifest = { digest, bytes, mediaType: mediaTypes.ociManifest };
const [byTag, byDigest] = [
  { kind: 'tag', tag: mustTag('v1') },
  { kind: 'digest', digest },
] as const;
const terms: TagTerms = { locked: undefined, pin: true, minAge: 7 };
const allow: Judgement = { kind: 'allow', terms: freely };
const deny: Judgement = { kind: 'deny', message: 'no' };
const needsManifest: Judgement = { kind: 'needs', evidence: { kind: 'manifest', terms } };
const needsContent: Judgement = { kind: 'needs', evidence: { kind: 'denied-content', digests: [digest] } };

type Scene = {
  judge?: (wanted: Wanted, known: Known) => Judgement | Promise<Judgement>;
  /** Whether the manifest is in memory. */
  hot?: boolean;
  learn?: () => Promise<void>;
};

function scene({ judge = () => allow, hot = false, learn = async () => undefined }: Scene) {
  /** What was asked of the policy and of upstreams, in order. */
  const asked: string[] = [];
  const admit = new Admit({
    admission: {
      judge: (_target, wanted, known = {}) => {
        const evidence = [known.manifest && 'manifest', known.deniedContent && 'denied-content'];
        asked.push(['judge', wanted.kind, ...evidence.filter(Boolean)].join(' '));
        return judge(wanted, known);
      },
    },
    manifests: {
      hot: () => (hot ? hit(manifest) : undefined),
      pull: async (ask, by = freely) => {
        asked.push(`pull ${ask.reference.kind} ${by.pin ? 'pinned' : 'freely'}`);
        return miss(manifest, 'up');
      },
    },
    deniedContent: {
      learn: async () => {
        asked.push('learn');
        await learn();
      },
    },
  });
  const ask = <R extends Reference | undefined>(reference: R) => {
    return { target: targetOf([]), reference, signal: neverAborted };
  };
  return {
    asked,
    manifest: (reference: Reference) => admit.manifest(ask(reference)),
    content: () => admit.content(ask(byDigest)),
    repository: () => admit.repository(ask(undefined)),
  };
}

test('what memory can answer is answered at once, and the policy is asked once', () => {
  const { asked, manifest: pull, content, repository } = scene({ hot: true });
  expect(pull(byTag)).toEqual({ kind: 'allow', answer: hit(manifest) });
  expect(pull(byDigest)).toEqual({ kind: 'allow', answer: hit(manifest) });
  expect(content()).toEqual(allow);
  expect(repository()).toEqual(allow);
  expect(asked).toEqual(['judge tag', 'judge digest', 'judge content', 'judge repository']);
});

test('a denial that is known is told at once, and nothing is fetched', () => {
  const { asked, manifest: pull, content, repository } = scene({ judge: () => deny, hot: true });
  expect([pull(byTag), content(), repository()]).toEqual([deny, deny, deny]);
  expect(asked).toEqual(['judge tag', 'judge content', 'judge repository']);
});

test('what is allowed is pulled by the terms that allow it', async () => {
  const { asked, manifest: pull } = scene({ judge: () => ({ kind: 'allow', terms }) });
  expect(await pull(byTag)).toEqual({ kind: 'allow', answer: miss(manifest, 'up') });
  expect(asked).toEqual(['judge tag', 'pull tag pinned']);
});

test('a tag whose digest decides is pulled once, by the terms asked for, and what was judged is answered', async () => {
  for (const hot of [false, true]) {
    const judge = (_: Wanted, known: Known) => (known.manifest ? allow : needsManifest);
    const { asked, manifest: pull } = scene({ judge, hot });
    expect(await pull(byTag)).toEqual({ kind: 'allow', answer: miss(manifest, 'up') });
    expect(asked).toEqual(['judge tag', 'pull tag pinned', 'judge tag manifest']);
  }
});

test('what turns out to be denied is not answered; that it was fetched is told', async () => {
  const { manifest: pull } = scene({ judge: (_, known) => (known.manifest ? deny : needsManifest) });
  expect(await pull(byTag)).toEqual({ ...deny, fetched: miss(manifest, 'up') });
});

test('one piece of evidence is brought after the other, and nothing is fetched for what that denies', async () => {
  const judge = (_: Wanted, known: Known) => {
    if (!known.deniedContent) return needsContent;
    return known.manifest ? allow : needsManifest;
  };
  const both = scene({ judge });
  expect(await both.manifest(byDigest)).toMatchObject({ kind: 'allow' });
  expect(both.asked).toEqual([
    'judge digest',
    'learn',
    'judge digest denied-content',
    'pull digest pinned',
    'judge digest manifest denied-content',
  ]);
  const denied = scene({ judge: (_, known) => (known.deniedContent ? deny : needsContent) });
  expect(await denied.manifest(byDigest)).toMatchObject(deny);
  expect(await denied.content()).toEqual(deny);
  expect(denied.asked.filter((each) => each.startsWith('pull'))).toEqual([]);
});

test('what cannot be found out is thrown', async () => {
  const unknown = new OciError('UNAVAILABLE', 'nobody answers');
  const learn = async () => {
    throw unknown;
  };
  const { manifest: pull, content } = scene({ judge: () => needsContent, learn });
  await expect(pull(byDigest)).rejects.toBe(unknown);
  await expect(content()).rejects.toBe(unknown);
});

test('a policy that is never content, or asks for a manifest of what is none, is a fault and no permission', async () => {
  const endless = scene({ judge: () => needsContent });
  await expect(endless.content()).rejects.toThrow('without end');
  expect(endless.asked.length).toBeLessThan(20);
  await expect(scene({ judge: () => needsManifest }).content()).rejects.toThrow('manifest');
});
