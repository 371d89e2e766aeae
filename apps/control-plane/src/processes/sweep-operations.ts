import { RunAgainAt, type TaskContext, type Tx } from '#platform';
import { MarketplaceBusy, type Marketplace, type PulledMessage } from '#marketplaces/core';
import { subscriptionIdOf, subscriptionLane } from '#entitlements';
import type { ProcessContext } from './context.js';
import { alarmIfAboutUs } from './refused-credentials.js';

/** Purchases that one run asks for, one after another: many calls at once would be throttled. */
const AT_ONCE = 25;
/** A message that came so lately is still in work. */
const IN_WORK_MS = 120_000;

/** One sweep of a marketplace at a time, with each comparison. */
export async function bookOperationSweep(p: ProcessContext, tx: Tx, marketplace: Marketplace): Promise<void> {
  if (!p.marketplaces.get(marketplace).pendingMessages) return;
  const lane = `operations:${marketplace}`;
  const [open] = await tx.query(`select 1 from tasks where lane = $1 and state <> 'done' limit 1`, [lane]);
  if (!open) await p.tasks.enqueue(tx, { lane, handler: 'drift.operations', payload: { marketplace, after: null } });
}

/**
 * Task `drift.operations`: a change or a reinstatement whose message was lost waits there for a word of ours (contract azure §4). It
 * is taken in as the message it should have been, and goes the way of any message.
 */
export async function sweepOperations(
  p: ProcessContext,
  payload: { marketplace: Marketplace; after: string | null },
  task: TaskContext,
): Promise<void> {
  const { marketplace, after } = payload;
  const adapter = p.marketplaces.get(marketplace);
  const purchases = await p.db.ops((tx) =>
    tx.query<{ subscription_id: string; external_subscription_id: string; marketplace_refs: Record<string, unknown> }>(
      `select subscription_id, external_subscription_id, marketplace_refs from subscriptions
        where marketplace = $1 and state in ('active', 'suspended') and ($2::uuid is null or subscription_id > $2)
        order by subscription_id limit $3`,
      [marketplace, after, AT_ONCE],
    ),
  );
  const messages: PulledMessage[] = [];
  try {
    for (const { external_subscription_id: id, marketplace_refs: refs } of purchases)
      messages.push(...((await adapter.pendingMessages?.(id, refs)) ?? []));
  } catch (error) {
    if (error instanceof MarketplaceBusy)
      throw new RunAgainAt(new Date(p.clock.now().getTime() + (error.retryAfterMs ?? 60_000)), error.message);
    // The next comparison sweeps again.
    await alarmIfAboutUs(p, marketplace, error);
    throw error;
  }
  await p.db.ops(async (tx) => {
    for (const message of messages) await takeIn(p, tx, marketplace, message);
    if (purchases.length === AT_ONCE)
      await p.tasks.enqueue(tx, {
        lane: task.lane,
        handler: 'drift.operations',
        payload: { marketplace, after: purchases.at(-1)!.subscription_id },
      });
    await task.completeIn(tx);
  });
}

/** One that did arrive is read once more where nothing came of it: it, or our answer, may have come before it was known there. */
async function takeIn(p: ProcessContext, tx: Tx, marketplace: Marketplace, message: PulledMessage): Promise<void> {
  const { externalSubscriptionId, ...rest } = message;
  const { inboxId, fresh } = await p.inbox.receive(tx, { ...rest, contentType: 'application/json' });
  const again =
    !fresh &&
    (await tx.query(
      `update inbox i set state = 'received' where inbox_id = $1 and state = 'processed' and received_at < $2
          and not exists (select 1 from change_requests c where c.external_operation_id = i.natural_key and c.state <> 'dropped')
       returning 1`,
      [inboxId, new Date(p.clock.now().getTime() - IN_WORK_MS)],
    ));
  if (!fresh && !(again && again.length > 0)) return;
  await p.tasks.enqueue(tx, {
    lane: subscriptionLane(subscriptionIdOf(marketplace, externalSubscriptionId!)),
    handler: 'inbound.normalise',
    payload: { inboxId, marketplace },
  });
}
