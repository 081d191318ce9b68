import { describe, expect, it } from 'vitest';
import { ProbeSchedule } from '../../../src/upstream/health/probe.ts';
import { makeManualClock } from '../../helpers/manual-clock.ts';
import { httpServer, rawServer } from '../loopback.ts';
import { candidate, seeded } from '../mirrors.ts';
import { digest, must, never, openClient, openTransfer, tag } from '../open-client.ts';

const headOk = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' };

describe('ProbeSchedule', () => {
  function openSchedule(random: () => number = () => 0) {
    const clock = makeManualClock();
    const all = ['a', 'b'].map((name) => candidate(name, clock));
    const schedule = new ProbeSchedule({ clock, random });
    return { clock, all, due: () => schedule.due(all).map(({ name }) => name) };
  }

  it('leaves alone whom traffic measured within the last minute', () => {
    const { clock, all, due } = openSchedule();
    for (let n = 0; n < 20; n++) {
      clock.advance(10_000);
      must(all[0]).health.observeSuccess();
      must(all[1]).health.observeFailure('missing');
      expect(due()).toEqual([]);
    }
  });

  it('calls an idle one due once a minute, and not again while the probe is out', () => {
    const { clock, all, due } = openSchedule();
    expect(due()).toEqual([]);
    clock.advance(60_001);
    must(all[0]).health.observeSuccess();
    expect(due()).toEqual(['b']);
    expect(due()).toEqual([]);
    clock.advance(60_001);
    expect(due()).toEqual(['a', 'b']);
  });

  it('does not call all due at the same time', () => {
    const { clock, due } = openSchedule(seeded(3));
    const times = new Map<string, number>();
    for (let n = 0; n < 80; n++) {
      clock.advance(1000);
      for (const name of due()) times.set(name, times.get(name) ?? n);
    }
    expect(new Set(times.values()).size).toBe(2);
    for (const n of times.values()) expect(n >= 59 && n <= 76).toBe(true);
  });

  it('calls one due as soon as the pause of its breaker is over, while nobody else finds out', () => {
    const { clock, all, due } = openSchedule();
    const { health } = must(all[1]);
    for (let n = 0; n < 3; n++) health.observeFailure('unreachable');
    expect(due()).toEqual([]);
    clock.advance(1000);
    expect(due()).toEqual(['b']);
    expect(due()).toEqual([]);
    clock.advance(1000);
    health.admit();
    expect(due()).toEqual([]);
  });

  it('leaves alone one that limits', () => {
    const { clock, all, due } = openSchedule();
    must(all[0]).health.observeAnswer(429, 100);
    clock.advance(80_000);
    expect(due()).toEqual(['b']);
  });
});

describe('UpstreamClient.probe', () => {
  it.each([
    [200, 'alive', 1],
    [401, 'alive', 1],
    [404, 'unclear', 0],
    [302, 'unclear', 0],
    [503, 'down', 0],
  ] as const)('finds an upstream that answers %i %s', async (status, outcome, samples) => {
    const server = await httpServer((_request, response) => response.writeHead(status).end('{}'));
    const { client, observed } = openClient(`${server.origin}/base`, { username: 'u', password: 'p' });
    expect(await client.probe(never)).toBe(outcome);
    expect(server.journal.map(({ method, url }) => `${method} ${url}`)).toEqual(['GET /v2/']);
    expect(must(server.journal[0]).headers.authorization).toBeUndefined();
    expect(client.health.samplesFor(0)).toBe(samples);
    expect(observed).toEqual([`probe ${outcome}`]);
  });

  it('closes the breaker of one that is back, opens it for one that is not, and leaves an open one alone', async () => {
    let status = 500;
    const server = await httpServer((_request, response) => response.writeHead(status).end());
    const { client, clock } = openClient(server.origin);
    for (let n = 0; n < 3; n++) expect(await client.probe(never)).toBe('down');
    expect(await client.probe(never)).toBe('left-alone');
    clock.time += 1000;
    expect(await client.probe(never)).toBe('down');
    clock.time += 2000;
    status = 401;
    expect(client.health.state).toBe('half-open');
    expect(await client.probe(never)).toBe('alive');
    expect(client.health.state).toBe('closed');
    expect(server.journal).toHaveLength(5);
  });

  it('gives back its turn when it is aborted', async () => {
    const arrived = Promise.withResolvers<void>();
    const { port } = await rawServer(() => arrived.resolve());
    const { client, clock } = openClient(`http://127.0.0.1:${port}`);
    for (let n = 0; n < 3; n++) client.health.observeFailure('timeout');
    clock.time += 1000;
    const abort = new AbortController();
    const probe = client.probe(abort.signal);
    await arrived.promise;
    abort.abort(new Error('enough'));
    await expect(probe).rejects.toThrow('enough');
    expect(client.health.state).toBe('half-open');
    expect(client.health.admit().kind).toBe('probe');
  });
});

