// What can be struck in a cluster's life, and when.
import { shuffled } from '../faults/random.mjs';

/** Steps that each change goes through, in the names of the ledger. */
export const CHANGES = {
  create: ['preflight', 'plan', 'apply', 'configure', 'validate'],
  resize: ['preflight', 'plan', 'apply', 'configure', 'validate'],
  suspend: ['configure'],
  resume: ['configure', 'validate'],
  upgrade: ['upgrade', 'configure', 'validate'],
  'end and purge': ['configure'],
  delete: ['delete', 'sweep'],
};

/**
 * `intent`: before it is committed; `asked`: committed, the driver is not called; `within`: the driver is at work, and everything is
 * killed at once; `frozen`: the driver is at work, everything stands still, is overtaken, and wakes again; `outcome`: the effect is
 * there, and its outcome is not committed.
 */
export const MOMENTS = ['intent', 'asked', 'within', 'frozen', 'outcome'];
/** Looks that are over in milliseconds: nobody can be at work in them. */
const QUICK = new Set(['preflight', 'plan', 'sweep']);
export const strikesAt = (step, moment) => !(QUICK.has(step) && (moment === 'within' || moment === 'frozen'));
/** All that can be struck: `create/apply/within`. */
export const ALL = Object.entries(CHANGES).flatMap(([change, steps]) =>
  steps.flatMap((step) => MOMENTS.filter((moment) => strikesAt(step, moment)).map((moment) => `${change}/${step}/${moment}`)),
);

/** One life of the short form: each step is struck once, at a moment that the seed picks; another life picks other moments. */
export const struckOnce = (seed, life) =>
  Object.entries(CHANGES).flatMap(([change, steps]) =>
    steps.map((step) => {
      const moments = shuffled(
        MOMENTS.filter((moment) => strikesAt(step, moment)),
        seed,
        change,
        step,
      );
      return `${change}/${step}/${moments[life % moments.length]}`;
    }),
  );
