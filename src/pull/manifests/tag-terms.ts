import type { Digest } from '../../oci/digest.ts';

/** How a tag is to be served, beyond whether. */
export type TagTerms = {
  /** The digest that it stands for, whatever upstream says. */
  readonly locked: Digest | undefined;
  /** Whether it stays at the digest that it was first served as. */
  readonly pin: boolean;
  /** Milliseconds for which a new digest must have been known before it takes the place of the old one. */
  readonly minAge: number;
};

/** A tag that follows upstream. */
export const freely: TagTerms = { locked: undefined, pin: false, minAge: 0 };
