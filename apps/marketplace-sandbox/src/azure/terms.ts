import { DAY } from '../shared/clock.js';
import type { Term } from './types.js';

const MONTHS: Record<string, number> = { P1M: 1, P1Y: 12, P2Y: 24, P3Y: 36, P4Y: 48, P5Y: 60 };

function addMonths(day: Date, months: number): Date {
  const first = new Date(Date.UTC(day.getUTCFullYear(), day.getUTCMonth() + months, 1));
  const daysInMonth = new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth() + 1, 0)).getUTCDate();
  return new Date(Date.UTC(first.getUTCFullYear(), first.getUTCMonth(), Math.min(day.getUTCDate(), daysInMonth)));
}

function dayText(day: Date): string {
  return `${day.toISOString().slice(0, 10)}T00:00:00Z`;
}

export function startOfDay(instant: Date): string {
  return dayText(instant);
}

/** The n-th term counted from the anchor day, so that a 31st does not wander to the 28th for good. */
export function termAt(anchor: string, termUnit: string, index: number): Term {
  const months = MONTHS[termUnit] ?? 1;
  const start = addMonths(new Date(anchor), months * index);
  const next = addMonths(new Date(anchor), months * (index + 1));
  return { termUnit, startDate: dayText(start), endDate: dayText(new Date(next.getTime() - DAY)) };
}

export function renewalMs(term: Term): number {
  return Date.parse(term.endDate) + DAY;
}
