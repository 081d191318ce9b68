import { expect, test } from 'vitest';
import { neverAborted } from '../../../src/lib/abort.ts';
import type { Reference } from '../../../src/oci/reference.ts';
import { askAboutLogin } from '../../../src/pull/asking/ask-login.ts';
import type { ResolvedRepository } from '../../../src/pull/repository.ts';
import type { UpstreamClient } from '../../../src/upstream/client.ts';
import type { UpstreamResult } from '../../../src/upstream/result.ts';
import { mustTag } from '../../helpers/stored.ts';
import { ok, refusals, targetOf } from '../scripted-upstream.ts';

const login = 'Basic dXNlcjpwYXNz';
const v1: Reference = { kind: 'tag', tag: mustTag('v1') };

/** An upstream at an origin that answers about a login, and what it was asked. */
function upstreamAt(origin: string, answer: UpstreamResult<true> = ok(true)) {
  const asked: unknown[][] = [];
  const client = {
    origin,
    mayPull: async (...args: unknown[]) => {
      asked.push(args.slice(0, 3));
      return answer;
    },
  };
  return { client: client as unknown as UpstreamClient, asked };
}

function registryOf(name: string, ...upstreams: { client: UpstreamClient }[]): ResolvedRepository {
  const target = targetOf([], { name });
  const source = { kind: 'mirror', upstreams: upstreams.map(({ client }) => client) } as const;
  return { ...target, registry: { ...target.registry, source } };
}

const ask = (target: ResolvedRepository, reference: Reference | undefined = v1) =>
  askAboutLogin(target, login, reference, neverAborted);

test('the registry itself is asked whether the login may pull', async () => {
  const own = upstreamAt('https://ghcr.io');
  const target = registryOf('ghcr.io', own);
  expect(await ask(target)).toBe('yes');
  expect(own.asked).toEqual([[target.repository, v1, login]]);
});

test('a mirror of the registry never sees the login, wherever it stands in the list', async () => {
  const [mirror, own] = [upstreamAt('https://mirror.example.com'), upstreamAt('https://ghcr.io')];
  expect(await ask(registryOf('ghcr.io', mirror, own))).toBe('yes');
  expect(await ask(registryOf('ghcr.io', mirror))).toBe('unknown');
  expect(mirror.asked).toEqual([]);
});

test.each(['https://ghcr.io.example.com', 'https://ghcr.io:8443', 'https://notghcr.io', 'https://docker.io'])(
  '%s is not the registry ghcr.io',
  async (origin) => {
    const other = upstreamAt(origin);
    expect(await ask(registryOf('ghcr.io', other))).toBe('unknown');
    expect(other.asked).toEqual([]);
  },
);

test('Docker Hub is at registry-1.docker.io, and docker.io itself is not', async () => {
  const [hub, site] = [upstreamAt('https://registry-1.docker.io'), upstreamAt('https://docker.io')];
  expect(await ask(registryOf('docker.io', site, hub))).toBe('yes');
  expect(site.asked).toEqual([]);
  expect(await ask(registryOf('ghcr.io', hub))).toBe('unknown');
});

test('a registry on a port of its own is asked there', async () => {
  const own = upstreamAt('https://registry.corp:5000');
  expect(await ask(registryOf('registry.corp:5000', own))).toBe('yes');
});

test('without a manifest to ask about nobody is asked', async () => {
  const own = upstreamAt('https://ghcr.io');
  expect(await askAboutLogin(registryOf('ghcr.io', own), login, undefined, neverAborted)).toBe('unknown');
  expect(own.asked).toEqual([]);
});

test('denied is no, absent is unknown', async () => {
  expect(await ask(registryOf('ghcr.io', upstreamAt('https://ghcr.io', refusals.denied)))).toBe('no');
  expect(await ask(registryOf('ghcr.io', upstreamAt('https://ghcr.io', refusals.missing)))).toBe('unknown');
});

test('a registry that cannot tell now is an error, which says so and holds no secret', async () => {
  const down = ask(registryOf('ghcr.io', upstreamAt('https://ghcr.io', refusals.unavailable)));
  await expect(down).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('the login for ghcr.io/org/app'),
  });
  const limited = ask(registryOf('ghcr.io', upstreamAt('https://ghcr.io', refusals.limited)));
  await expect(limited).rejects.toMatchObject({ code: 'TOOMANYREQUESTS', retryAfter: 3 });
  for (const failure of [down, limited]) await expect(failure).rejects.not.toThrow(login);
});
