import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bodyDecoder } from '../../../src/upstream/wire/body.ts';
import { type Framing, MalformedError } from '../../../src/upstream/wire/head.ts';

/** Feeds `input` in the given pieces, as an exchange does: what was not consumed comes again with the next piece. */
function decode(framing: Framing, input: Buffer, cuts: readonly number[]) {
  const decoder = bodyDecoder(framing);
  const bounds = [...cuts.map((cut) => cut % (input.length + 1)), input.length].sort((a, b) => a - b);
  const out: Buffer[] = [];
  let waiting = Buffer.alloc(0);
  let consumed = 0;
  let from = 0;
  for (const bound of bounds) {
    waiting = Buffer.concat([waiting, input.subarray(from, bound)]);
    from = bound;
    for (;;) {
      if (decoder.done || waiting.length === 0) break;
      const step = decoder.take(waiting);
      out.push(Buffer.from(step.data));
      waiting = Buffer.from(waiting.subarray(step.consumed));
      consumed += step.consumed;
      if (step.consumed === 0) break;
    }
  }
  return { body: Buffer.concat(out), done: decoder.done, consumed };
}

const chunked = { kind: 'chunked' } as const;
const text = (value: string) => Buffer.from(value, 'latin1');

describe('a body of declared length', () => {
  it('delivers exactly that much of any input, however it is cut', () => {
    const input = fc.uint8Array({ maxLength: 200 });
    fc.assert(
      fc.property(input, fc.nat(250), fc.array(fc.nat()), (bytes, length, cuts) => {
        const result = decode({ kind: 'length', length }, Buffer.from(bytes), cuts);
        expect(result.body).toEqual(Buffer.from(bytes).subarray(0, length));
        expect(result.done).toBe(bytes.length >= length);
        expect(result.consumed).toBe(Math.min(bytes.length, length));
      }),
    );
  });

  it('is over at once when it is empty', () => {
    expect(bodyDecoder({ kind: 'length', length: 0 }).done).toBe(true);
  });
});

describe('a chunked body', () => {
  const part = fc.uint8Array({ minLength: 1, maxLength: 40 });
  const extension = fc.constantFrom('', ';a=b', ' ; x="y"');

  it('comes out whole, however it was chunked and cut, and nothing after it is touched', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(part, extension)),
        fc.array(fc.nat()),
        fc.boolean(),
        (parts, cuts, trailer) => {
          const wire = Buffer.concat([
            ...parts.map(([bytes, ext]) =>
              Buffer.concat([text(`${bytes.length.toString(16)}${ext}\r\n`), bytes, text('\r\n')]),
            ),
            text(`0\r\n${trailer ? 'X-Sum: 1\r\nB:\r\n' : ''}\r\n`),
          ]);
          const result = decode(chunked, Buffer.concat([wire, text('HTTP/1.1 200 OK')]), cuts);
          expect(result.done).toBe(true);
          expect(result.body).toEqual(Buffer.concat(parts.map(([bytes]) => bytes)));
          expect(result.consumed).toBe(wire.length);
        },
      ),
    );
  });

  it('is not over before its last line', () => {
    const wire = text('5\r\nhello\r\n0\r\nA: b\r\n\r\n');
    for (let end = 0; end < wire.length; end++) {
      expect(decode(chunked, wire.subarray(0, end), []).done).toBe(false);
    }
    expect(decode(chunked, wire, []).done).toBe(true);
  });

  it.each([
    ['a size that is no number', 'x\r\nhello\r\n'],
    ['a negative size', '-5\r\nhello\r\n'],
    ['a prefixed size', '0x5\r\nhello\r\n'],
    ['a space before the size', ' 5\r\nhello\r\n'],
    ['an empty size', '\r\nhello\r\n'],
    ['a size beyond all bounds', 'fffffffffffffff\r\n'],
    ['a bare LF after the size', '5\nhello\r\n'],
    ['a bare LF after an empty size', '\nhello\r\n'],
    ['a chunk longer than its size', '5\r\nhello!\r\n'],
    ['a bare LF after a chunk', '5\r\nhello\n\n'],
    ['a CR within the size line', '5;a\rb\r\nhello\r\n'],
    ['a trailer without a name', '0\r\nnothing\r\n\r\n'],
    ['a bare LF in the trailers', '0\r\nA: b\n\r\n'],
    ['an endless size line', `5;${'x'.repeat(5000)}`],
    ['endless trailers', `0\r\n${`A: ${'x'.repeat(2000)}\r\n`.repeat(20)}`],
  ])('is malformed with %s', (_what, wire) => {
    expect(() => decode(chunked, text(wire), [])).toThrow(MalformedError);
  });

  it('throws nothing but MalformedError, whatever the bytes', () => {
    const piece = fc.constantFrom('5', '\r\n', 'hello', '0\r\n', '\r', '\n', ';', 'a: b', ' ');
    fc.assert(
      fc.property(fc.array(piece), fc.array(fc.nat()), (pieces, cuts) => {
        try {
          decode(chunked, text(pieces.join('')), cuts);
        } catch (error) {
          expect(error).toBeInstanceOf(MalformedError);
        }
      }),
    );
  });
});
