import { errorText, RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, type Marketplace, type MarketplaceAdapter, type SubscriptionTruth } from '#marketplaces/core';
import {
  changedThereAt,
  claimDriftLine,
  closeDriftRun,
  closeIfThrough,
  compareWithList,
  DRIFT_PATIENCE_MS,
  judgeDriftLine,
  openDriftRun,
  storeComparison,
  subscriptionIdOf,
  subscriptionLane,
  unclosedDriftRun,
} from '#entitlements';
import type { ProcessContext } from './context.js';
import { judgeReread } from './judge-drift.js';
import { alarmIfAboutUs } from './refused-credentials.js';
import { rereadTruth } from './normalise-inbound.js';
import { sweepLostSteps } from './sweep-lost-steps.js';
import { bookOperationSweep } from './sweep-operations.js';

const DEFAULT_LAG_MS = 600_000;

/** Books a comparison, or answers the one that is under way. */
export async function requestDriftRun(p: ProcessContext, tx: Tx, marketplace: Marketplace, requestedBy: string): Promise<string> {
  const { driftRunId, fresh } = await openDriftRun(tx, { marketplace, requestedBy, now: p.clock.now() });
  if (fresh) await p.tasks.enqueue(tx, { lane: `drift:${driftRunId}`, handler: 'drift.compare', payload: { driftRunId, marketplace } });
  return driftRunId;
}

/**
 * Task `drift.compare`: the marketplace's list against our purchases. A list is a hint as a message is: it may lag, leave out
 * and show what is foreign (money.md), so nothing follows from it but a second look at each purchase that differs.
 */
export async function compareWithMarketplace(
  p: ProcessContext,
  payload: { driftRunId: string; marketplace: Marketplace },
  task: TaskContext,
): Promise<void> {
  const { driftRunId, marketplace } = payload;
  const adapter = p.marketplaces.get(marketplace);
  const began = await p.db.ops((tx) => unclosedDriftRun(tx, driftRunId));
  if (began?.state !== 'requested') return;
  let listed: Listed | null;
  try {
    listed = await listEverything(adapter);
  } catch (error) {
    const retryAt = new Date(p.clock.now().getTime() + ((error as MarketplaceBusy).retryAfterMs ?? 30_000));
    if (error instanceof MarketplaceBusy && retryAt.getTime() - began.created_at.getTime() < DRIFT_PATIENCE_MS)
      throw new RunAgainAt(retryAt, error.message);
    await alarmIfAboutUs(p, marketplace, error);
    const why = errorText(error).slice(0, 1_000);
    await p.db.ops(async (tx) => {
      // Half a list would make the other half look lost.
      await closeDriftRun(tx, driftRunId, 'failed', why, p.clock.now());
      await noteFailed(p, tx, marketplace, driftRunId, why);
      await task.completeIn(tx);
    });
    return;
  }
  await p.db.ops(async (tx) => {
    if ((await unclosedDriftRun(tx, driftRunId, 'forUpdate'))?.state !== 'requested') return task.completeIn(tx);
    const now = p.clock.now();
    if (!listed) {
      await closeDriftRun(tx, driftRunId, 'not_comparable', null, now);
    } else {
      const lagMs = adapter.listing?.lagMs ?? DEFAULT_LAG_MS;
      const comparison = await compareWithList(tx, p.catalog, { marketplace, listed: listed.truths, now, lagMs });
      await storeComparison(tx, driftRunId, comparison, now);
      for (const line of comparison.lines.filter((l) => l.verdict === 'rereading')) {
        await p.tasks.enqueue(tx, {
          // Its own lane: fetch order is apply order, also between this and a message.
          lane: subscriptionLane(subscriptionIdOf(marketplace, line.externalSubscriptionId)),
          handler: 'drift.reread',
          payload: { driftRunId, marketplace, externalSubscriptionId: line.externalSubscriptionId },
        });
      }
      await sweepLostSteps(p, tx, { marketplace, waitingBuyers: listed.waitingBuyers, before: new Date(now.getTime() - lagMs) });
      if (!(await closeIfThrough(tx, driftRunId, now)))
        await p.tasks.enqueue(tx, {
          lane: `drift:${driftRunId}`,
          handler: 'drift.conclude',
          payload: { driftRunId },
          runAt: concludeAt(now, now),
        });
      await bookOperationSweep(p, tx, marketplace);
    }
    await task.completeIn(tx);
  });
}

