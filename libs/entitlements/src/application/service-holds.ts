import type { Clock, Tasks, Tx } from '#platform';
import { SERVICE_CHECK } from '../domain/subscription-states.js';
import { recordEvent } from '../infra/fulfillment-events.sql.js';
import { SubscriptionRecord } from '../infra/subscription.record.js';
import { lockRecord } from '../infra/subscription-rows.js';
import { alignSegments, cutAt } from './cuts.js';

interface On {
  clock: Clock;
  tasks: Tasks;
}

/** The buyer may not be served although the purchase is in force: access stops now, and what is used from now on is not billed. */
export async function holdService(tx: Tx, on: On, subscriptionId: string, why: string): Promise<boolean> {
  const record = await lockRecord(tx, subscriptionId);
  if (record?.state !== 'active') return false;
  record.state = 'suspended';
  record.suspendedSource = SERVICE_CHECK;
  await follow(tx, on, record, 'suspended', `service check: ${why}`, 'applied: active → suspended');
  return true;
}

/** The buyer may be served again. A suspension that the marketplace told meanwhile stays, as its own. */
export async function releaseService(tx: Tx, on: On, subscriptionId: string): Promise<boolean> {
  const record = await lockRecord(tx, subscriptionId);
  if (record?.state !== 'suspended' || record.suspendedSource !== SERVICE_CHECK) return false;
  if (record.truth.state === 'suspended') {
    record.suspendedSource = 'marketplace';
    await tx.manager.save(SubscriptionRecord, record);
    return false;
  }
  record.state = 'active';
  record.suspendedSource = null;
  await follow(tx, on, record, 'reinstated', 'service check: clean', 'applied: suspended → active');
  return true;
}

async function follow(
  tx: Tx,
  on: On,
  record: SubscriptionRecord,
  kind: 'suspended' | 'reinstated',
  note: string,
  outcome: string,
): Promise<void> {
  const { subscriptionId, tenantId, marketplace, externalSubscriptionId } = record;
  const now = on.clock.now();
  await alignSegments(tx, record, await cutAt(tx, subscriptionId, now, now), now);
  record.updatedAt = now;
  await tx.manager.save(SubscriptionRecord, record);
  await recordEvent(
    tx,
    { marketplace, externalSubscriptionId, kind, occurredAt: now, note },
    { inboxId: null, subscriptionId, outcome, now },
  );
  await on.tasks.publish(tx, {
    type: `subscription.${kind}`,
    lane: `subscription:${subscriptionId}`,
    payload: { subscriptionId, tenantId },
  });
}
