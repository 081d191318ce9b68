import fc from 'fast-check';
import { expect, test } from 'vitest';
import { compareTags } from '../../src/oci/tag-order.ts';

test('tags are ordered without regard to case, and digits come before letters', () => {
  const listed = ['B', 'V2', '_x', 'a', 'c', 'v1', 'v10', '1.0', 'b'];
  expect(listed.toSorted(compareTags)).toEqual(['1.0', '_x', 'a', 'B', 'b', 'c', 'v1', 'v10', 'V2']);
});

test('the order is the same whatever the order before, and no two tags are equal in it', () => {
  const tag = fc.stringMatching(/^[a-cA-C_1-3][a-cA-C_.-]{0,3}$/);
  fc.assert(
    fc.property(fc.uniqueArray(tag), (tags) => {
      const ordered = tags.toSorted(compareTags);
      expect(tags.toReversed().sort(compareTags)).toEqual(ordered);
      for (const [index, one] of ordered.entries()) {
        expect(compareTags(one, one)).toBe(0);
        for (const later of ordered.slice(index + 1)) {
          expect(Math.sign(compareTags(one, later))).toBe(-1);
          expect(Math.sign(compareTags(later, one))).toBe(1);
        }
      }
    }),
  );
});
