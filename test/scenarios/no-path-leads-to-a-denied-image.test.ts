import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { DigestPolicy } from '../../src/pull/admission/provenance.ts';
import { type Asked, contentOf, Expectation } from '../helpers/canary-expectation.ts';
import {
  addCanarySide,
  type CanarySide,
  canaryFinder,
  derivedTag,
  makeCanarySide,
  piecesOf,
} from '../helpers/canary-side.ts';
import { type FakeUpstream, startFakeUpstream } from '../helpers/fake-upstream.ts';
import { makeBlob } from '../helpers/image.ts';
import { listAsReferrers } from '../helpers/lying-mirror.ts';
import { request } from '../helpers/request.ts';
import { howOften } from '../helpers/runs.ts';
import { type ProxyOptions, type RunningProxy, startProxy } from '../helpers/start-proxy.ts';

/** Both sides share a layer. In `org/app` the first is `v1` and the second `latest`; in `org/twin` the reverse. */
const shared = makeBlob('shared', 200);
const sides = [makeCanarySide('one', shared), makeCanarySide('two', shared)] as const;
const repositories = ['org/app', 'org/twin'] as const;

type Policy = NonNullable<ProxyOptions['policy']>;

const byTags = ['provenance', 'deny'] as const;
const byDigests = ['provenance', 'allow', 'deny'] as const;
const [one, two] = sides.map(({ index }) => index.manifest.digest);

/** Rules that come to the same: `v1` is allowed, `latest` is denied; and for which of `policy.digests` they do. */
const policies: readonly (Policy & { readonly digestModes: readonly DigestPolicy[] })[] = [
  {
    rules: [{ images: ['**'], tags: ['latest', '*-nightly'], action: 'deny', reason: 'Pin a version' }],
    digestModes: byTags,
  },
  {
    default: 'deny',
    rules: [{ images: ['ghcr.io/org/*'], tags: ['/^v[0-9]+$/'], action: 'allow' }],
    digestModes: byTags,
  },
  {
    default: 'deny',
    rules: [{ images: ['ghcr.io/**'], semver: '>=1 <2', action: 'allow', pin: true }],
    digestModes: byTags,
  },
  {
    rules: [
      { images: ['ghcr.io/org/app'], digests: [`${two}`], action: 'deny', reason: 'CVE' },
      { images: ['*/*/twin'], digests: [`sha256:${'0'.repeat(64)}`, `${one}`], action: 'deny' },
    ],
    digestModes: byDigests,
  },
  {
    rules: [
      { images: ['**/app'], tags: ['v*'], action: 'allow' },
      { images: ['**/app'], digests: [`${two}`], action: 'deny' },
      { images: ['**/twin'], digests: [`${one}`], tags: ['latest', 'v2'], action: 'deny' },
    ],
    digestModes: byTags,
  },
];

/** How a client names a repository. */
const forms = ['default', 'ns', 'prefix', 'host', 'mirror path', 'prefix and ns'] as const;

type Step =
  | { readonly kind: 'restart' }
  | {
      readonly kind: 'ask';
      readonly repository: number;
      readonly asked: Asked;
      readonly form: (typeof forms)[number];
      readonly method: 'GET' | 'HEAD';
      readonly headers: Readonly<Record<string, string>>;
    };

const manifests = sides.flatMap((side) => piecesOf(side).manifests);
const blobs = sides.flatMap((side) => piecesOf(side).blobs);
const digests = [...new Set([...manifests, ...blobs].map(({ digest }) => digest))];
const derived = manifests.flatMap((manifest) =>
  ['', '.sig', '.att'].map((suffix) => derivedTag(manifest, suffix)),
);

const asked: fc.Arbitrary<Asked> = fc.oneof(
  { weight: 4, arbitrary: asking('manifests', ['v1', 'v1', 'latest']) },
  {
    weight: 5,
    arbitrary: asking(
      'manifests',
      manifests.map(({ digest }) => digest),
    ),
  },
  { weight: 6, arbitrary: asking('blobs', digests) },
  { weight: 2, arbitrary: asking('manifests', derived) },
  { weight: 2, arbitrary: asking('referrers', digests) },
  { weight: 1, arbitrary: asking('manifests', digests) },
);
const headers = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  fc.constantFrom({ range: 'bytes=0-40' }, { range: 'bytes=-30' }, { range: 'bytes=0-19,40-70' }),
  fc.constantFrom(...digests).map((digest) => ({ 'if-none-match': `"${digest}"` })),
);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 25,
    arbitrary: fc.record({
      kind: fc.constant('ask' as const),
      repository: fc.nat(1),
      asked,
      form: fc.constantFrom(...forms),
      method: fc.constantFrom('GET' as const, 'GET' as const, 'HEAD' as const),
      headers,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: 'restart' as const }) },
);

function asking(noun: Asked['noun'], references: readonly string[]): fc.Arbitrary<Asked> {
  return fc.constantFrom(...references).map((reference) => ({ noun, reference }));
}

