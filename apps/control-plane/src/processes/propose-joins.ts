import type { Tx } from '#platform';
import type { KeyChange } from '#marketplaces/core';
import { isOver, proposeJoin, type SubscriptionRecord } from '#entitlements';
import type { ProcessContext } from './context.js';

export const keyChangeOf = (p: ProcessContext, s: SubscriptionRecord): KeyChange | null =>
  p.marketplaces.has(s.marketplace) ? (p.marketplaces.get(s.marketplace).keyChange ?? null) : null;

/**
 * A purchase under its marketplace's new key may be one that is served under the former key: buyer and product say so, and two
 * purchases of one buyer look the same. A person is asked; until then nothing is set up for the new one, and no hour is lost: what is
 * due before the answer waits (contract aws §0.3, §11.1).
 */
export async function proposeJoins(p: ProcessContext, tx: Tx, one: SubscriptionRecord): Promise<void> {
  const keyChange = keyChangeOf(p, one);
  if (!keyChange || !one.buyerAccountId || isOver(one.state) || one.supersededBy) return;
  const isFormer = one.externalSubscriptionId.startsWith(keyChange.formerPrefix);
  for (const other of await p.subscriptions.ofBuyer(tx, one.marketplace, one.buyerAccountId)) {
    const [former, next] = isFormer ? [one, other] : [other, one];
    if (isOver(other.state) || other.supersededBy || next.tenantId || !keyChange.mayJoin(former.marketplaceRefs, next.marketplaceRefs))
      continue;
    const pair = { formerId: former.subscriptionId, nextId: next.subscriptionId };
    if (await proposeJoin(tx, pair, p.clock.now()))
      await raiseUnjoined(p, tx, former, keyChange.dueAt(former.marketplaceRefs), next.externalSubscriptionId);
  }
}

/** From `dueAt` on its hours wait for a person. One finding a purchase, settled by the join. */
export const raiseUnjoined = (
  p: ProcessContext,
  tx: Tx,
  former: SubscriptionRecord,
  dueAt: Date | null,
  mayBe: string | null,
): Promise<boolean> =>
  p.metering.raiseFinding(tx, {
    kind: 'unjoined_purchase',
    dedupeKey: unjoinedKey(former.subscriptionId),
    tenantId: former.tenantId,
    subscriptionId: former.subscriptionId,
    deadline: dueAt,
    evidence: {
      marketplace: former.marketplace,
      externalSubscriptionId: former.externalSubscriptionId,
      mayBe,
      why: 'from the deadline on its usage is taken under another key, and nobody has said under which',
      remedy: 'join it with its licence: POST /api/v1/purchase-joins',
    },
  });

export const unjoinedKey = (subscriptionId: string): string => `unjoined_purchase:${subscriptionId}`;
