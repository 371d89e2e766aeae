import type { EntryDraft, LedgerTerm } from './types.js';

export type TermSums = Record<LedgerTerm, bigint>;
export const LEDGER_TERMS: readonly LedgerTerm[] = [
  'measured',
  'estimated',
  'adjustment',
  'non_billable',
  'included',
  'pending',
  'accepted',
  'over_reported',
  'deferred',
  'remainder',
  'loss',
];

const NOTHING = Object.fromEntries(LEDGER_TERMS.map((t) => [t, 0n])) as TermSums;

export function sumTerms(entries: Iterable<Pick<EntryDraft, 'term' | 'quantity'>>): TermSums {
  const sums = { ...NOTHING };
  for (const e of entries) sums[e.term] += e.quantity;
  return sums;
}

/** Law 5: 0 where what was measured is what became of it. */
export const sumDifference = (t: TermSums): bigint =>
  t.measured +
  t.estimated +
  t.adjustment -
  (t.non_billable + t.included + (t.accepted - t.over_reported) + t.pending + t.deferred + t.remainder + t.loss);
