// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these strings are the syntax that is read.
import { describe, expect, test } from 'vitest';
import { findImages } from '../../src/config/image-list.ts';

const found = (text: string, env: Record<string, string> = {}) => {
  return findImages(text, env, 'the-file').map(({ name, line }) => `${line} ${name}`);
};
const told = (text: string, env: Record<string, string> = {}): string => {
  try {
    return found(text, env).join();
  } catch (error) {
    return String((error as Error).message);
  }
};

describe('a plain list', () => {
  test('has one image a line, with comments and blank lines, each image once', () => {
    const text =
      '# ours\n\npython:3.12-slim  # the base\r\n  ghcr.io/org/app@sha256:ab\npython:3.12-slim\nlocalhost:5000/x';
    expect(found(text)).toEqual(['3 python:3.12-slim', '4 ghcr.io/org/app@sha256:ab', '6 localhost:5000/x']);
  });

  test('may be empty', () => {
    expect(found('')).toEqual([]);
    expect(found('# nothing yet\n')).toEqual([]);
  });

  test('may be written as YAML', () => {
    expect(found('- python:3\n- "redis:7"\n')).toEqual(['1 python:3', '2 redis:7']);
  });
});

describe('a compose file', () => {
  test('names the images of its services, merged ones too, and not those that are built', () => {
    const text = `x-base: &base
  image: redis:7
services:
  web:
    image: "nginx:\${NGINX:-1.27}"
    environment: {image: not-this}
  built: {build: .}
  cache:
    <<: *base
  other:
    <<: [*base]
    image: ghcr.io/org/app:\${TAG}
volumes: {image: {}}
`;
    expect(found(text, { TAG: '9' })).toEqual(['5 nginx:1.27', '2 redis:7', '12 ghcr.io/org/app:9']);
  });

  test.each([
    ['a:${T}', {}, 'the-file:1: the variable T is not set: set it in the environment, or write it out'],
    ['a:$T', { T: '' }, 'the-file:1: the variable T is not set: set it in the environment, or write it out'],
    ['a:${T:?say}', {}, 'the-file:1: the variable T is not set: set it in the environment, or write it out'],
    [
      'a:${T',
      {},
      'the-file:1: "a:${T" holds a $ that begins no variable: set it in the environment, or write it out',
    ],
    ['a:${T}', { T: '1' }, '1 a:1'],
    ['a:$T', { T: '1' }, '1 a:1'],
    ['a:${T-2}', { T: '' }, '1 a:'],
    ['a:${T:-2}', { T: '' }, '1 a:2'],
    ['a${T:+:x}', { T: '1' }, '1 a:x'],
    ['a${T:+:x}', {}, '1 a'],
    ['a:$$T', {}, '1 a:$T'],
  ])('%s with %j is: %s', (text, env, expected) => {
    expect(told(text, env)).toBe(expected);
  });

  test('names every line whose variable is not set', () => {
    expect(told('services:\n  a: {image: "a:${ONE}"}\n  b: {image: "b:${TWO}"}\n')).toMatch(
      /^the-file:2: .*ONE.*\nthe-file:3: .*TWO/,
    );
  });
});

describe('Kubernetes YAML', () => {
  test('names every container of every document, of whatever kind', () => {
    const text = `apiVersion: v1
kind: Pod
spec:
  initContainers: [{name: i, image: init:1}]
  containers:
    - name: c
      image: app:1
      env: [{name: image, value: "not:this"}]
  ephemeralContainers: [{image: debug:1}]
  volumes: [{name: v, image: {reference: models:1}}, {name: w, emptyDir: {}}]
---
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: cron:1}, {image: app:1}]}}}}}
---
kind: List
items:
  - kind: Rollout
    spec: {template: {spec: {containers: [{image: rollout:1}]}}}
  - {kind: ConfigMap, data: {image: not:this}}
---
`;
    expect(found(text)).toEqual(
      ['4 init:1', '7 app:1', '9 debug:1', '10 models:1', '13 cron:1', '18 rollout:1'].sort(
        (a, b) => Number.parseInt(a, 10) - Number.parseInt(b, 10),
      ),
    );
  });

  test('may be JSON, as kubectl prints it', () => {
    expect(found('{"kind":"List","items":[{"spec":{"containers":[{"image":"a:1"}]}}]}')).toEqual(['1 a:1']);
  });

  test('names none where there is none', () => {
    expect(found('kind: ConfigMap\ndata: {image: "x:1"}\n')).toEqual([]);
  });
});

test('a kustomization names what its images become', () => {
  const text = `kind: Kustomization
images:
  - {name: app, newTag: "1.10"}
  - {name: base, newName: ghcr.io/org/base, digest: sha256:ab}
  - {name: moved, newName: ghcr.io/org/moved}
  - {name: number, newTag: 1.10}
`;
  expect(found(text)).toEqual(['3 app:1.10', '4 ghcr.io/org/base@sha256:ab', '6 number:1.10']);
});

test.each([
  ['a template', 'spec:\n  containers:\n  - image: {{ .Values.image }}\n', /^the-file:3: .* render it first/],
  ['what is neither', 'a: b: c\n', /^the-file:1: neither a list of images nor YAML/],
  ['an alias in its own anchor', 'a: &a {b: *a}\n', /^the-file: it is too large or too deep/],
  ['aliases that multiply', bomb(), /^the-file: it is too large or too deep/],
  ['what is nested beyond reason', `a: ${'['.repeat(20_000)}`, /^the-file/],
])('%s is refused, not followed', (_what, text, expected) => {
  expect(told(text)).toMatch(expected);
});

function bomb(): string {
  const levels = Array.from({ length: 9 }, (_, level) => {
    const below = level === 0 ? '"x"' : `*l${level - 1}`;
    return `l${level}: &l${level} [${Array(9).fill(below).join(', ')}]`;
  });
  return `${levels.join('\n')}\n`;
}
