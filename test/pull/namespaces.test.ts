import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { OciError } from '../../src/oci/errors.ts';
import { parseRoute } from '../../src/oci/route.ts';
import { Namespaces } from '../../src/pull/namespaces.ts';
import { imageName, type Registry } from '../../src/pull/repository.ts';
import { mustKey } from '../helpers/stored.ts';
import { digestText, nameComponent } from '../oci/arbitraries.ts';

function registry(name: string): Registry {
  return { name, source: { kind: 'mirror', upstreams: [] }, tagTtl: 1, negativeTtl: 1 };
}

const names = ['docker.io', 'ghcr.io', 'registry.corp:5000', 'local'];
const namespaces = new Namespaces(names.map(registry), {
  aliases: new Map([
    ['ghcr.mirror.corp', 'ghcr.io'],
    ['quay.mirror.corp:8443', 'local'],
  ]),
  defaultRegistry: 'docker.io',
});

/** What a request for a path and `Host` means: an image name, or the code of the refusal. */
function meaning(target: string, host?: string): string {
  const route = parseRoute(target);
  if (!('address' in route)) return route.kind;
  try {
    return imageName(namespaces.resolve(route.address, host));
  } catch (error) {
    if (error instanceof OciError) return error.code;
    throw error;
  }
}

describe('a request means', () => {
  test.each([
    // [path, Host, image]
    ['/v2/org/app/tags/list', undefined, 'docker.io/org/app'],
    ['/v2/org/app/tags/list', 'entrepot:5000', 'docker.io/org/app'],
    // The library rule, for Docker Hub alone.
    ['/v2/nginx/tags/list', undefined, 'docker.io/library/nginx'],
    ['/v2/docker.io/nginx/tags/list', undefined, 'docker.io/library/nginx'],
    ['/docker.io/v2/nginx/tags/list', undefined, 'docker.io/library/nginx'],
    ['/v2/nginx/tags/list?ns=docker.io', undefined, 'docker.io/library/nginx'],
    ['/v2/library/nginx/tags/list', undefined, 'docker.io/library/nginx'],
    ['/v2/ghcr.io/nginx/tags/list', undefined, 'ghcr.io/nginx'],
    ['/v2/nginx/tags/list?ns=ghcr.io', undefined, 'ghcr.io/nginx'],
    // ns, mirror path and prefix, each alone.
    ['/v2/org/app/tags/list?ns=ghcr.io', undefined, 'ghcr.io/org/app'],
    ['/ghcr.io/v2/org/app/tags/list', undefined, 'ghcr.io/org/app'],
    ['/v2/ghcr.io/org/app/tags/list', undefined, 'ghcr.io/org/app'],
    ['/v2/registry.corp:5000/org/app/tags/list', undefined, 'registry.corp:5000/org/app'],
    ['/v2/org/app/tags/list?ns=registry.corp:5000', undefined, 'registry.corp:5000/org/app'],
    ['/v2/local/org/app/tags/list', undefined, 'local/org/app'],
    // A prefix is more exact than what surrounds it.
    ['/v2/ghcr.io/org/app/tags/list?ns=docker.io', undefined, 'ghcr.io/org/app'],
    ['/v2/ghcr.io/org/app/tags/list?ns=ghcr.io', undefined, 'ghcr.io/org/app'],
    ['/docker.io/v2/ghcr.io/org/app/tags/list', undefined, 'ghcr.io/org/app'],
    ['/v2/ghcr.io/org/app/tags/list', 'quay.mirror.corp:8443', 'ghcr.io/org/app'],
    // The mirror path before ns, ns before Host.
    ['/ghcr.io/v2/org/app/tags/list?ns=docker.io', undefined, 'ghcr.io/org/app'],
    ['/v2/org/app/tags/list?ns=docker.io', 'ghcr.mirror.corp', 'docker.io/org/app'],
    // Aliases: in any case, the port as configured or left out of the configuration.
    ['/v2/org/app/tags/list', 'ghcr.mirror.corp', 'ghcr.io/org/app'],
    ['/v2/org/app/tags/list', 'GHCR.Mirror.Corp:5000', 'ghcr.io/org/app'],
    ['/v2/org/app/tags/list', 'quay.mirror.corp:8443', 'local/org/app'],
    ['/v2/org/app/tags/list', 'quay.mirror.corp', 'docker.io/org/app'],
    ['/v2/org/app/tags/list', 'ghcr.mirror.corp.evil.example', 'docker.io/org/app'],
    ['/v2/nginx/tags/list', 'ghcr.mirror.corp', 'ghcr.io/nginx'],
    // A component that is only like a registry's name is a component.
    ['/v2/localapp/x/tags/list', undefined, 'docker.io/localapp/x'],
    ['/v2/local/tags/list', undefined, 'docker.io/library/local'],
    // What is not configured is not dialled.
    ['/v2/quay.io/org/app/tags/list', undefined, 'NAME_UNKNOWN'],
    ['/v2/org/app/tags/list?ns=quay.io', undefined, 'NAME_UNKNOWN'],
    ['/quay.io/v2/org/app/tags/list', undefined, 'NAME_UNKNOWN'],
    ['/v2/quay.io/org/app/tags/list?ns=ghcr.io', undefined, 'NAME_UNKNOWN'],
    ['/v2/localhost/app/tags/list', undefined, 'NAME_UNKNOWN'],
    ['/v2/127.0.0.1:80/app/tags/list', undefined, 'NAME_UNKNOWN'],
    ['/v2/org/app/tags/list?ns=GHCR.IO', undefined, 'NAME_UNKNOWN'],
    ['/v2/org/app/tags/list?ns=ghcr.io/', undefined, 'NAME_UNKNOWN'],
    ['/v2/org/app/tags/list?ns=__proto__', undefined, 'NAME_UNKNOWN'],
    // Names by the grammar only.
    ['/v2/ghcr.io/tags/list', undefined, 'docker.io/library/ghcr.io'],
    ['/v2/ghcr.io//tags/list', undefined, 'NAME_INVALID'],
    ['/v2/ghcr.io/Org/tags/list', undefined, 'NAME_INVALID'],
    ['/v2/org/../app/tags/list', undefined, 'NAME_INVALID'],
    ['/v2/ghcr.io/../app/tags/list', undefined, 'NAME_INVALID'],
    ['/v2/org%2fapp/tags/list', undefined, 'NAME_INVALID'],
    ['/v2//app/tags/list', undefined, 'NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/tags/list`, undefined, 'NAME_INVALID'],
  ])('%s with Host %s: %s', (target, host, expected) => {
    expect(meaning(target, host)).toBe(expected);
  });
});

test('a refusal repeats a host that was named, and nothing that is none', () => {
  const message = (ns: string) => {
    try {
      namespaces.resolve({ name: 'a', ns, mirrorPath: undefined }, undefined);
    } catch (error) {
      return error instanceof OciError ? error.message : undefined;
    }
    return undefined;
  };
  expect(message('quay.io')).toContain('quay.io');
  expect(message('<script>alert(1)</script>')).not.toContain('script');
});

test('whatever a client names, the registry is one of the list and the repository is of the grammar', () => {
  const part = fc.oneof(
    nameComponent,
    fc.constantFrom(...names, 'quay.io', '..', '', '%2f', 'A', 'localhost', '[::1]:80', '\\'),
  );
  const name = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const optional = fc.option(fc.oneof(part, fc.string()), { nil: undefined });
  fc.assert(
    fc.property(name, optional, optional, optional, (text, mirrorPath, ns, host) => {
      try {
        const { registry: found, repository } = namespaces.resolve({ name: text, mirrorPath, ns }, host);
        expect(names).toContain(found.name);
        expect(repository).toMatch(/^[a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*$/);
        // The name that is asked for upstream ends as the client's does.
        expect(text.endsWith(repository) || repository === `library/${text.split('/').at(-1)}`).toBe(true);
      } catch (error) {
        expect(error).toBeInstanceOf(OciError);
      }
    }),
    { numRuns: 2_000 },
  );
});

test('a hostile path never leads to a repository with dot segments, percent signs or empty components', () => {
  const scrap = fc.constantFrom(
    '..',
    '.',
    '',
    '%2e%2e',
    '%2f',
    'v2',
    'ghcr.io',
    'a',
    'manifests',
    'latest',
    'blobs',
  );
  const tail = fc.oneof(
    fc.constantFrom('manifests/latest', 'tags/list', 'blobs/uploads/'),
    digestText.map((digest) => `blobs/${digest}`),
  );
  fc.assert(
    fc.property(fc.array(scrap, { maxLength: 6 }), tail, (scraps, end) => {
      const found = meaning(`/v2/${scraps.join('/')}/${end}`);
      expect(found).not.toMatch(/\.\.|%|\/\/|\/$|^\/|\/\.\//);
    }),
    { numRuns: 1_000 },
  );
});

test('a registry that an option names has to be configured', () => {
  const make = (aliases: [string, string][], defaultRegistry: string) =>
    new Namespaces([registry('ghcr.io')], { aliases: new Map(aliases), defaultRegistry });
  expect(() => make([], 'docker.io')).toThrow('docker.io');
  expect(() => make([['a', 'quay.io']], 'ghcr.io')).toThrow('quay.io');
  expect(make([], 'ghcr.io').all()).toHaveLength(1);
});

test('a name that a person gives means the registry that it says, or none', () => {
  const namespaces = new Namespaces([registry('ghcr.io'), registry('docker.io')], {
    aliases: new Map([['mirror.corp', 'ghcr.io']]),
    defaultRegistry: 'docker.io',
  });
  const app = mustKey('ghcr.io', 'org/app');
  expect(namespaces.named(app)).toMatchObject({ registry: { name: 'ghcr.io' }, repository: 'org/app' });
  for (const other of ['quay.io', 'mirror.corp', '']) {
    expect(() => namespaces.named({ ...app, registry: other })).toThrow(
      expect.objectContaining({
        code: 'NAME_UNKNOWN',
        message: `registry ${other} is not configured here: add it under "registries" in the configuration`,
      }),
    );
  }
});
