import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { holdService, isOver, releaseService, SERVICE_CHECK } from '#entitlements';
import { MarketplaceBusy, MarketplaceRefusal, MarketplaceUnknown, type Marketplace, type ServiceVerdict } from '#marketplaces/core';
import type { ProcessContext } from './context.js';
import { alarmIfAboutUs } from './refused-credentials.js';

/** How often a buyer is asked for who may not be served. */
const ASK_AGAIN_MS = 5 * 60_000;
/** So long after an activation "not activated" may only mean that the news has not gone round yet (contract gcp §4: about 60 s). */
const SETTLING_MS = 10 * 60_000;

export const serviceLane = (subscriptionId: string): string => `service:${subscriptionId}`;

/**
 * Task `service.check`: whether the marketplace lets a buyer be served whose purchase is in force (Google's BILLING_DISABLED,
 * contract gcp §4). A definite no suspends access, and the task stays until it is a yes again.
 */
export async function checkService(p: ProcessContext, payload: { subscriptionId: string }, task: TaskContext): Promise<void> {
  const { subscriptionId } = payload;
  const record = await p.db.ops((tx) => p.subscriptions.get(tx, subscriptionId));
  const adapter = p.marketplaces.get(record.marketplace);
  const held = record.state === 'suspended' && record.suspendedSource === SERVICE_CHECK;
  if (!adapter.checkService || isOver(record.state) || (record.state !== 'active' && !held)) return p.db.ops((tx) => task.completeIn(tx));
  const { externalSubscriptionId, marketplaceRefs } = record;
  const verdict = await adapter.checkService({ externalSubscriptionId, refs: marketplaceRefs }).catch(async (error: unknown) => {
    await alarmIfAboutUs(p, record.marketplace, error);
    return unsaid(error);
  });
  const again = (after: number, why: string): never => {
    throw new RunAgainAt(new Date(p.clock.now().getTime() + after), why);
  };
  if (verdict.serve === false) {
    const served = p.clock.now().getTime() - (record.acknowledgedAt ?? record.createdAt).getTime();
    if (served < SETTLING_MS) again(SETTLING_MS - served, `${verdict.code}, and it was activated just now`);
    await p.db.ops((tx) => holdService(tx, p, subscriptionId, `${verdict.code}: ${verdict.detail}`.slice(0, 500)));
    again(ASK_AGAIN_MS, verdict.code);
  }
  if (verdict.serve === 'unknown' && held) again(ASK_AGAIN_MS, verdict.detail);
  await p.db.ops(async (tx) => {
    if (verdict.serve === true) await releaseService(tx, p, subscriptionId);
    await task.completeIn(tx);
  });
}

/** No answer is no reason to stop serving: "on server errors fail open" (contract gcp §4). */
function unsaid(error: unknown): ServiceVerdict {
  if (error instanceof MarketplaceBusy || error instanceof MarketplaceRefusal || error instanceof MarketplaceUnknown)
    return { serve: 'unknown', detail: error.message };
  throw error;
}

/** Each purchase that serves is asked for, because one without usage reports nothing and would never hear of it. */
export async function bookServiceChecks(p: ProcessContext, tx: Tx, marketplace: Marketplace): Promise<void> {
  if (!p.marketplaces.get(marketplace).checkService) return;
  const rows = await tx.query<{ subscription_id: string }>(
    `select s.subscription_id from subscriptions s where s.marketplace = $1 and s.state = 'active' and s.tenant_id is not null
        and not exists (select 1 from tasks t where t.lane = 'service:' || s.subscription_id and t.state <> 'done')`,
    [marketplace],
  );
  for (const { subscription_id: subscriptionId } of rows)
    await p.tasks.enqueue(tx, { lane: serviceLane(subscriptionId), handler: 'service.check', payload: { subscriptionId } });
}
