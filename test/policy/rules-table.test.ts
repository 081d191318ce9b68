import { describe, expect, test } from 'vitest';
import { parseDigest } from '../../src/oci/digest.ts';
import { type PolicyRule, PolicyRules } from '../../src/policy/rules.ts';

const good = digest('a');
const bad = digest('b');

function digest(letter: string) {
  const parsed = parseDigest(`sha256:${letter.repeat(64)}`);
  if (parsed === undefined) throw new Error('no digest');
  return parsed;
}

/** A site that pins versions of what it knows, takes no floating tags, and denies what is not listed. */
const strict: readonly PolicyRule[] = [
  { images: ['**'], digests: [bad], action: 'deny', reason: 'CVE-2024-3094' },
  { images: ['ghcr.io/kotaemon/**'], tags: ['*-ollama'], action: 'deny' },
  { images: ['ghcr.io/kotaemon/**'], semver: '>=0.10 <0.12', action: 'allow' },
  { images: ['ghcr.io/kotaemon/kotaemon'], tags: ['main-lite'], action: 'allow', minAge: 1000 },
  {
    images: ['**'],
    tags: ['latest', 'nightly', '*-nightly', 'edge'],
    action: 'deny',
    reason: 'Pin a version',
  },
  {
    images: ['docker.io/library/python'],
    semver: '^3.11',
    tags: ['*-slim*', '/^3\\.\\d+(\\.\\d+)?$/'],
    action: 'allow',
  },
  { images: ['docker.io/library/node'], tags: ['/^\\d+-bookworm(-slim)?$/'], action: 'allow', pin: true },
  {
    images: ['docker.io/library/{nginx,postgres}'],
    semver: '>=1.26 <2 || 16.x || >=17.0.0-beta.2 <18',
    action: 'allow',
  },
  { images: ['registry.k8s.io/**', 'quay.io/prometheus/*'], semver: '*', action: 'allow' },
  { images: ['quay.io/**'], digests: [good], action: 'allow' },
];
/** A site that takes everything but what moves or is too old. */
const lenient: readonly PolicyRule[] = [
  { images: ['docker.io/library/busybox'], action: 'allow' },
  { images: ['docker.io/library/**'], semver: '<3', tags: ['*alpine*'], action: 'deny' },
  { images: ['**'], tags: ['latest', '/(^|-)(nightly|canary)(-|$)/'], action: 'deny' },
  { images: ['docker.io/evil/**', 'quay.io/evil/*'], action: 'deny', reason: 'Typosquats' },
];

const kotaemon = 'ghcr.io/kotaemon/kotaemon';
const hub = 'docker.io/library';

