import { ProblemError, toPublicId, type Tx } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { subscriptionLane } from '#entitlements';
import type { Principal } from '#tenancy';
import type { ProcessContext } from './context.js';

/**
 * A stored message is normalised once more: the truth is read again, so a message that was processed changes nothing new, and
 * one that parked (a plan that has been mapped since) gets its effect. What never passed verification has no way in here.
 */
export async function replayInbound(
  p: ProcessContext,
  tx: Tx,
  inboxId: string,
  by: Principal,
): Promise<{ taskId: string; fresh: boolean }> {
  const [row] = await tx.query<{ source: string; body: string; subscription_id: string | null; state: string }>(
    'select source, body, subscription_id, state from inbox where inbox_id = $1 for update',
    [inboxId],
  );
  if (!row) {
    const [refused] = await tx.query('select 1 from refusals where refusal_id = $1', [inboxId]);
    throw refused
      ? new ProblemError('conflict', 'inbound_event.refused', 'Its sender was not verified. A refused message is never acted on.')
      : new ProblemError('not_found', 'inbound_event.not_found', 'There is no such inbound event.');
  }
  const marketplace = MARKETPLACES.find((m) => row.source.startsWith(`${m}.`));
  if (!marketplace || row.source.endsWith('.landing'))
    throw new ProblemError(
      'conflict',
      'inbound_event.not_replayable',
      'A landing token is erased once it is resolved. The buyer opens the page again from the marketplace.',
    );
  if (!p.marketplaces.has(marketplace))
    throw new ProblemError('conflict', 'inbound_event.not_replayable', `This installation does not sell on ${marketplace} any more.`);
  const [open] = await tx.query<{ task_id: string; state: string }>(
    `select task_id, state from tasks where handler = 'inbound.normalise' and payload_ref ->> 'inboxId' = $1 and state <> 'done' order by sequence limit 1`,
    [inboxId],
  );
  if (open?.state === 'parked')
    throw new ProblemError('conflict', 'inbound_event.task_parked', 'Its task is parked. Release the task instead.', {
      taskId: toPublicId('tsk', open.task_id),
    });
  let taskId = open?.task_id;
  if (!taskId) {
    await tx.query(`update inbox set state = 'received' where inbox_id = $1`, [inboxId]);
    taskId = await p.tasks.enqueue(tx, {
      lane: row.subscription_id ? subscriptionLane(row.subscription_id) : `inbox:${inboxId}`,
      handler: 'inbound.normalise',
      payload: { inboxId, marketplace },
    });
  }
  await p.audit.record(tx, {
    tenantId: null,
    actor: `${by.kind}:${by.keyId}`,
    action: 'inbound_event.replayed',
    subject: `inbox:${inboxId}`,
    detail: { taskId, before: row.state },
  });
  return { taskId, fresh: !open };
}
