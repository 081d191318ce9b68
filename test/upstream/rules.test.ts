import { describe, expect, it } from 'vitest';
import { proxyFor } from '../../src/upstream/egress/proxy-choice.ts';
import { parseRetryAfter } from '../../src/upstream/http/retry-after.ts';
import { manifestType } from '../../src/upstream/requests/manifest-type.ts';
import { nextPage } from '../../src/upstream/requests/next-page.ts';
import { judgeRedirect } from '../../src/upstream/requests/redirect.ts';
import { parseUpstreamUrl } from '../../src/upstream/upstream-options.ts';
import { acceptBody } from '../../src/upstream/wire/accept-body.ts';

describe('acceptBody', () => {
  const judge = (status: number, length: number | undefined, range: string | undefined, offset: number) => {
    return acceptBody(
      { status, length, headers: range === undefined ? {} : { 'content-range': range } },
      offset,
    );
  };

  it.each([
    [200, 10, undefined, 0, { skip: 0, total: 10 }],
    [200, undefined, undefined, 0, { skip: 0, total: undefined }],
    [200, 10, undefined, 4, { skip: 4, total: 10 }],
    [200, 10, undefined, 10, { skip: 10, total: 10 }],
    [206, 6, 'bytes 4-9/10', 4, { skip: 0, total: 10 }],
    [206, undefined, 'bytes 4-9/10', 4, { skip: 0, total: 10 }],
    [206, 6, 'bytes 4-9/*', 4, { skip: 0, total: undefined }],
    [206, 3, 'bytes 4-6/10', 4, { skip: 0, total: 10 }],
    [206, 10, 'bytes 0-9/10', 0, { skip: 0, total: 10 }],
  ])('accepts %s of %s bytes, %s, from %s on', (status, length, range, offset, expected) => {
    expect(judge(status, length, range, offset)).toEqual({ kind: 'accept', ...expected });
  });

  it.each([
    [200, 3, undefined, 4],
    [206, 6, undefined, 4],
    [206, 7, 'bytes 3-9/10', 4],
    [206, 10, 'bytes 0-9/10', 4],
    [206, 5, 'bytes 5-9/10', 4],
    [206, 5, 'bytes 4-9/10', 4],
    [206, 6, 'bytes 4-9/9', 4],
    [206, 6, 'bytes */10', 4],
    [206, 6, 'items 4-9/10', 4],
    [203, 10, undefined, 0],
    [204, 0, undefined, 0],
    [302, 0, undefined, 0],
    [404, 10, undefined, 0],
    [416, 0, 'bytes */10', 4],
  ])('refuses %s of %s bytes, %s, from %s on', (status, length, range, offset) => {
    expect(judge(status, length, range, offset).kind).toBe('refuse');
  });
});

describe('parseRetryAfter', () => {
  const now = Date.parse('2026-01-01T00:00:00Z');
  it.each([
    ['30', 30],
    [' 0 ', 0],
    ['999999999', 86_400],
    ['Thu, 01 Jan 2026 00:01:30 GMT', 90],
    ['Wed, 31 Dec 2025 00:00:00 GMT', 0],
    ['Thu, 01 Jan 2099 00:00:00 GMT', 86_400],
    ['-1', undefined],
    ['1.5', undefined],
    ['soon', undefined],
    ['2026', 2026],
    ['', undefined],
    [undefined, undefined],
  ])('reads %j as %s seconds', (value, seconds) => {
    expect(parseRetryAfter(value, now)).toBe(seconds);
  });
});

describe('nextPage', () => {
  const current = new URL('https://r.test/v2/a/tags/list?n=2');
  it.each([
    ['</v2/a/tags/list?last=b&n=2>; rel="next"', 'https://r.test/v2/a/tags/list?last=b&n=2'],
    ['<https://r.test/v2/a/tags/list?last=b>; rel=next', 'https://r.test/v2/a/tags/list?last=b'],
    ['</x>; rel="prev", </y>; title="a, b"; rel="last next"', 'https://r.test/y'],
    ['<?last=b>;rel="next"', 'https://r.test/v2/a/tags/list?last=b'],
    ['</x>; rel="prev"', undefined],
    ['</x>; rel="nextish"', undefined],
    ['<https://evil.test/v2/a/tags/list>; rel="next"', undefined],
    ['<http://r.test/v2/a/tags/list>; rel="next"', undefined],
    ['<//evil.test/>; rel="next"', undefined],
    ['<https://u:p@r.test/x>; rel="next"', undefined],
    ['nonsense', undefined],
    [undefined, undefined],
  ])('of %j is %s', (link, expected) => {
    expect(nextPage(link, current)?.href).toBe(expected);
  });
});

describe('judgeRedirect', () => {
  const upstream = new URL('https://registry.test');
  it.each([
    ['https://cdn.test/x?sig=1#f', upstream, 'https://cdn.test/x?sig=1'],
    ['/v2/other', upstream, 'https://registry.test/v2/other'],
    ['//cdn.test/x', upstream, 'https://cdn.test/x'],
    ['https://10.1.2.3/x', upstream, 'https://10.1.2.3/x'],
    ['http://cdn.test/x', new URL('http://registry.test'), 'http://cdn.test/x'],
    ['http://127.0.0.1:9/x', new URL('http://127.0.0.1:5000'), 'http://127.0.0.1:9/x'],
  ])('follows %s from %s', (location, from, url) => {
    const verdict = judgeRedirect(location, new URL('/v2/a', from.href), from);
    expect(verdict.kind === 'follow' && verdict.url.href).toBe(url);
  });

  it.each([
    [undefined],
    [''],
    ['http://[bad'],
    ['ftp://cdn.test/x'],
    ['file:///etc/passwd'],
    ['javascript:alert(1)'],
    ['https://user:pass@cdn.test/x'],
    ['http://cdn.test/x'],
    ['http://registry.test/x'],
    ['https://127.0.0.1/x'],
    ['https://localhost/x'],
    ['https://2130706433/x'],
    ['https://[::1]/x'],
    ['https://[::ffff:127.0.0.1]/x'],
    ['https://169.254.169.254/latest/meta-data'],
    ['https://[fe80::1]/x'],
  ])('refuses %s', (location) => {
    expect(judgeRedirect(location, new URL('/v2/a', upstream.href), upstream).kind).toBe('refused');
  });
});

