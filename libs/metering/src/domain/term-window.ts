import { fromUs, toUs } from './units.js';

export interface TermDates {
  termStartsAt: bigint | null;
  termEndsAt: bigint | null;
}

type Period = 'month' | 'term' | 'year';
/** What was asked last: a closing asks for one hour, for purchase after purchase, and many have no dates of their own. */
let last: { period?: Period; at: bigint; termStartsAt: bigint | null; key: string } = { at: 0n, termStartsAt: null, key: '' };

/**
 * The start of the window whose included quantity an instant draws on, as text key. Months and years are anchored at the
 * marketplace's own term dates (money.md "Terms"); without them on the UTC calendar. The key is the window's start, so that
 * a plan change keeps what was consumed and a moved term begins anew, by itself.
 */
export function windowKey(period: Period, at: bigint, term: TermDates): string {
  const { termStartsAt } = term;
  if (last.period !== period || last.at !== at || last.termStartsAt !== termStartsAt)
    last = { period, at, termStartsAt, key: keyOf(period, at, term) };
  return last.key;
}

function keyOf(period: Period, at: bigint, term: TermDates): string {
  if (period === 'term') return term.termStartsAt === null ? 'term' : fromUs(term.termStartsAt).toISOString();
  const months = period === 'year' ? 12 : 1;
  const moment = fromUs(at);
  const anchor = term.termStartsAt !== null ? fromUs(term.termStartsAt) : new Date(Date.UTC(moment.getUTCFullYear(), 0, 1));
  const between = (moment.getUTCFullYear() - anchor.getUTCFullYear()) * 12 + moment.getUTCMonth() - anchor.getUTCMonth();
  let step = Math.floor(between / months) * months;
  if (toUs(plusMonths(anchor, step)) > at) step -= months;
  return plusMonths(anchor, step).toISOString();
}

/** Always counted from the anchor, so that the 31st comes back after February. */
function plusMonths(anchor: Date, months: number): Date {
  const year = anchor.getUTCFullYear();
  const month = anchor.getUTCMonth() + months;
  const lastDay = new Date(Date.UTC(year, month + 1, 0)).getUTCDate();
  const start = Date.UTC(year, month, Math.min(anchor.getUTCDate(), lastDay));
  return new Date(start + (anchor.getTime() - Date.UTC(year, anchor.getUTCMonth(), anchor.getUTCDate())));
}
