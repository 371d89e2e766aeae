import { compareDecimals, sumDecimals } from '#platform';

/** A whole group at the grain at which a marketplace tells of usage, and what of it is ours. Quantities are decimal text in listed units. */
export interface ToldGroup {
  /** What has a receipt. */
  accepted: { quantity: string; count: number };
  /** What they say; `count` null where the grain tells none. */
  told: { quantity: string; count: number | null };
  /** Items past their deadline whose answers were lost. */
  lost: readonly { itemId: string; quantity: string }[];
  /** Others of the group that may be in their sum with an amount we do not know: then nothing follows from it. */
  unclear: number;
  /** They could tell all of it by then: nothing of the group may still be sent, or be on its way into their sums. */
  whole: boolean;
  /** The figure is exact, not rounded. */
  exact: boolean;
  /** That it does not show means that it is not there; a report of another product says nothing. */
  absenceTells: boolean;
}

/** `early`: a later look tells more. `open`: nothing follows; `words` say why, for the person who decides. */
export type LateVerdict = { outcome: 'early' } | { outcome: 'open' | 'accepted' | 'not_taken'; words: string };

/**
 * What a group's sum (and count) says of its items whose answers were lost: all were taken, or none (money.md "Outcomes"). Both cannot
 * fit, since amounts are positive. Whatever fits neither is left to a person: of several subsets none is guessed.
 */
export function judgeLost(g: ToldGroup): LateVerdict {
  if (!g.whole) return { outcome: 'early' };
  const lost = sumDecimals(['0', ...g.lost.map((i) => i.quantity)]);
  const all = { quantity: sumDecimals([g.accepted.quantity, lost]), count: g.accepted.count + g.lost.length };
  const ours = `${amount(g.accepted)} with a receipt and ${amount({ quantity: lost, count: g.lost.length })} without an answer`;
  const theirs = `They show ${amount(g.told)}; ours are ${ours}`;
  const open = (why: string): LateVerdict => ({ outcome: 'open', words: `${theirs}. ${why}` });
  if (g.unclear > 0) return open(`Another ${g.unclear} may be in that sum with an amount that is not known, so nothing follows from it.`);
  if (!g.exact) return open('The report rounds, so its sums prove nothing.');
  if (g.lost.some((i) => compareDecimals(i.quantity, '0') <= 0)) return open('An amount of 0 shows in no sum.');
  const fits = ({ quantity, count }: { quantity: string; count: number }): boolean =>
    compareDecimals(g.told.quantity, quantity) === 0 && (g.told.count === null || g.told.count === count);
  if (fits(all)) return { outcome: 'accepted', words: `${theirs}: exactly both, so all of it was taken.` };
  if (fits(g.accepted))
    return g.absenceTells
      ? { outcome: 'not_taken', words: `${theirs}: exactly the former, so nothing of the latter was taken.` }
      : open('The report tells nothing of this purchase at all, so it may not cover its product.');
  return open(
    compareDecimals(g.told.quantity, all.quantity) === 0 || compareDecimals(g.told.quantity, g.accepted.quantity) === 0
      ? 'The sum would fit and the count does not: ask the marketplace what it holds.'
      : 'That is neither all of it nor what has a receipt alone: ask the marketplace which of them it holds.',
  );
}

/** Whether what they show more than ours may be ours without a receipt: then nothing of it is known to be too much. */
export function mayBeUnsure(l: { ours: string; theirs: string | null; unsure?: readonly { quantity: string }[] }): boolean {
  const most = sumDecimals([l.ours, ...(l.unsure ?? []).map((u) => u.quantity)]);
  return compareDecimals(l.theirs ?? '0', l.ours) > 0 && compareDecimals(l.theirs ?? '0', most) <= 0;
}

const amount = ({ quantity, count }: { quantity: string; count: number | null }): string =>
  count === null ? quantity : `${quantity} in ${count}`;