describe('proxyFor', () => {
  const choose = (url: string, ...noProxy: string[]) => {
    return proxyFor(new URL(url), { https: 'http://p:1', http: 'http://p:2', noProxy });
  };

  it('goes by the scheme of the request', () => {
    expect(choose('https://r.test/')).toBe('http://p:1');
    expect(choose('http://r.test/')).toBe('http://p:2');
    expect(proxyFor(new URL('http://r.test'), { https: 'http://p:1', noProxy: [] })).toBeUndefined();
    expect(proxyFor(new URL('http://r.test'), undefined)).toBeUndefined();
  });

  it.each([
    ['https://r.test/', '*'],
    ['https://r.test/', 'r.test'],
    ['https://r.test/', ' R.TEST '],
    ['https://a.r.test/', 'r.test'],
    ['https://a.r.test/', '.r.test'],
    ['https://a.r.test/', '*.r.test'],
    ['https://r.test/', 'r.test:443'],
    ['http://r.test:5000/', 'r.test:5000'],
    ['http://10.0.0.1:5000/', '10.0.0.1'],
    ['http://[::1]:5000/', '::1'],
    ['http://[::1]:5000/', '[::1]'],
    ['http://[::1]:5000/', '[::1]:5000'],
    ['http://10.9.8.7:5000/', '10.0.0.0/8'],
    ['http://10.9.8.7:5000/', ' 10.1.2.3/8 '],
    ['https://192.168.7.255/', '192.168.7.0/24'],
    ['https://192.168.7.9/', '192.168.7.9/32'],
    ['https://8.8.8.8/', '0.0.0.0/0'],
    ['https://[fd12:3456::7]/', 'fd00::/8'],
    ['https://[FD12::7]:5000/', 'FD12::/16'],
    ['https://[::ffff:10.9.8.7]/', '10.0.0.0/8'],
  ])('is none for %s with NO_PROXY %s', (url, entry) => {
    expect(choose(url, entry)).toBeUndefined();
  });

  it.each([
    ['https://r.test/', '.r.test'],
    ['https://notr.test/', 'r.test'],
    ['https://r.test.evil.test/', 'r.test'],
    ['https://r.test/', 'r.test:80'],
    ['https://r.test/', ''],
    ['https://r.test/', ':443'],
    ['https://11.0.0.1/', '10.0.0.0/8'],
    ['https://192.168.8.0/', '192.168.7.0/24'],
    ['https://[fe80::1]/', 'fd00::/8'],
    ['https://10.0.0.1/', '::/0'],
    ['https://[fd12::7]/', '0.0.0.0/0'],
    ['https://10.0.0.1/', '10.0.0.0/33'],
    ['https://10.0.0.1/', '10.0.0.0/'],
    ['https://10.0.0.1/', '10.0.0.0/8/8'],
    ['https://10.0.0.1/', '10/8'],
    ['https://[fd12::7]/', 'fd00::/129'],
    ['https://10.r.test/', '10.0.0.0/8'],
    ['https://r.test/', 'r.test/8'],
  ])('is one for %s with NO_PROXY %j', (url, entry) => {
    expect(choose(url, entry)).toBe('http://p:1');
  });
});

describe('manifestType', () => {
  const oci = 'application/vnd.oci.image.manifest.v1+json';
  const own = JSON.stringify({ mediaType: oci });
  it.each([
    [oci, '{}', oci],
    [`${oci.toUpperCase()}; charset=utf-8`, '{}', oci],
    [
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      '',
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
    ],
    ['application/json', own, oci],
    ['application/octet-stream', own, oci],
    ['text/plain; charset=utf-8', own, oci],
    [undefined, own, oci],
  ])('of %s and %s is %s', (header, body, expected) => {
    expect(manifestType(header, Buffer.from(body))).toEqual({ kind: 'value', value: expected });
  });

  it.each([
    ['text/html', own],
    ['application/xml', own],
    ['application/json', '{"schemaVersion":2,"layers":[]}'],
    ['application/json', '{"mediaType":"text/html"}'],
    ['application/json', '{"mediaType":7}'],
    ['application/json', 'null'],
    ['application/json', 'not json'],
    [undefined, '{}'],
  ])('of %s and %s is refused', (header, body) => {
    expect(manifestType(header, Buffer.from(body)).kind).toBe('refused');
  });
});

describe('parseUpstreamUrl', () => {
  it('splits off a base path', () => {
    expect(parseUpstreamUrl({ url: 'https://harbor.corp/dockerhub/', insecure: false })).toMatchObject({
      base: 'dockerhub/',
    });
    expect(parseUpstreamUrl({ url: 'https://ghcr.io', insecure: false })).toMatchObject({ base: '' });
  });

  it.each(['http://r.test', 'ftp://r.test', 'https://u:p@r.test', 'https://r.test/?a=b', 'r.test'])(
    'refuses %s',
    (url) => {
      expect(() => parseUpstreamUrl({ url, insecure: false })).toThrow(TypeError);
    },
  );
});
