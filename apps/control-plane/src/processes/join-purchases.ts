import { ProblemError, type Tx } from '#platform';
import { MarketplaceRefusal, type FulfillmentEvent, type KeyChange } from '#marketplaces/core';
import { decideJoin, isOver, type PurchaseJoinRow, subscriptionIdOf, type SubscriptionRecord } from '#entitlements';
import type { ProcessContext } from './context.js';
import { applyEvent, oneMergerAtATime } from './normalise-inbound.js';
import { keyChangeOf, unjoinedKey } from './propose-joins.js';

export interface JoinWish {
  formerId: string;
  /** The purchase under the new key; null where nothing has told of it yet. */
  nextId: string | null;
  /** The new key as calls take it (AWS: the licence's ARN). */
  spelling: string | null;
  reason: string;
  /** Who says so. */
  actor: string;
}

/**
 * A person says that two purchases are one: the one under the new key takes the other's place at the first full hour that goes by the
 * new key and is not closed, by the way of every succession (ADR 0013). Throws `join.not_joinable`, `join.decided`.
 */
export async function joinPurchases(p: ProcessContext, tx: Tx, wish: JoinWish): Promise<PurchaseJoinRow> {
  const asked = await p.subscriptions.get(tx, wish.formerId);
  const keyChange = keyChangeOf(p, asked);
  if (!keyChange) throw notJoinable('This marketplace changes no keys of purchases, as it is configured.');
  await oneMergerAtATime(tx, wish.formerId);
  const former = await p.subscriptions.get(tx, wish.formerId);
  const known = wish.nextId === null ? null : await p.subscriptions.get(tx, wish.nextId);
  const plan = (refs: SubscriptionRecord['marketplaceRefs'] | null): ReturnType<KeyChange['join']> => {
    try {
      return keyChange.join(former.marketplaceRefs, refs, wish.spelling, p.clock.now());
    } catch (error) {
      throw error instanceof MarketplaceRefusal ? notJoinable(error.message) : error;
    }
  };
  let both = plan(known?.marketplaceRefs ?? null);
  const nextId = subscriptionIdOf(both.next.marketplace, both.next.externalSubscriptionId);
  await oneMergerAtATime(tx, nextId);
  const next = await p.subscriptions.find(tx, nextId);
  // A message told of it meanwhile, or nobody named it by its own id.
  if (next) both = plan(next.marketplaceRefs);
  if (isOver(former.state) || former.supersededBy) throw notJoinable('The purchase under the former key is over.');
  if (next && (isOver(next.state) || next.tenantId || next.supersededBy))
    throw notJoinable('The purchase under the new key is over, or set up for itself already.');
  for (const truth of [both.former, both.next]) {
    const event: FulfillmentEvent = {
      kind: 'changed',
      marketplace: truth.marketplace,
      externalSubscriptionId: truth.externalSubscriptionId,
      occurredAt: p.clock.now(),
      truth,
      note: 'a person said that it goes on under another key',
    };
    const outcome = await applyEvent(p, tx, event, null);
    if (outcome.result === 'parked') throw notJoinable(outcome.why);
  }
  const { formerId, reason, actor } = wish;
  const row = await decideJoin(tx, { formerId, nextId }, { approve: true, decidedBy: actor, reason, now: p.clock.now() });
  await recordDecision(p, tx, former, 'purchase.joined', { nextId, reason }, actor);
  const [finding] = await tx.query<{ finding_id: string }>('select finding_id from findings where dedupe_key = $1 and settlement is null', [
    unjoinedKey(formerId),
  ]);
  if (finding)
    await p.metering.settleFinding(tx, { findingId: finding.finding_id, words: { kind: 'release', actor, reason, effect: 'joined' } });
  return row;
}

/** They are two: the new one is set up for itself, and the former one has still to be joined. */
export async function rejectJoin(
  p: ProcessContext,
  tx: Tx,
  pair: { formerId: string; nextId: string },
  { reason, actor }: { reason: string; actor: string },
): Promise<PurchaseJoinRow> {
  const row = await decideJoin(tx, pair, { approve: false, decidedBy: actor, reason, now: p.clock.now() });
  await recordDecision(
    p,
    tx,
    await p.subscriptions.get(tx, pair.formerId),
    'purchase.join_rejected',
    { nextId: pair.nextId, reason },
    actor,
  );
  return row;
}

const recordDecision = (p: ProcessContext, tx: Tx, former: SubscriptionRecord, action: string, detail: object, actor: string) =>
  p.audit.record(tx, {
    tenantId: former.tenantId,
    actor,
    action,
    subject: `subscription:${former.subscriptionId}`,
    detail: { ...detail },
  });

const notJoinable = (detail: string): ProblemError => new ProblemError('conflict', 'join.not_joinable', detail);
