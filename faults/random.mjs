import { createHash } from 'node:crypto';

/** A number in [0, 2^48) that follows from its words alone: the same in every run of a seed, whatever happens in between. */
export const drawn = (...words) => createHash('sha256').update(JSON.stringify(words)).digest().readUIntBE(0, 6);

/** A whole number from..to, both included. */
export const between = (from, to, ...words) => from + (drawn(...words) % (to - from + 1));

/** The list in an order of its own. */
export const shuffled = (list, ...words) => list.toSorted((a, b) => drawn(a, ...words) - drawn(b, ...words));