/** While no comparison succeeds, purchases and ends whose messages were lost stay unseen. One a marketplace and day. */
const noteFailed = (p: ProcessContext, tx: Tx, marketplace: Marketplace, driftRunId: string, why: string): Promise<boolean> =>
  p.metering.raiseFinding(tx, {
    kind: 'drift.failed',
    dedupeKey: `drift.failed:${marketplace}:${p.clock.now().toISOString().slice(0, 10)}`,
    evidence: { marketplace, driftRunId, why, remedy: `berth doctor ${marketplace}` },
  });

interface Listed {
  truths: Map<string, SubscriptionTruth>;
  waitingBuyers: string[];
}

async function listEverything(adapter: MarketplaceAdapter): Promise<Listed | null> {
  if (!adapter.listAll) return null;
  const truths = new Map<string, SubscriptionTruth>();
  for await (const truth of adapter.listAll()) truths.set(truth.externalSubscriptionId, truth);
  const waitingBuyers: string[] = [];
  if (adapter.listWaitingBuyers) for await (const { buyerAccountId } of adapter.listWaitingBuyers()) waitingBuyers.push(buyerAccountId);
  return { truths, waitingBuyers };
}

/**
 * Task `drift.reread`, on the purchase's lane: what the marketplace says of this one purchase when asked for it by id, and only
 * that, is applied. A failure ends as `unread`: a sweep must never park a purchase's lane.
 */
export async function rereadDrifted(
  p: ProcessContext,
  payload: { driftRunId: string; marketplace: Marketplace; externalSubscriptionId: string },
  task: TaskContext,
): Promise<void> {
  const { driftRunId, marketplace, externalSubscriptionId } = payload;
  const [record, run] = await p.db.ops(async (tx) => [
    await p.subscriptions.find(tx, subscriptionIdOf(marketplace, externalSubscriptionId)),
    await unclosedDriftRun(tx, driftRunId),
  ]);
  if (!run) return;
  let told;
  try {
    told = await rereadTruth(p, marketplace, externalSubscriptionId, 'found by comparing lists', record?.marketplaceRefs, 'askTruth');
  } catch (error) {
    const retryAt = new Date(p.clock.now().getTime() + ((error as MarketplaceBusy).retryAfterMs ?? 30_000));
    if (error instanceof MarketplaceBusy && retryAt.getTime() - run.created_at.getTime() < DRIFT_PATIENCE_MS)
      throw new RunAgainAt(retryAt, error.message);
    await alarmIfAboutUs(p, marketplace, error);
    await p.db.ops(async (tx) => {
      const unread = { externalSubscriptionId, verdict: 'unread' as const, note: errorText(error).slice(0, 1_000) };
      if (await claimDriftLine(tx, driftRunId, externalSubscriptionId)) await judgeDriftLine(tx, driftRunId, unread, p.clock.now());
      await task.completeIn(tx);
    });
    return;
  }
  // The change happened when the marketplace says it did, not when we found it: that is where the cut belongs.
  const event = { ...told, occurredAt: (told.truth && changedThereAt(told.truth)) ?? told.occurredAt };
  await p.db.ops(async (tx) => {
    const line = await claimDriftLine(tx, driftRunId, externalSubscriptionId);
    if (line) {
      const verdict = await judgeReread(p, tx, event, line);
      await judgeDriftLine(tx, driftRunId, { externalSubscriptionId, ...verdict }, p.clock.now());
    }
    await task.completeIn(tx);
  });
}

/** Soon at first, then ever more seldom: that thousands of lines have been read again need not be told at once. */
const concludeAt = (comparedAt: Date, now: Date): Date =>
  new Date(now.getTime() + Math.min(60_000, Math.max(500, (now.getTime() - comparedAt.getTime()) / 4)));

/** Task `drift.conclude`, one a run: closes it once each of its lines has been judged. */
export async function concludeDriftRun(p: ProcessContext, payload: { driftRunId: string }, task: TaskContext): Promise<void> {
  await p.db.ops(async (tx) => {
    const now = p.clock.now();
    const open = (await closeIfThrough(tx, payload.driftRunId, now)) ? null : await unclosedDriftRun(tx, payload.driftRunId);
    if (open) throw new RunAgainAt(concludeAt(open.compared_at!, now), 'lines are left');
    await task.completeIn(tx);
  });
}