describe('what a client tells its health', () => {
  it('is the budget that its upstream names, and the time to the first byte', async () => {
    const server = await httpServer((_request, response) => {
      response.writeHead(200, {
        ...headOk,
        'ratelimit-limit': '100;w=21600',
        'ratelimit-remaining': '76;w=21600',
      });
      response.end();
    });
    const { client } = openClient(server.origin);
    await client.headManifest('a/b', tag, never);
    expect([client.health.rateLimit.limit, client.health.rateLimit.remaining]).toEqual([100, 76]);
    expect(client.health.firstByteMs).toBeGreaterThan(0);
  });

  it('is nothing of the budget that another host names, where it was redirected to', async () => {
    const storage = await httpServer((_request, response) => {
      response.writeHead(200, { ...headOk, 'ratelimit-limit': '7', 'ratelimit-remaining': '1' }).end();
    });
    const server = await httpServer((_request, response) => {
      response.writeHead(307, { location: storage.origin, 'ratelimit-remaining': '50' }).end();
    });
    const { client } = openClient(server.origin);
    expect((await client.headBlob('a', digest, never)).kind).toBe('ok');
    expect(client.health.rateLimit.remaining).toBe(50);
  });

  it('is each 429, from the upstream or its token endpoint', async () => {
    const server = await httpServer((_request, response) => {
      response.writeHead(429, { 'retry-after': '42' }).end();
    });
    const { client } = openClient(server.origin);
    await client.getManifest('a', tag, 100, never);
    expect([client.health.rateLimit.retryAfter(), client.health.state]).toEqual([42, 'closed']);

    const guarded = await httpServer((request, response) => {
      const realm = `Bearer realm="http://${request.headers.host}/token"`;
      if (request.url?.startsWith('/token')) response.writeHead(429, { 'retry-after': '9' }).end();
      else response.writeHead(401, { 'www-authenticate': realm }).end();
    });
    const other = openClient(guarded.origin).client;
    expect((await other.getManifest('a', tag, 100, never)).kind).toBe('limited');
    expect(other.health.rateLimit.retryAfter()).toBe(9);
  });

  it.each([
    ['a 5xx', 503, 'open'],
    ['a 4xx that only a strange name brings about', 400, 'closed'],
    ['an absence', 404, 'closed'],
    ['a refusal', 403, 'closed'],
  ])('is %s', async (_what, status, state) => {
    const server = await httpServer((_request, response) => response.writeHead(status).end());
    const { client } = openClient(server.origin);
    for (let n = 0; n < 3; n++) await client.getManifest('a', tag, 100, never);
    expect(client.health.state).toBe(state);
  });

  it('is a connection that is refused, and then that it is back', async () => {
    const server = await httpServer((_request, response) => response.writeHead(200, headOk).end('{}'));
    const { client } = openClient('http://127.0.0.1:1');
    for (let n = 0; n < 3; n++) await client.headManifest('a', tag, never);
    expect(client.health.state).toBe('open');
    const { client: well } = openClient(server.origin);
    for (let n = 0; n < 3; n++) well.health.observeFailure('timeout');
    await well.getManifest('a', tag, 100, never);
    expect(well.health.state).toBe('closed');
  });

  it('is a blob transfer that broke off with next to nothing, but not one that brought something', async () => {
    for (const [bytes, state] of [
      [1000, 'open'],
      [100_000, 'closed'],
    ] as const) {
      const { port } = await rawServer((socket) => {
        socket.end(`HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n${'x'.repeat(bytes)}`);
      });
      const { client } = openClient(`http://127.0.0.1:${port}`);
      const { get } = openTransfer();
      for (let n = 0; n < 3; n++) {
        const got = await get(client, 'a', digest, { start: 0 }, never);
        expect(got).toMatchObject({ kind: 'ok', value: { ending: 'broken', received: bytes } });
      }
      expect(client.health.state).toBe(state);
    }
  });

  it('is nothing of a request that was aborted', async () => {
    const arrived = Promise.withResolvers<void>();
    const { port } = await rawServer(() => arrived.resolve());
    const { client } = openClient(`http://127.0.0.1:${port}`);
    const before = client.health.snapshot();
    const abort = new AbortController();
    const asked = client.getManifest('a', tag, 100, abort.signal);
    await arrived.promise;
    abort.abort(new Error('enough'));
    await expect(asked).rejects.toThrow('enough');
    expect(client.health.snapshot()).toEqual(before);
  });
});
