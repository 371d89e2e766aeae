import type { Tx } from '#platform';
import type { SubscriptionTruth } from '#marketplaces/core';
import type { PlanVersion } from '../domain/plan-version.js';
import { SubscriptionRecord } from './subscription.record.js';

const DAY = 86_400_000;

/** With its row lock, for who decides on what it reads. */
export const lockRecord = (tx: Tx, subscriptionId: string): Promise<SubscriptionRecord | null> =>
  tx.manager.findOne(SubscriptionRecord, { where: { subscriptionId }, lock: { mode: 'pessimistic_write' } });

/**
 * The first row of a purchase, locked. Who loses the race gets the winner's row and `fresh: false`. No conflict target: id and key say
 * the same, and with one of them named, who meets another at the other key would fail, or both would wait for each other.
 */
export async function createRecord(
  tx: Tx,
  id: string,
  truth: SubscriptionTruth,
  plan: PlanVersion,
  now: Date,
): Promise<{ record: SubscriptionRecord; fresh: boolean }> {
  const inserted = await tx.query(
    `insert into subscriptions (subscription_id, marketplace, external_subscription_id, state, external_offer_id, external_plan_id, plan_version_id, quantity, activate_by, truth, created_at, updated_at)
       values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11) on conflict do nothing returning 1`,
    [
      id,
      truth.marketplace,
      truth.externalSubscriptionId,
      truth.state === 'scheduled' ? 'scheduled' : 'pending_fulfillment',
      truth.externalOfferId,
      truth.externalPlanId,
      plan.planVersionId,
      truth.quantity,
      new Date(Math.min(now.getTime(), truth.createdAt?.getTime() ?? now.getTime()) + 30 * DAY),
      JSON.stringify(truth),
      now,
    ],
  );
  return { record: (await lockRecord(tx, id))!, fresh: inserted.length > 0 };
}

/** What a newer truth says of names and parties; state, plan and quantity follow by their own rules. */
export function refreshRecord(record: SubscriptionRecord, truth: SubscriptionTruth): void {
  record.name = truth.name;
  const { reseller = record.truth.reseller } = truth;
  record.truth = reseller === undefined ? truth : { ...truth, reseller };
  record.truthVersion = truth.version ?? record.truthVersion;
  record.marketplaceRefs = truth.refs;
  record.endsAt = truth.endsAt;
  record.buyerAccountId =
    truth.buyerAccountId === undefined
      ? (truth.purchaser?.accountId ?? truth.beneficiary?.accountId ?? record.buyerAccountId)
      : truth.buyerAccountId;
}