/** The request as it goes over the wire. */
function addressed(form: (typeof forms)[number], repository: string, { noun, reference }: Asked) {
  const prefixed = form === 'prefix' || form === 'prefix and ns';
  const name = prefixed ? `ghcr.io/${repository}` : repository;
  const base = form === 'mirror path' ? '/ghcr.io' : '';
  const query = form === 'ns' || form === 'prefix and ns' ? '?ns=ghcr.io' : '';
  const path = `${base}/v2/${name}/${noun}/${reference}${query}`;
  return { path, host: form === 'host' ? { host: 'ghcr.mirror.corp' } : {} };
}

async function run(proxy: RunningProxy, steps: readonly Step[], failClosed: boolean): Promise<void> {
  const [one, two] = sides;
  const expectations = [new Expectation(one, two, failClosed), new Expectation(two, one, failClosed)];
  for (const each of steps) {
    if (each.kind === 'restart') {
      await proxy.restart();
      continue;
    }
    const repository = repositories[each.repository] ?? repositories[0];
    const { path, host } = addressed(each.form, repository, each.asked);
    const answer = await request(proxy.url, path, {
      method: each.method,
      headers: { ...each.headers, ...host },
    });
    expectations[each.repository]?.check(each.asked, answer);
  }
}

/** The registry, and a mirror of its bytes that has everything, names everything wrongly, and is asked first. */
type Upstreams = { readonly origin: FakeUpstream; readonly mirror: FakeUpstream };

async function start({ origin, mirror }: Upstreams, policy: Policy): Promise<RunningProxy> {
  const upstreams = [{ url: mirror.url, tags: false }, origin];
  return startProxy({
    registries: { 'ghcr.io': { upstreams, hosts: ['ghcr.mirror.corp'], negativeTtl: 0 } },
    policy,
    allowFills: true,
  });
}

async function openUpstreams(): Promise<Upstreams> {
  const [origin, mirror] = [await startFakeUpstream(), await startFakeUpstream()];
  for (const [repository, side, tag, other] of [
    ['org/app', sides[0], 'v1', 'latest'],
    ['org/app', sides[1], 'latest', 'v1'],
    ['org/twin', sides[0], 'latest', 'v1'],
    ['org/twin', sides[1], 'v1', 'latest'],
  ] as const) {
    addCanarySide(origin, repository, side, tag);
    addCanarySide(mirror, repository, side, other);
  }
  listAsReferrers(mirror, manifests);
  return { origin, mirror };
}

/** What a client of `v1` asks for, all of it. */
function wholePull(repository: number, { index }: CanarySide): readonly Step[] {
  const ask = (noun: Asked['noun'], reference: string): Step => {
    return {
      kind: 'ask',
      repository,
      asked: { noun, reference },
      form: 'default',
      method: 'GET',
      headers: {},
    };
  };
  return [
    ask('manifests', 'v1'),
    ask('manifests', index.manifest.digest),
    ...index.images.flatMap((image) => [
      ask('manifests', image.manifest.digest),
      ...contentOf(image).map((digest) => ask('blobs', digest)),
    ]),
  ];
}

test('whatever is asked, in whatever order and form, nothing of a denied image comes out, and the allowed one does', async () => {
  const upstreams = await openUpstreams();
  const settings = fc.record({
    policy: fc
      .constantFrom(...policies)
      .chain(({ digestModes, ...rules }) =>
        fc.constantFrom(...digestModes).map((digests) => ({ ...rules, digests })),
      ),
    failClosed: fc.boolean(),
    /** Whether clients of each repository pulled `v1` whole before. */
    pulled: fc.tuple(fc.boolean(), fc.boolean()),
    steps: fc.array(step, { minLength: 10, maxLength: 30 }),
  });
  await fc.assert(
    fc.asyncProperty(settings, async ({ policy, failClosed, pulled, steps }) => {
      const proxy = await start(upstreams, { ...policy, failClosed });
      const before = sides.flatMap((side, repository) =>
        pulled[repository] ? wholePull(repository, side) : [],
      );
      await run(proxy, [...before, ...steps], failClosed);
      await proxy.close();
    }),
    { numRuns: howOften(40, 10) },
  );
}, 180_000);

test('the canaries are found in what is not denied, so that the property above can fail', async () => {
  const upstreams = await openUpstreams();
  const proxy = await start(upstreams, { rules: [] });
  const [one] = sides;
  const find = canaryFinder(one);
  const { manifests: all, blobs: content } = piecesOf(one);
  for (const [noun, pieces] of [
    ['manifests', all],
    ['blobs', content],
  ] as const) {
    for (const { digest } of pieces) {
      const { body } = await request(proxy.url, `/v2/org/app/${noun}/${digest}`);
      expect(find(body)).toEqual(digest === shared.digest ? [] : [digest]);
    }
  }
  const layer = one.index.images[0]?.layers[1]?.digest ?? '';
  const part = await request(proxy.url, `/v2/org/app/blobs/${layer}`, { headers: { range: 'bytes=40-70' } });
  expect(part.status).toBe(206);
  expect(find(part.body)).toEqual([layer]);
});
