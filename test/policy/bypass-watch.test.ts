import { expect, test } from 'vitest';
import { BypassWatch } from '../../src/policy/bypass-watch.ts';
import { makeManualClock } from '../helpers/manual-clock.ts';

const image = 'docker.io/library/nginx';
const minute = 60_000;

function watching() {
  const clock = makeManualClock();
  return { clock, watch: new BypassWatch({ clock }) };
}

test('what follows a denial is the same client asking for content of the same image', () => {
  const { watch } = watching();
  expect(watch.follows('10.0.0.1', image)).toBe(false);
  watch.denied('10.0.0.1', image);
  expect(watch.follows('10.0.0.1', image)).toBe(true);
  expect(watch.follows('10.0.0.1', image)).toBe(true);
  expect(watch.follows('10.0.0.2', image)).toBe(false);
  expect(watch.follows('10.0.0.1', `${image}-unprivileged`)).toBe(false);
});

test('ten minutes later it is no longer conspicuous, unless it was denied again', () => {
  const { clock, watch } = watching();
  watch.denied('10.0.0.1', image);
  watch.denied('10.0.0.2', image);
  clock.advance(5 * minute);
  watch.denied('10.0.0.2', image);
  clock.advance(5 * minute - 1);
  expect(watch.follows('10.0.0.1', image)).toBe(true);
  clock.advance(1);
  expect(watch.follows('10.0.0.1', image)).toBe(false);
  expect(watch.follows('10.0.0.2', image)).toBe(true);
});

test('only so many denials are remembered, the latest of each client and image', () => {
  const { watch } = watching();
  watch.denied('10.0.0.1', image);
  watch.denied('10.0.0.2', image);
  watch.denied('10.0.0.1', image);
  for (let count = 0; count < 9_999; count += 1) watch.denied('10.0.0.3', `docker.io/library/app${count}`);
  expect(watch.follows('10.0.0.2', image)).toBe(false);
  expect(watch.follows('10.0.0.1', image)).toBe(true);
  watch.denied('10.0.0.3', 'docker.io/library/one-more');
  expect(watch.follows('10.0.0.1', image)).toBe(false);
});
