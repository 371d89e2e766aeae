import { RunAgainAt } from '#platform';
import type { ProcessContext } from './context.js';

const MOST_MS = 5 * 60_000;
const TELL_AFTER_MS = 3_600_000;

/** Business milliseconds to the next question after so long a wait: `leastMs` at first, then half of what was waited, at most five minutes. */
export const growingPause = (waitedMs: number, leastMs: number): number => Math.max(leastMs, Math.min(MOST_MS, waitedMs / 2));

/**
 * A step of ours that a marketplace does not take or does not show yet, though nothing forbids it: its views differ for a while. Asked
 * at `leastMs` at first and more and more slowly, up to every five minutes; after an hour a person is told, and it goes on. `since`:
 * when the step was first due.
 */
export async function waitForMarketplace(
  p: ProcessContext,
  step: {
    name: string;
    marketplace: string;
    /** What the finding tells of: a change, a buyer by his hash, a purchase. Each has a finding of its own. */
    about: Record<string, string>;
    /** Null where the step is of no single purchase. */
    subscriptionId: string | null;
    since: Date;
    leastMs: number;
  },
  why: string,
): Promise<never> {
  const now = p.clock.now();
  const waitedMs = now.getTime() - step.since.getTime();
  if (waitedMs >= TELL_AFTER_MS)
    await p.db.ops((tx) =>
      p.metering.raiseFinding(tx, {
        kind: 'marketplace_stuck',
        dedupeKey: ['marketplace_stuck', step.name, step.subscriptionId, ...Object.values(step.about)].filter(Boolean).join(':'),
        subscriptionId: step.subscriptionId,
        evidence: {
          marketplace: step.marketplace,
          ...step.about,
          step: step.name,
          since: step.since.toISOString(),
          why: why.slice(0, 500),
        },
      }),
    );
  throw new RunAgainAt(new Date(now.getTime() + growingPause(waitedMs, step.leastMs)), why);
}
