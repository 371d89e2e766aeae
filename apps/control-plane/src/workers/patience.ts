import { errorText, RunAgainAt, type Clock } from '#platform';
import { MarketplaceBusy } from '#marketplaces/core';
import { isAboutUs } from '../processes/refused-credentials.js';

/** Runs that may fail with the runner's own growing pauses; after them a busy marketplace is asked at a steady pace. */
const QUICK_RUNS = 8;
const PAUSE_MS = 5 * 60_000;

/**
 * What to throw for a run that failed. A marketplace that is down, throttles or answers later is nobody's mistake: its tasks are
 * never parked, however long it takes (money.md: a marketplace may be away for 20 h). Everything else goes the runner's way.
 */
export function whenToRunAgain(error: unknown, attempt: number, clock: Clock): unknown {
  if (isAboutUs(error)) return new RunAgainAt(new Date(clock.now().getTime() + PAUSE_MS), errorText(error));
  if (!(error instanceof MarketplaceBusy)) return error;
  const asked = error.retryAfterMs;
  if (asked === null && attempt < QUICK_RUNS) return error;
  return new RunAgainAt(new Date(clock.now().getTime() + (asked ?? PAUSE_MS)), error.message);
}
