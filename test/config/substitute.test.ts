// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these strings are the syntax under test.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { substitute } from '../../src/config/substitute.ts';
import { folderWith } from './complaints.ts';

const nowhere = { env: {}, folder: '/nowhere' };

function fill(text: string, env: Record<string, string | undefined> = {}): unknown {
  const { value, findings } = substitute(text, { env, folder: '/nowhere' });
  expect(findings).toEqual([]);
  return value;
}

function complaint(text: string, env: Record<string, string | undefined> = {}): string {
  const { value, findings } = substitute({ key: text }, { env, folder: '/nowhere' });
  expect(value).toEqual({ key: text });
  expect(findings).toHaveLength(1);
  expect(findings[0]?.path).toEqual(['key']);
  return findings[0]?.message ?? '';
}

describe('environment variables', () => {
  test('are filled in anywhere in a text, several times', () => {
    expect(fill('a-${A}-${B_2}-${A}', { A: 'x', B_2: 'y' })).toBe('a-x-y-x');
  });

  test('may be empty', () => {
    expect(fill('[${A}]', { A: '' })).toBe('[]');
  });

  test('have a default for when they are unset or empty', () => {
    expect(fill('${A:-5m}')).toBe('5m');
    expect(fill('${A:-5m}', { A: '' })).toBe('5m');
    expect(fill('${A:-5m}', { A: '9m' })).toBe('9m');
    expect(fill('[${A:-}]')).toBe('[]');
    expect(fill('${A:-http://h:1/x?$y}')).toBe('http://h:1/x?$y');
  });

  test('are not looked at again once filled in', () => {
    expect(fill('${A}', { A: '${B} $${C} ${file:/etc/hostname}', B: 'no' })).toBe(
      '${B} $${C} ${file:/etc/hostname}',
    );
  });

  test('that are not set are named', () => {
    expect(complaint('${MISSING}')).toBe('environment variable MISSING is not set');
  });

  test('are never properties that every object has', () => {
    expect(complaint('${constructor}')).toContain('constructor is not set');
    expect(complaint('${__proto__}')).toContain('__proto__ is not set');
  });
});

describe('files', () => {
  test('lose one newline at their end, and only that', () => {
    const folder = folderWith({});
    writeFileSync(join(folder, 'unix'), 's3cret\n');
    writeFileSync(join(folder, 'windows'), 's3cret\r\n');
    writeFileSync(join(folder, 'two'), ' s3\ncret \n\n');
    const { value } = substitute(['${file:unix}', `\${file:${folder}/windows}`, '<${file:two}>'], {
      env: {},
      folder,
    });
    expect(value).toEqual(['s3cret', 's3cret', '< s3\ncret \n>']);
  });

  test('that cannot be read are named with their full path and the reason', () => {
    expect(complaint('${file:secrets/x}')).toBe('cannot read the file /nowhere/secrets/x (ENOENT)');
    expect(complaint('${file:/}')).toBe('cannot read the file / (EISDIR)');
  });
});

describe('the syntax', () => {
  test.each([
    ['$${A}', '${A}'],
    ['$', '$'],
    ['$A $$ $$A', '$A $$ $$A'],
    ['}{', '}{'],
    ['$$${A}', '$${A}'],
  ])('turns %s into %s', (text, expected) => {
    expect(fill(text, { A: 'never' })).toBe(expected);
  });

  test.each(['${A', '${', 'x ${ y'])('refuses %s, which is not closed', (text) => {
    expect(complaint(text, { A: 'x' })).toContain('not closed');
  });

  test.each(['${}', '${1A}', '${A-b}', '${A:b}', '${ A }'])('refuses %s, which is no name', (text) => {
    expect(complaint(text, { A: 'x' })).toContain('${NAME:-default}');
  });

  test('reports every fault of a text and keeps the text', () => {
    const { value, findings } = substitute('${A} ${B}', nowhere);
    expect(value).toBe('${A} ${B}');
    expect(findings.map((finding) => finding.message)).toEqual([
      'environment variable A is not set',
      'environment variable B is not set',
    ]);
  });

  test('holds in lists and maps but not in keys, and leaves what is no text alone', () => {
    const input = { '${A}': [{ b: '${A}' }, 1, true, null] };
    expect(substitute(input, { env: { A: 'x' }, folder: '/' }).value).toEqual({
      '${A}': [{ b: 'x' }, 1, true, null],
    });
  });

  test('gives back any text that was escaped', () => {
    const pieces = fc.array(fc.constantFrom('$', '{', '}', '${', '$${', 'A', ':-', 'file:', '\n'), {
      maxLength: 12,
    });
    const texts = fc.oneof(
      fc.string(),
      pieces.map((parts) => parts.join('')),
    );
    const escaped = (text: string) => text.replaceAll('${', '$$${');
    fc.assert(
      fc.property(texts, (text) => {
        expect(fill(escaped(text), { A: 'never' })).toBe(text);
      }),
    );
  });

  test('never throws, and never shows the value of a variable in a message', () => {
    const secret = 'hunter2-0451';
    const piece = fc.constantFrom(
      '${A}',
      '$${',
      '${',
      '}',
      '${A:-',
      '${file:',
      '/x',
      '${NOPE}',
      ' ',
      '\u0000',
    );
    const texts = fc.array(fc.oneof(piece, fc.string({ maxLength: 4 })), { maxLength: 8 });
    fc.assert(
      fc.property(fc.jsonValue(), texts, (json, parts) => {
        const sources = { env: { A: secret }, folder: '/nowhere' };
        const { findings } = substitute({ json, text: parts.join('') }, sources);
        expect(JSON.stringify(findings)).not.toContain(secret);
      }),
    );
  });
});
