import { RunAgainAt } from '#platform';
import type { ProcessContext } from './context.js';

const MOST_MS = 5 * 60_000;
const TELL_AFTER_MS = 3_600_000;

/**
 * A step of ours that a marketplace does not take or does not show yet, though nothing forbids it: its views differ for a while. Asked
 * at `leastMs` at first and more and more slowly, up to every five minutes; after an hour a person is told, and it goes on. `since`:
 * when the step was first due.
 */
export async function waitForMarketplace(
  p: ProcessContext,
  step: { name: string; marketplace: string; externalSubscriptionId: string; subscriptionId: string; since: Date; leastMs: number },
  why: string,
): Promise<never> {
  const now = p.clock.now();
  const waitedMs = now.getTime() - step.since.getTime();
  if (waitedMs >= TELL_AFTER_MS)
    await p.db.ops((tx) =>
      p.metering.raiseFinding(tx, {
        kind: 'marketplace_stuck',
        dedupeKey: `marketplace_stuck:${step.name}:${step.subscriptionId}`,
        subscriptionId: step.subscriptionId,
        evidence: {
          marketplace: step.marketplace,
          externalSubscriptionId: step.externalSubscriptionId,
          step: step.name,
          since: step.since.toISOString(),
          why: why.slice(0, 500),
        },
      }),
    );
  throw new RunAgainAt(new Date(now.getTime() + Math.max(step.leastMs, Math.min(MOST_MS, waitedMs / 2))), why);
}
