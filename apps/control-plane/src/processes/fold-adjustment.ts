import type { FulfillmentEvent } from '#marketplaces/core';
import { purchasesByForeignName, subscriptionIdOf } from '#entitlements';
import type { Tx } from '#platform';
import type { ProcessContext } from './context.js';

/**
 * A correction of a bill that the marketplace has decided ends the credit that asked for it. Answers the event with its notice as
 * it is to be kept: where credits of ours wait and it cannot be told which one is meant, it stays open for a person.
 */
export async function foldAdjustment(p: ProcessContext, tx: Tx, event: FulfillmentEvent): Promise<FulfillmentEvent> {
  const { notice, marketplace } = event;
  if (!notice?.adjustment) return event;
  const subscriptionIds = await purchasesOf(tx, event);
  const folded = await p.metering.foldAdjustment(tx, {
    marketplace,
    externalId: notice.externalId,
    subscriptionIds,
    adjustment: notice.adjustment,
  });
  if (folded.result === 'undecided')
    return { ...event, notice: { ...notice, state: 'open', detail: { ...notice.detail, undecided: folded.why } } };
  if (folded.result === 'applied') {
    const { credit } = folded;
    await p.audit.record(tx, {
      tenantId: credit.tenant_id,
      actor: `marketplace:${marketplace}`,
      action: `credit.${credit.state}`,
      subject: `credit:${credit.credit_id}`,
      detail: credit.outcome ?? {},
    });
  }
  return event;
}

async function purchasesOf(tx: Tx, { marketplace, externalSubscriptionId, alias }: FulfillmentEvent): Promise<string[] | null> {
  if (externalSubscriptionId !== '') return [subscriptionIdOf(marketplace, externalSubscriptionId)];
  if (alias?.kind !== 'agreement') return null;
  const known = await purchasesByForeignName(tx, { marketplace, grain: 'agreement', names: [alias.externalId] });
  return known.get(alias.externalId) ?? null;
}
