import { maxOf, US_PER_HOUR } from './units.js';

const US_PER_DAY = 24n * US_PER_HOUR;
const WEEK = 7;

/**
 * What a series usually uses: the largest hour of each of its last days, by day since 1970, and the hour in which it began to be
 * used. Hours that nobody may believe are not in it.
 */
export interface UsualWeek {
  since: bigint;
  days: Record<string, bigint>;
}

const dayOf = (hour: bigint): bigint => hour / US_PER_DAY;

/** Up to the next number with four leading bits: a series that grows slowly is written only now and then. */
export function roundedUp(amount: bigint): bigint {
  const shift = BigInt(Math.max(0, amount.toString(2).length - 4));
  return ((amount + (1n << shift) - 1n) >> shift) << shift;
}

/** The days that count at an hour: its own and the seven before. */
const inWeek = (week: UsualWeek, hour: bigint): [string, bigint][] => {
  const today = Number(dayOf(hour));
  return Object.entries(week.days).filter(([day]) => Number(day) >= today - WEEK && Number(day) <= today);
};

/**
 * The most that an hour may plausibly have: `times` the largest hour of the week before, and at least that many of `unit`, so that
 * the beginnings of a small meter are let through. Null where no week is known: the series is new, or was not used for a week.
 */
export function usualBound(week: UsualWeek | null, hour: bigint, times: bigint, unit: bigint): bigint | null {
  if (!week || times === 0n || hour - week.since < BigInt(WEEK) * US_PER_DAY) return null;
  const days = inWeek(week, hour);
  if (days.length === 0) return null;
  return times * days.reduce((most, [, amount]) => maxOf(most, amount), unit);
}

/** The week with one more hour in it; null where that changes nothing. */
export function withHour(week: UsualWeek | null, hour: bigint, amount: bigint): UsualWeek | null {
  if (amount <= 0n) return null;
  const day = dayOf(hour).toString();
  const figure = roundedUp(amount);
  // Mostly the day has had as large an hour.
  if (week && (week.days[day] ?? 0n) >= figure) return null;
  const days = week ? inWeek(week, hour) : [];
  // A week without use forgets: it begins anew, as a new series does.
  if (!week || (days.length === 0 && hour > week.since)) return { since: hour, days: { [day]: figure } };
  return { since: week.since < hour ? week.since : hour, days: { ...Object.fromEntries(days), [day]: figure } };
}

export const usualToJson = (week: UsualWeek): object => ({
  since: week.since.toString(),
  days: Object.fromEntries(Object.entries(week.days).map(([day, amount]) => [day, amount.toString()])),
});
export function usualFromJson(json: unknown): UsualWeek | null {
  if (json === null || json === undefined) return null;
  const { since, days } = json as { since: string; days: Record<string, string> };
  return { since: BigInt(since), days: Object.fromEntries(Object.entries(days).map(([day, amount]) => [day, BigInt(amount)])) };
}
