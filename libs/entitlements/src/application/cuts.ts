import type { Tx } from '#platform';
import { sameInstant } from '../domain/facts.js';
import { closeSegment, currentSegment, openSegment } from '../infra/segments.sql.js';
import type { SubscriptionRecord } from '../infra/subscription.record.js';
import type { Segment } from '../domain/segment.js';

/** The reason of the cut between the open segment and the purchase as it is now; null where nothing differs. */
function reasonToCut(open: Segment, record: SubscriptionRecord): string | null {
  const billable = record.state === 'active';
  if (open.billable !== billable) return billable ? 'reinstatement' : 'suspension';
  if (open.planVersionId !== record.planVersionId) return 'plan_change';
  if (open.quantity !== record.quantity) return 'quantity_change';
  if (!sameInstant(open.termStartsAt, record.termStartsAt)) return 'renewal';
  return null;
}

/**
 * Brings the segments in line with the purchase: it opens the first one, ends the last one, or makes one cut at which all
 * that changed changes together. Counting begins with the first active stretch that has a tenant: nothing was served before.
 */
export async function alignSegments(tx: Tx, record: SubscriptionRecord, at: Date, now: Date): Promise<'first' | 'cut' | 'ended' | null> {
  const last = await currentSegment(tx, record.subscriptionId);
  const serving = record.state === 'active' || record.state === 'suspended';
  if (!serving) {
    if (!last || last.endsAt) return null;
    await closeSegment(tx, last.segmentId, at);
    return 'ended';
  }
  if (!record.tenantId) return null;
  const reason = last ? reasonToCut(last, record) : record.state === 'active' ? 'activated' : null;
  if (!reason) return null;
  if (last) await closeSegment(tx, last.segmentId, at);
  await openSegment(
    tx,
    {
      subscriptionId: record.subscriptionId,
      tenantId: record.tenantId,
      sequence: (last?.sequence ?? 0) + 1,
      startsAt: at,
      planVersionId: record.planVersionId!,
      externalPlanId: record.externalPlanId,
      quantity: record.quantity,
      billable: record.state === 'active',
      reason,
      termStartsAt: record.termStartsAt,
      termEndsAt: record.termEndsAt,
    },
    now,
  );
  return last ? 'cut' : 'first';
}

/** When it happened there, but never in the future and never before the segment it ends has lasted a millisecond. */
export async function cutAt(tx: Tx, subscriptionId: string, wanted: Date, now: Date): Promise<Date> {
  const last = await currentSegment(tx, subscriptionId);
  return new Date(Math.max(Math.min(now.getTime(), wanted.getTime()), last ? last.startsAt.getTime() + 1 : 0));
}
