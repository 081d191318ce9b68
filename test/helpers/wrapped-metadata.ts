import type { Metadata } from '../../src/store/metadata.ts';
import { makeGate } from './gate.ts';

/** Makes one call of a contract; `name` is `contract.method`. */
export type Around = (name: string, call: () => Promise<unknown>) => Promise<unknown>;

const contracts = ['tags', 'manifests', 'links', 'blobs', 'listings', 'journal'] as const;

/**
 * Metadata each of whose calls goes through `around`. Closing waits for the calls under way, as a pool of connections
 * does.
 */
export function wrapMetadata(inner: Metadata, around: Around): Metadata {
  const underWay = new Set<Promise<unknown>>();
  const wrapped = (contract: (typeof contracts)[number]) =>
    new Proxy(inner[contract], {
      get: (of, method) => {
        const call = Reflect.get(of, method, of) as (...given: unknown[]) => Promise<unknown>;
        return (...given: unknown[]) => {
          const answer = around(`${contract}.${String(method)}`, () => call.apply(of, given));
          underWay.add(answer);
          const done = () => underWay.delete(answer);
          answer.then(done, done);
          return answer;
        };
      },
    });
  return {
    ...(Object.fromEntries(
      contracts.map((contract) => [contract, wrapped(contract)]),
    ) as unknown as Metadata),
    close: async () => {
      await Promise.allSettled(underWay);
      await inner.close();
    },
  };
}

/** One call that a test holds. */
export type Held = {
  /** Resolves when the call has come to where it is held. */
  readonly reached: Promise<void>;
  /** Lets it go on. */
  release(): void;
};

/** Metadata whose calls a test holds at exact points. */
export type HoldableMetadata = {
  readonly metadata: Metadata;
  /** Holds the next call of `contract.method`: before it takes effect, or before its answer is heard. */
  hold(name: string, before: 'effect' | 'answer'): Held;
};

/** Makes a {@link HoldableMetadata} over another. */
export function holdableMetadata(inner: Metadata): HoldableMetadata {
  const holds: { name: string; before: 'effect' | 'answer'; reach(): void; opened: Promise<void> }[] = [];
  const taken = (name: string) => {
    const at = holds.findIndex((each) => each.name === name);
    return at < 0 ? undefined : holds.splice(at, 1)[0];
  };
  const metadata = wrapMetadata(inner, async (name, call) => {
    const hold = taken(name);
    if (hold?.before === 'effect') {
      hold.reach();
      await hold.opened;
    }
    const answer = await call();
    if (hold?.before === 'answer') {
      hold.reach();
      await hold.opened;
    }
    return answer;
  });
  return {
    metadata,
    hold: (name, before) => {
      const [reached, gate] = [makeGate(), makeGate()];
      holds.push({ name, before, reach: reached.open, opened: gate.opened });
      return { reached: reached.opened, release: gate.open };
    },
  };
}
