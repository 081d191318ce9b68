import { expect, test } from 'vitest';
import { Facts } from '../../src/lib/facts.ts';

type TestFact =
  | { readonly kind: 'moved'; readonly tag: string }
  | { readonly kind: 'gone'; readonly digest: string };

function scene() {
  const failures: unknown[] = [];
  const facts = new Facts<TestFact>({ failed: (error, fact) => failures.push([error, fact.kind]) });
  return { facts, failures, heard: [] as string[] };
}

test('a fact reaches the listeners of its kind at once, in the order in which they came', () => {
  const { facts, heard } = scene();
  facts.on('moved', ({ tag }) => heard.push(`first ${tag}`));
  facts.on('gone', ({ digest }) => heard.push(`gone ${digest}`));
  facts.on('moved', ({ tag }) => heard.push(`second ${tag}`));
  facts.tell({ kind: 'moved', tag: 'v1' });
  expect(heard).toEqual(['first v1', 'second v1']);
  facts.tell({ kind: 'gone', digest: 'd' });
  expect(heard).toEqual(['first v1', 'second v1', 'gone d']);
});

test('a fact of which nobody wants to know is told all the same', () => {
  const { facts, failures } = scene();
  facts.tell({ kind: 'moved', tag: 'v1' });
  expect(failures).toEqual([]);
});

test('a listener that throws disturbs neither the teller nor the listeners after it', () => {
  const { facts, failures, heard } = scene();
  const error = new Error('broken');
  facts.on('moved', () => {
    throw error;
  });
  facts.on('moved', ({ tag }) => heard.push(tag));
  facts.tell({ kind: 'moved', tag: 'v1' });
  expect(heard).toEqual(['v1']);
  expect(failures).toEqual([[error, 'moved']]);
});

test('who has unsubscribed hears nothing more, though the same function listens elsewhere', () => {
  const { facts, heard } = scene();
  const listener = ({ tag }: { tag: string }) => heard.push(tag);
  const stop = facts.on('moved', listener);
  facts.on('moved', listener);
  stop();
  stop();
  facts.tell({ kind: 'moved', tag: 'v1' });
  expect(heard).toEqual(['v1']);
});

test('who comes or goes while a fact is told changes nothing about who hears this one', () => {
  const { facts, heard } = scene();
  facts.on('moved', ({ tag }) => {
    heard.push(`first ${tag}`);
    stop();
    facts.on('moved', (fact) => heard.push(`late ${fact.tag}`));
  });
  const stop = facts.on('moved', ({ tag }) => heard.push(`second ${tag}`));
  facts.tell({ kind: 'moved', tag: 'v1' });
  expect(heard).toEqual(['first v1', 'second v1']);
});