describe('a strict site', () => {
  const policy = new PolicyRules({ default: 'deny', rules: strict });

  test.each([
    [kotaemon, '0.10.4-full', 'allow'],
    [kotaemon, '0.10.4-lite', 'allow'],
    [kotaemon, 'v0.10.4', 'allow'],
    [kotaemon, '0.11', 'allow'],
    [kotaemon, '0.11.2-full', 'allow'],
    [kotaemon, '0.10.4-ollama', 'rule 2'],
    [kotaemon, 'latest-ollama', 'rule 2'],
    [kotaemon, 'main-ollama', 'rule 2'],
    [kotaemon, 'main-lite', 'allow'],
    ['ghcr.io/kotaemon/other', 'main-lite', 'default'],
    [kotaemon, 'main-full', 'default'],
    [kotaemon, 'latest-full', 'default'],
    [kotaemon, 'latest', 'rule 5'],
    [kotaemon, '0.9.9-full', 'default'],
    [kotaemon, '0.12.0', 'default'],
    [kotaemon, '0.11.0-rc1-full', 'default'],
    ['ghcr.io/kotaemonx/kotaemon', '0.10.4', 'default'],
    ['ghcr.io.evil.example/kotaemon/kotaemon', '0.10.4', 'default'],
    [`${hub}/python`, '3.12-slim-bookworm', 'allow'],
    [`${hub}/python`, '3.12.4-slim', 'allow'],
    [`${hub}/python`, '3.11', 'allow'],
    [`${hub}/python`, '3.11.9', 'allow'],
    [`${hub}/python`, '3.12-bookworm', 'default'],
    [`${hub}/python`, '3.12-alpine3.19', 'default'],
    [`${hub}/python`, '3.10-slim', 'default'],
    [`${hub}/python`, '3-slim', 'default'],
    [`${hub}/python`, '3.13.0rc1-slim', 'default'],
    [`${hub}/python`, '4.0-slim', 'default'],
    [`${hub}/python`, 'slim', 'default'],
    [`${hub}/python`, 'latest', 'rule 5'],
    [`${hub}/node`, '22-bookworm-slim', 'allow'],
    [`${hub}/node`, '22-bookworm', 'allow'],
    [`${hub}/node`, 'lts-bookworm', 'default'],
    [`${hub}/node`, '22-alpine', 'default'],
    [`${hub}/nginx`, '1.27-alpine3.20', 'allow'],
    [`${hub}/nginx`, '1.27.0', 'allow'],
    [`${hub}/nginx`, '1.25', 'default'],
    [`${hub}/nginx`, 'stable-alpine', 'default'],
    [`${hub}/nginx`, 'mainline', 'default'],
    [`${hub}/postgres`, '16.4', 'allow'],
    [`${hub}/postgres`, '16', 'allow'],
    [`${hub}/postgres`, '16.4-alpine3.20', 'allow'],
    [`${hub}/postgres`, '15.8', 'default'],
    [`${hub}/postgres`, '17beta1', 'default'],
    [`${hub}/postgres`, '17beta3', 'allow'],
    [`${hub}/postgres`, '17rc1-alpine', 'allow'],
    [`${hub}/postgres`, 'nightly', 'rule 5'],
    [`${hub}/postgres`, 'bookworm', 'default'],
    ['registry.k8s.io/pause', '3.9', 'allow'],
    ['registry.k8s.io/kube-apiserver', 'v1.31.0', 'allow'],
    ['registry.k8s.io/kube-apiserver', 'v1.32.0-alpha.1', 'default'],
    ['registry.k8s.io/etcd', '3.5.15-0', 'allow'],
    ['registry.k8s.io/coredns/coredns', 'v1.11.1', 'allow'],
    ['registry.k8s.io/ingress-nginx/kube-webhook-certgen', 'v20231011-8b53cabe0', 'default'],
    ['quay.io/prometheus/prometheus', 'v2.54.1', 'allow'],
    ['quay.io/prometheus/prometheus', 'main', 'default'],
    ['quay.io/org/app', 'latest', 'rule 5'],
    ['quay.io/org/app', 'edge', 'rule 5'],
    ['quay.io/org/app', '1.0', 'default'],
    ['quay.io/org/app', '2-nightly', 'rule 5'],
  ])('%s:%s: %s', (image, tag, expected) => {
    const decision = policy.tag(image, tag, digest('c'));
    expect(
      decision.kind === 'allow' ? 'allow' : decision.rule === undefined ? 'default' : `rule ${decision.rule}`,
    ).toBe(expected);
    if (decision.kind === 'deny') expect(decision.message).toContain(`${image}:${tag} is denied`);
  });

  test.each([
    [kotaemon, '0.10.4', bad, 'rule 1'],
    [kotaemon, '0.10.4', undefined, 'undecided'],
    [kotaemon, '0.10.4-ollama', undefined, 'rule 2'],
    [kotaemon, 'latest', undefined, 'rule 5'],
    ['quay.io/org/app', '1.0', good, 'allow'],
    ['quay.io/org/app', 'latest', good, 'rule 5'],
    ['quay.io/org/app', '1.0', bad, 'rule 1'],
    ['quay.io/org/app', '1.0', undefined, 'undecided'],
    [`${hub}/alpine`, '3.20', undefined, 'default'],
  ] as const)('%s:%s that leads to %s: %s', (image, tag, leadsTo, expected) => {
    const decision = policy.tag(image, tag, leadsTo);
    expect(
      decision.kind === 'deny'
        ? decision.rule === undefined
          ? 'default'
          : `rule ${decision.rule}`
        : decision.kind,
    ).toBe(expected);
  });

  test.each([
    [kotaemon, '0.10.4', { pin: false, minAge: 0 }],
    [kotaemon, 'main-lite', { pin: false, minAge: 1000 }],
    [`${hub}/node`, '22-bookworm', { pin: true, minAge: 0 }],
  ])('%s:%s is allowed with %o', (image, tag, care) => {
    expect(policy.tag(image, tag, good)).toEqual({ kind: 'allow', ...care });
  });

  test.each([
    [kotaemon, good, ['0.10.4-full'], true],
    [kotaemon, good, ['latest', '0.10.4-full'], true],
    [kotaemon, good, ['latest'], false],
    [kotaemon, bad, ['0.10.4-full'], false],
    [kotaemon, good, [], false],
    ['quay.io/org/app', digest('c'), ['1.0'], false],
    ['quay.io/org/app', good, ['1.0'], true],
    ['quay.io/org/app', good, ['latest'], false],
    ['quay.io/org/app', good, [], false],
    ['quay.io/org/app', bad, [], false],
  ])('%s@%s known by %j: %s', (image, content, tags, expected) => {
    expect(policy.digest(image, content, tags).kind === 'allow').toBe(expected);
  });

  test.each([
    [kotaemon, true],
    [`${hub}/python`, true],
    ['quay.io/org/app', true],
    [`${hub}/alpine`, false],
    ['mcr.microsoft.com/dotnet/sdk', false],
  ])('speaks of the repository %s: %s', (image, expected) => {
    expect(policy.repository(image).kind === 'allow').toBe(expected);
    expect(policy.whole(image)).toBe(false);
  });
});

describe('a lenient site', () => {
  const policy = new PolicyRules({ default: 'allow', rules: lenient });

  test.each([
    [`${hub}/busybox`, 'latest', true],
    [`${hub}/nginx`, 'latest', false],
    [`${hub}/nginx`, '1.27-alpine', false],
    [`${hub}/nginx`, '1.27', true],
    [`${hub}/alpine`, '3.20', true],
    [`${hub}/redis`, '7-alpine', true],
    [`${hub}/redis`, '2.8-alpine', false],
    [`${hub}/redis`, 'alpine', true],
    ['quay.io/org/app', 'v2-canary-1', false],
    ['quay.io/org/app', 'canary', false],
    ['quay.io/org/app', 'canaryish', true],
    ['quay.io/evil/app', '1.0', false],
    ['quay.io/evil/deep/app', '1.0', true],
    ['docker.io/evil/deep/app', '1.0', false],
  ])('%s:%s: %s', (image, tag, expected) => {
    expect(policy.tag(image, tag, undefined).kind === 'allow').toBe(expected);
  });

  test.each([
    [`${hub}/busybox`, { whole: true, repository: true, digest: true }],
    [`${hub}/nginx`, { whole: false, repository: true, digest: false }],
    ['quay.io/org/app', { whole: false, repository: true, digest: false }],
    ['quay.io/evil/app', { whole: false, repository: false, digest: false }],
  ])('%s as a whole, as a repository, and by a digest of no known tag: %o', (image, expected) => {
    expect({
      whole: policy.whole(image),
      repository: policy.repository(image).kind === 'allow',
      digest: policy.digest(image, good, []).kind === 'allow',
    }).toEqual(expected);
  });
});
