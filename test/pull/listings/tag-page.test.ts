import fc from 'fast-check';
import { expect, test } from 'vitest';
import { pageOf } from '../../../src/pull/listings/tag-page.ts';

const tag = fc.stringMatching(/^[aAbB_1][aAbB_1.-]{0,2}$/);
const allowed = (name: string) => !name.endsWith('-');

test('whoever follows the pages gets every tag that is shown once, however long the pages are', () => {
  fc.assert(
    fc.property(fc.uniqueArray(tag, { maxLength: 12 }), fc.integer({ min: 1, max: 5 }), (listed, n) => {
      const whole = pageOf(listed, { n: undefined, last: undefined }, allowed);
      const found: string[] = [];
      for (let more = true; more; ) {
        const page = pageOf(listed, { n, last: found.at(-1) }, allowed);
        expect(page.tags.length).toBeLessThanOrEqual(n);
        found.push(...page.tags);
        more = page.more;
      }
      expect(found).toEqual(whole.tags);
      expect(found.toSorted()).toEqual(listed.filter(allowed).toSorted());
    }),
  );
});

test('a page after a tag that is not there begins where that would stand', () => {
  const after = (last: string) => pageOf(['V2', 'a', 'b', 'B'], { n: 1, last }, () => true);
  expect(after('AA')).toEqual({ tags: ['B'], more: true });
  expect(after('c')).toEqual({ tags: ['V2'], more: false });
  expect(after('v2')).toEqual({ tags: [], more: false });
});
