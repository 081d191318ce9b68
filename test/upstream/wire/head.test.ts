import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MalformedError, maxHeadBytes, parseHead, serializeGet } from '../../../src/upstream/wire/head.ts';

const parse = (text: string) => parseHead(Buffer.from(text, 'latin1'));

describe('parseHead', () => {
  it('reads the status, the fields and the declared length', () => {
    const parsed = parse(
      'HTTP/1.1 200 OK\r\nContent-Length: 12\r\nX-Thing:  a b\t\r\nx-thing: c\r\n\r\nbody',
    );
    expect(parsed?.head).toEqual({
      status: 200,
      length: 12,
      headers: { 'content-length': '12', 'x-thing': 'a b, c' },
    });
    expect(parsed?.framing).toEqual({ kind: 'length', length: 12 });
    expect(parsed?.keepAlive).toBe(true);
  });

  it('skips interim answers and counts them as consumed', () => {
    const text =
      'HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\nHTTP/1.1 204 No\r\n\r\n';
    const parsed = parse(`${text}rest`);
    expect(parsed?.head.status).toBe(204);
    expect(parsed?.consumed).toBe(text.length);
    expect(parsed?.framing).toEqual({ kind: 'length', length: 0 });
  });

  it('wants more as long as the empty line is missing', () => {
    expect(parse('HTTP/1.1 200 OK\r\nA: b\r\n')).toBeUndefined();
    expect(parse('HTTP/1.1 100 Continue\r\n\r\n')).toBeUndefined();
  });

  it.each([
    ['HTTP/1.1 200 OK\r\n\r\n', 'close', false],
    ['HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\n', 'length', false],
    ['HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: x, Close\r\n\r\n', 'length', false],
    ['HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n', 'chunked', true],
    ['HTTP/1.1 200\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n', 'length', true],
    ['HTTP/1.1 304 Not Modified\r\nContent-Length: 3\r\n\r\n', 'length', true],
  ])('frames %j as %s, reusable: %s', (text, kind, keepAlive) => {
    const parsed = parse(text);
    expect(parsed?.framing.kind).toBe(kind);
    expect(parsed?.keepAlive).toBe(keepAlive);
  });

  it.each([
    ['another version', 'HTTP/2.0 200 OK\r\n\r\n'],
    ['HTTP/0.9', '<html></html>\r\n\r\n'],
    ['no version digit', 'HTTP/1.10 200 OK\r\n\r\n'],
    ['a status of two digits', 'HTTP/1.1 99 X\r\n\r\n'],
    ['a status of four digits', 'HTTP/1.1 2000 X\r\n\r\n'],
    ['switching protocols', 'HTTP/1.1 101 Switching\r\n\r\n'],
    ['two lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n'],
    ['a list of lengths', 'HTTP/1.1 200 OK\r\nContent-Length: 1, 1\r\n\r\n'],
    ['a signed length', 'HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n'],
    ['a hexadecimal length', 'HTTP/1.1 200 OK\r\nContent-Length: 0x10\r\n\r\n'],
    ['an empty length', 'HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\n'],
    ['an unsafe length', 'HTTP/1.1 200 OK\r\nContent-Length: 9999999999999999\r\n\r\n'],
    ['length and chunks', 'HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['chunks in HTTP/1.0', 'HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['another coding', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n'],
    ['chunked twice', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['two locations', 'HTTP/1.1 302 X\r\nLocation: /a\r\nLocation: /b\r\n\r\n'],
    ['a folded line', 'HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n'],
    ['a bare CR', 'HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n'],
    ['a bare LF', 'HTTP/1.1 200 OK\r\nA: b\nContent-Length: 3\r\n\r\n'],
    ['a NUL', 'HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n'],
    ['a space before the colon', 'HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n'],
    ['an empty name', 'HTTP/1.1 200 OK\r\n: 3\r\n\r\n'],
    ['a line without a colon', 'HTTP/1.1 200 OK\r\nnonsense\r\n\r\n'],
    ['a bad interim head', 'HTTP/1.1 100 X\r\nA b\r\n\r\nHTTP/1.1 200 OK\r\n\r\n'],
  ])('refuses %s', (_what, text) => {
    expect(() => parse(text)).toThrow(MalformedError);
  });

  it('refuses a head that does not end within its limit, interim heads included', () => {
    expect(parse(`HTTP/1.1 200 OK\r\nA: ${'x'.repeat(maxHeadBytes - 100)}\r\n\r\n`)).toBeDefined();
    expect(() => parse(`HTTP/1.1 200 OK\r\nA: ${'x'.repeat(maxHeadBytes)}`)).toThrow('too long');
    expect(() => parse(`HTTP/1.1 200 OK\r\nA: ${'x'.repeat(maxHeadBytes)}\r\n\r\n`)).toThrow('too long');
    expect(() => parse('HTTP/1.1 100 Continue\r\n\r\n'.repeat(3000))).toThrow('too long');
  });

  it('keeps a field named __proto__ an ordinary field', () => {
    const parsed = parse('HTTP/1.1 200 OK\r\n__proto__: x\r\n\r\n');
    expect(Object.hasOwn(parsed?.head.headers ?? {}, '__proto__')).toBe(true);
  });

  it('throws nothing but MalformedError, whatever the bytes', () => {
    const piece = fc.constantFrom(
      'HTTP/1.1 200 OK',
      '\r\n',
      '\r',
      '\n',
      ': ',
      'Content-Length',
      '5',
      ' ',
      '\0',
      'é',
      'chunked',
    );
    fc.assert(
      fc.property(fc.array(fc.oneof(piece, fc.string())), (pieces) => {
        try {
          parse(pieces.join(''));
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError);
        }
      }),
    );
  });

  it('reads back every well-formed head, and nothing of any proper prefix', () => {
    const name = fc.stringMatching(/^x-[a-z0-9!#$%&'*+.^_`|~-]{1,10}$/);
    const value = fc.stringMatching(/^(?:[!-~](?:[ -~]{0,20}[!-~])?)?$/);
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.tuple(name, value), { selector: ([key]) => key }),
        fc.nat(),
        (fields, cut) => {
          const lines = fields.map(([key, text]) => `${key}: ${text}\r\n`).join('');
          const text = `HTTP/1.1 206 Partial Content\r\n${lines}content-length: 7\r\n\r\n`;
          expect(parse(text)?.head.headers).toEqual(Object.fromEntries([...fields, ['content-length', '7']]));
          expect(parse(text.slice(0, cut % text.length))).toBeUndefined();
        },
      ),
    );
  });
});

describe('serializeGet', () => {
  it('asks for the identity coding and lets no header smuggle another', () => {
    expect(serializeGet('/a?b', 'h:1', { range: 'bytes=1-' })).toBe(
      'GET /a?b HTTP/1.1\r\nHost: h:1\r\nAccept-Encoding: identity\r\nrange: bytes=1-\r\n\r\n',
    );
    for (const headers of [
      { a: 'b\r\nc: d' },
      { 'a b': 'c' },
      { Host: 'x' },
      { 'content-length': '1' },
      { a: '\0' },
    ]) {
      expect(() => serializeGet('/', 'h', headers as unknown as Record<string, string>)).toThrow(TypeError);
    }
  });
});
