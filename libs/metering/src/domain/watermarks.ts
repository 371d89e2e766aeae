import { maxOf, US_PER_HOUR } from './units.js';

/** A run of a source's numbers, both ends included. */
export interface NumberRun {
  low: bigint;
  high: bigint;
}

/**
 * How long a gap in a source's numbers is waited for, by what the watermark behind it says. After it each hour that the gap
 * could belong to has reached the longest hold limit (money.md "The hour": 6 h) and is closed as estimated.
 */
export const GAP_LIMIT = 6n * US_PER_HOUR;

/** Adds a number to runs as they come; one that follows the last makes it longer. 0 is no number. */
export function addNumber(runs: NumberRun[], n: bigint): void {
  const last = runs.at(-1);
  if (last && last.high + 1n === n) last.high = n;
  else if (n > 0n) runs.push({ low: n, high: n });
}

/** Runs in any order, also of the same numbers, as runs in order, without what touches. */
export function joinRuns(runs: readonly NumberRun[]): NumberRun[] {
  const joined: NumberRun[] = [];
  for (const { low, high } of runs.toSorted((a, b) => (a.low < b.low ? -1 : a.low > b.low ? 1 : 0))) {
    const last = joined.at(-1);
    if (last && low <= last.high + 1n) last.high = maxOf(last.high, high);
    else joined.push({ low, high });
  }
  return joined;
}

/** Numbers as runs, in order, without what touches. 0 is no number. */
export function runsOf(numbers: Iterable<bigint>): NumberRun[] {
  const runs: NumberRun[] = [];
  for (const n of numbers) addNumber(runs, n);
  return joinRuns(runs);
}

/**
 * A source numbers its events 1, 2, 3 …, watermarks among them. A watermark counts when all numbers up to its own have been
 * seen, in whatever order they came; one behind a gap that is given up takes the gap along.
 * `reached`: up to where all have been seen; `through`: the latest of the watermarks that count now, null if none does.
 */
export function countWatermarks(
  reached: bigint,
  seen: readonly NumberRun[],
  waiting: readonly { sequence: bigint; through: bigint }[],
  now: bigint,
): { reached: bigint; through: bigint | null } {
  for (const w of waiting) if (w.through <= now - GAP_LIMIT) reached = maxOf(reached, w.sequence);
  for (const run of seen.toSorted((a, b) => (a.low < b.low ? -1 : 1))) {
    if (run.low > reached + 1n) break;
    reached = maxOf(reached, run.high);
  }
  let through: bigint | null = null;
  for (const w of waiting) if (w.sequence <= reached) through = through === null ? w.through : maxOf(through, w.through);
  return { reached, through };
}
