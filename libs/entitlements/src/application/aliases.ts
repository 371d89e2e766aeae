import type { Tasks, Tx } from '#platform';
import type { SubscriptionTruth } from '#marketplaces/core';
import { isOver } from '../domain/subscription-states.js';
import type { SubscriptionRecord } from '../infra/subscription.record.js';
import { meetAt, successorOf, waitingFor } from './succession.js';

/** Remembers the other names of a purchase (agreement, licence, order); answers those that were not known before. */
export async function linkAliases(tx: Tx, record: SubscriptionRecord, truth: SubscriptionTruth): Promise<SubscriptionTruth['aliases']> {
  const linked: SubscriptionTruth['aliases'] = [];
  for (const alias of truth.aliases) {
    const fresh = await tx.query(
      'insert into subscription_aliases (marketplace, kind, external_id, subscription_id) values ($1, $2, $3, $4) on conflict do nothing returning 1',
      [truth.marketplace, alias.kind, alias.externalId, record.subscriptionId],
    );
    if (fresh.length > 0) linked.push(alias);
  }
  return linked;
}

/** Wakes the renewal that may take over now: this one, or those that waited for an id that this one has just got. */
export async function announceSuccession(
  tx: Tx,
  tasks: Tasks,
  record: SubscriptionRecord,
  linked: SubscriptionTruth['aliases'],
  /** It names its predecessor for the first time. */
  isNewlyNamed: boolean,
): Promise<void> {
  const { marketplace, supersedes } = record.truth;
  const due = new Set<string>();
  const meetings = [...linked, ...(supersedes ? [supersedes] : [])].sort((a, b) => (a.externalId < b.externalId ? -1 : 1));
  for (const id of meetings) await meetAt(tx, { marketplace, ...id });
  for (const id of linked) for (const waiting of await waitingFor(tx, { marketplace, ...id }, record.tenantId)) due.add(waiting);
  // With a tenant of its own it is too late to take over; that too must be seen (ADR 0013).
  if (supersedes && (!record.tenantId || isNewlyNamed) && !isOver(record.state)) due.add(record.subscriptionId);
  // It was replaced itself before anybody knew whom it had replaced: what it never had is its successor's to fetch.
  if (supersedes && !record.tenantId && record.supersededBy) due.add(await successorOf(tx, record.subscriptionId));
  for (const subscriptionId of due)
    await tasks.publish(tx, {
      type: 'subscription.succession_due',
      lane: `subscription:${subscriptionId}`,
      payload: { subscriptionId, tenantId: null },
    });
}
