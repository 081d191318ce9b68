import { describe, expect, it } from 'vitest';
import { httpServer } from '../loopback.ts';
import { digest, never, openClient } from '../open-client.ts';

const index = 'application/vnd.oci.image.index.v1+json';

describe('listTags', () => {
  it('follows pages up to the limit, and leaves out what is no tag', async () => {
    const server = await httpServer((request, response) => {
      const page = Number(new URL(request.url ?? '', 'http://x').searchParams.get('page') ?? 1);
      response.setHeader('link', `</v2/a/tags/list?page=${page + 1}>; rel="next"`);
      response.end(JSON.stringify({ name: 'a', tags: [`v${page}`, '../evil', 7, `w${page}`, 'same'] }));
    });
    const { client } = openClient(server.origin);
    expect(await client.listTags('a', 6, never)).toMatchObject({
      kind: 'ok',
      value: ['v1', 'w1', 'same', 'v2', 'w2', 'v3'],
    });
    expect(server.journal.map(({ url }) => url)).toEqual([
      '/v2/a/tags/list?n=6',
      '/v2/a/tags/list?page=2',
      '/v2/a/tags/list?page=3',
    ]);
  });

  it('ends where there is no next page on the same origin', async () => {
    const server = await httpServer((_request, response) => {
      response.setHeader('link', '<http://evil.test/v2/a/tags/list>; rel="next"');
      response.end('{"tags":["a"]}');
    });
    expect(await openClient(server.origin).client.listTags('a', 9, never)).toMatchObject({
      kind: 'ok',
      value: ['a'],
    });
  });

  it('takes null for no tags, and 404 for no repository', async () => {
    const server = await httpServer((request, response) => {
      if (request.url?.includes('/none/')) response.writeHead(404).end();
      else response.end('{"name":"a","tags":null}');
    });
    const { client } = openClient(server.origin);
    expect(await client.listTags('a', 9, never)).toMatchObject({ kind: 'ok', value: [] });
    expect(await client.listTags('none', 9, never)).toMatchObject({ kind: 'missing' });
  });

  it('is unavailable when malformed, or without end', async () => {
    const server = await httpServer((request, response) => {
      response.setHeader('link', '<?again>; rel="next"');
      response.end(request.url?.includes('/loop/') ? '{"tags":["a"]}' : '{"tags":"a"}');
    });
    const { client } = openClient(server.origin);
    expect(await client.listTags('a', 9, never)).toMatchObject({
      kind: 'unavailable',
      cause: { reason: 'content' },
    });
    expect(await client.listTags('loop', 9, never)).toMatchObject({ kind: 'unavailable' });
    expect(server.journal).toHaveLength(101);
  });
});

describe('listReferrers', () => {
  it('returns the index as sent, and says whether it was filtered', async () => {
    const body = '{"schemaVersion":2, "manifests":[]}';
    const server = await httpServer((_request, response) => {
      response.writeHead(200, { 'content-type': index, 'oci-filters-applied': 'artifactType' }).end(body);
    });
    const { client } = openClient(server.origin);
    expect(await client.listReferrers('a', digest, 'application/x+y', 1000, never)).toMatchObject({
      kind: 'ok',
      value: { bytes: Buffer.from(body), mediaType: index, filtersApplied: 'artifactType' },
    });
    expect(server.journal[0]?.url).toBe(`/v2/a/referrers/${digest}?artifactType=application%2Fx%2By`);
  });

  it('merges pages', async () => {
    const server = await httpServer((request, response) => {
      const second = request.url?.endsWith('?2') ?? false;
      if (!second) response.setHeader('link', '<?2>; rel="next"');
      response.setHeader('content-type', index);
      response.end(JSON.stringify({ manifests: [{ digest: second ? 'b' : 'a' }] }));
    });
    const result = await openClient(server.origin).client.listReferrers('a', digest, undefined, 1000, never);
    const bytes = result.kind === 'ok' ? result.value.bytes.toString() : '';
    expect(JSON.parse(bytes)).toEqual({
      schemaVersion: 2,
      mediaType: index,
      manifests: [{ digest: 'a' }, { digest: 'b' }],
    });
  });

  it.each([
    ['application/json', '{"manifests":[]}'],
    ['text/html', '<html>'],
    [index, '{"manifests":{}}'],
    [index, 'nonsense'],
    [index, JSON.stringify({ manifests: ['x'.repeat(1000)] })],
  ])('is unavailable for %s: %s', async (type, body) => {
    const server = await httpServer((_request, response) =>
      response.setHeader('content-type', type).end(body),
    );
    const result = await openClient(server.origin).client.listReferrers('a', digest, undefined, 1000, never);
    expect(result).toMatchObject({ kind: 'unavailable', cause: { reason: 'content', op: 'list-referrers' } });
  });

  it('is missing where the upstream does not know the endpoint', async () => {
    const server = await httpServer((_request, response) => response.writeHead(404).end());
    const result = await openClient(server.origin).client.listReferrers('a', digest, undefined, 1000, never);
    expect(result.kind).toBe('missing');
  });
});

it('is named after its host and base path', () => {
  expect(openClient('https://harbor.corp:8443/dockerhub/').client.name).toBe('harbor.corp:8443/dockerhub');
  expect(openClient('https://ghcr.io').client.name).toBe('ghcr.io');
});
