import { expect, test } from 'vitest';
import { Memory } from '../../src/pull/memory.ts';
import { makeGate } from '../helpers/gate.ts';

type Value = { readonly text: string };
const [old, fresh] = [{ text: 'old' }, { text: 'fresh' }];

/** A load or a write that the test lets come to its end. */
function late<T>(value: T) {
  const gate = makeGate();
  return { end: gate.open, work: () => gate.opened.then(() => value) };
}

test('what was read is kept, and not read again; nothing is not kept', async () => {
  const memory = new Memory<Value>({ max: 10 });
  expect(memory.get('a')).toBeUndefined();
  expect(await memory.read('a', async () => undefined)).toBeUndefined();
  expect(await memory.read('a', async () => old)).toBe(old);
  expect(await memory.read('a', async () => fresh)).toBe(old);
  expect(memory.get('a')).toBe(old);
  expect(memory.get('b')).toBeUndefined();
});

test('what was read before it was forgotten, and arrives after that, is given and not kept', async () => {
  const memory = new Memory<Value>({ max: 10 });
  const [first, second] = [late(old), late(old)];
  const reads = [memory.read('a', first.work), memory.read('a', second.work)];
  memory.forget('a');
  first.end();
  second.end();
  expect(await Promise.all(reads)).toEqual([old, old]);
  expect(memory.get('a')).toBeUndefined();
});

test('what is read after it was forgotten is kept, whatever else is still under way', async () => {
  const memory = new Memory<Value>({ max: 10 });
  const [before, after] = [late(old), late(fresh)];
  const first = memory.read('a', before.work);
  memory.forget('a');
  const second = memory.read('a', after.work);
  after.end();
  await second;
  before.end();
  await first;
  expect(memory.get('a')).toBe(fresh);
});

test('what is written is kept once that has succeeded, unless it was forgotten meanwhile', async () => {
  const memory = new Memory<Value>({ max: 10 });
  const [first, second] = [late('answer'), late('answer')];
  const written = memory.write('a', old, first.work);
  expect(memory.get('a')).toBeUndefined();
  first.end();
  expect(await written).toBe('answer');
  expect(memory.get('a')).toBe(old);
  const again = memory.write('b', fresh, second.work);
  memory.forget('b');
  second.end();
  await again;
  expect(memory.get('b')).toBeUndefined();
});

test('what cannot be written or read is not kept, and the next one is', async () => {
  const memory = new Memory<Value>({ max: 10 });
  const fail = () => Promise.reject(new Error('no'));
  await expect(memory.write('a', old, fail)).rejects.toThrow('no');
  await expect(memory.read('a', fail)).rejects.toThrow('no');
  expect(memory.get('a')).toBeUndefined();
  expect(await memory.read('a', async () => fresh)).toBe(fresh);
  expect(memory.get('a')).toBe(fresh);
});

test('a change takes back what was kept, and what was read before it, also where it failed', async () => {
  const memory = new Memory<Value>({ max: 10 });
  for (const outcome of [Promise.resolve('done'), Promise.reject(new Error('lost'))]) {
    outcome.catch(() => undefined);
    const read = late(old);
    const reading = memory.read('a', read.work);
    await memory.change('a', () => outcome).catch(() => undefined);
    read.end();
    await reading;
    expect(memory.get('a')).toBeUndefined();
    await memory.read('a', async () => old);
    await memory.change('a', () => outcome).catch(() => undefined);
    expect(memory.get('a')).toBeUndefined();
  }
});

test('all names that end alike are forgotten, those that are being read too', async () => {
  const memory = new Memory<Value>({ max: 10 });
  await memory.read('one x', async () => old);
  await memory.read('one y', async () => old);
  const read = late(old);
  const reading = memory.read('two x', read.work);
  memory.forgetEnding(' x');
  read.end();
  await reading;
  expect(['one x', 'two x', 'one y'].map((name) => memory.get(name))).toEqual([undefined, undefined, old]);
});

test('the memory is bounded, by number or by size', async () => {
  const few = new Memory<Value>({ max: 2 });
  const small = new Memory<Value>({ maxSize: 7, sizeOf: ({ text }) => text.length });
  for (const memory of [few, small]) {
    for (const name of ['a', 'b', 'c']) await memory.read(name, async () => old);
    expect(['a', 'b', 'c'].map((name) => memory.get(name))).toEqual([undefined, old, old]);
  }
});
