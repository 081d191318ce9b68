import path from 'node:path';
import { describe, expect, test } from 'vitest';
import { bundleRoutes } from '../../../src/http/admin/bundle-routes.ts';
import { silentLog } from '../../../src/lib/log.ts';
import { captureLog } from '../../helpers/capture-log.ts';
import { makeImage } from '../../helpers/image.ts';
import { openSite, temporaryFolder } from '../../transfer/bundle/bundle-scene.ts';

const names = { defaultRegistry: 'docker.io', registries: ['docker.io', 'ghcr.io'] };

async function scene(log = silentLog) {
  const folder = await temporaryFolder();
  const [a, b] = [await openSite(path.join(folder, 'a')), await openSite(path.join(folder, 'b'))];
  await a.putImage('docker.io/library/app:1.0', makeImage());
  const routesOf = ({ images, exporter, importer }: typeof a) =>
    bundleRoutes({ images, exporter, importer, log }, names);
  const post = (routes: ReturnType<typeof routesOf>, target: string, type: string, body: string | Buffer) =>
    routes.fetch(
      new Request(`http://control/api/v1${target}`, {
        method: 'POST',
        headers: { 'Content-Type': type },
        body: typeof body === 'string' ? body : new Uint8Array(body),
      }),
    );
  const from = (target: string, body: unknown) =>
    post(routesOf(a), target, 'application/json', JSON.stringify(body));
  const into = (target: string, body: string | Buffer, type = 'application/x-tar') =>
    post(routesOf(b), target, type, body);
  return { a, b, from, into };
}

describe('the export routes', () => {
  test('say what a bundle would hold, and then send just that', async () => {
    const { from } = await scene();
    const plan = (await (await from('/export/plan', { images: ['app:1.0'] })).json()) as { size: number };
    expect(plan).toMatchObject({ images: [{ image: 'docker.io/library/app:1.0' }], blobs: 3, skipped: [] });
    const answer = await from('/export', { images: ['app:1.0'] });
    expect(answer.headers.get('content-type')).toBe('application/x-tar');
    expect(answer.headers.get('content-length')).toBe(String(plan.size));
    expect((await answer.arrayBuffer()).byteLength).toBe(plan.size);
  });

  test.each([
    [{ images: ['other:1'] }, 'MANIFEST_UNKNOWN', 'is not stored here'],
    [{ images: [] }, 'NAME_INVALID', 'images must name at least one'],
    [{ images: ['quay.io/a/b:1'] }, 'NAME_UNKNOWN', 'not configured here'],
    [{ images: 'all', platforms: ['linux'] }, 'NAME_INVALID', 'is no platform'],
    [{ images: 'all', since: { format: 'something else' } }, 'NAME_INVALID', 'since is no receipt'],
    [{ images: 'all', sins: 1 }, 'NAME_INVALID', 'sins'],
  ])('refuse %j with %s', async (body, code, message) => {
    const { from } = await scene();
    for (const target of ['/export', '/export/plan']) {
      const answer = await from(target, body);
      expect(answer.ok).toBe(false);
      const { errors } = (await answer.json()) as { errors: unknown };
      expect(errors).toEqual([{ code, message: expect.stringContaining(message) }]);
    }
  });
});

describe('the import route', () => {
  const bundle = async (from: Awaited<ReturnType<typeof scene>>['from']) =>
    Buffer.from(await (await from('/export', { images: 'all' })).arrayBuffer());
  const lastEvent = async (answer: Response) => {
    const lines = (await answer.text()).trim().split('\n');
    return JSON.parse(lines.at(-1) ?? '') as Record<string, unknown>;
  };

  test('takes a bundle in and ends with what it brought', async () => {
    const { b, from, into } = await scene();
    const event = await lastEvent(await into('/import', await bundle(from)));
    expect(event).toMatchObject({
      kind: 'done',
      stored: 3,
      images: [{ image: 'docker.io/library/app:1.0' }],
    });
    expect(await b.whole('docker.io/library/app:1.0')).toBe(true);
  });

  test('ends with why an archive was refused, which is no defect of the server', async () => {
    const { log, lines } = captureLog();
    const { from, into } = await scene(log);
    const damaged = (await bundle(from)).subarray(0, -700);
    expect(await lastEvent(await into('/import', damaged))).toEqual({
      kind: 'failed',
      code: 'BUNDLE_TRUNCATED',
      message: expect.stringContaining('ends too early'),
    });
    expect(lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test('refuses what is not declared as an archive, and a key that is none', async () => {
    const { into } = await scene();
    expect((await into('/import', 'x', 'text/plain')).ok).toBe(false);
    expect((await into('/import?verifyKey=abc', 'x')).ok).toBe(false);
    expect((await into('/import?name=UPPER', 'x')).ok).toBe(false);
    expect((await into('/import?other=1', 'x')).ok).toBe(false);
  });
});

test('each route asks for the right to the whole server', async () => {
  const { a } = await scene();
  const asked: unknown[] = [];
  const routes = bundleRoutes(
    { images: a.images, exporter: a.exporter, importer: a.importer, log: silentLog },
    { ...names, authorize: (_, image) => void asked.push(image) },
  );
  const requests = [
    ['/export', 'application/json'],
    ['/export/plan', 'application/json'],
    ['/import', 'application/x-tar'],
  ] as const;
  for (const [target, type] of requests) {
    // A request that comes without a connection is nobody's, and so is refused where permission is asked for.
    const request = new Request(`http://control/api/v1${target}`, {
      method: 'POST',
      headers: { 'Content-Type': type },
      body: '{"images":"all"}',
    });
    const answer = await routes.fetch(request);
    expect([target, answer.status]).toEqual([target, 403]);
  }
  expect(asked).toEqual([]);
});
