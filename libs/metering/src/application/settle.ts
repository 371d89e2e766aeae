import type { Tx } from '#platform';
import { readMeteredSubscriptions, readPlanVersions, readSegments } from '#entitlements';
import type { MeteringDeps } from './deps.js';

/**
 * All hours up to the end are closed and every item has its outcome: accepted, terminal with a finding, or its hard deadline
 * lies more than a day back (law 8). Only then may a subscription become `cancelled`.
 */
export async function isSettled(tx: Tx, subscriptionId: string, now: Date): Promise<boolean> {
  const [subscription] = await readMeteredSubscriptions(tx, { subscriptionIds: [subscriptionId] });
  if (subscription) {
    if (subscription.endedAt === null) return false;
    // A purchase that ended before the closer ever saw it has no series yet: nothing measured is not the same as settled.
    const segments = await readSegments(tx, { subscriptionIds: [subscriptionId], from: new Date(0), to: new Date(8.64e15 / 4) });
    const plans = await readPlanVersions(
      tx,
      segments.map((s) => s.planVersionId),
    );
    const meters = [...new Set([...plans.values()].flatMap((p) => p.meters.map((m) => m.meter)))];
    const missing = await tx.query(
      `select 1 from unnest($2::text[]) m where not exists (select 1 from series s where s.subscription_id = $1 and s.meter = m and s.ended_at = $3)`,
      [subscriptionId, meters, subscription.endedAt],
    );
    if (missing.length > 0) return false;
  }
  const [row] = await tx.query<{ open: boolean }>(
    `select exists (select 1 from series where subscription_id = $1 and completed_at is null)
         or exists (select 1 from carry_ins where subscription_id = $1 and consumed_by_hour is null)
         or exists (select 1 from late_arrivals where subscription_id = $1)
         or exists (select 1 from submission_items where subscription_id = $1 and settled_at is null and not (state = 'unknown' and hard_at + interval '1 day' <= $2)) as open`,
    [subscriptionId, now],
  );
  return !row!.open;
}

/** Publishes `usage.settled` once for each ending subscription whose usage is settled; the row and the tasks commit together. */
export async function settleClosing(deps: MeteringDeps): Promise<number> {
  return deps.db.ops(async (tx) => {
    const closing = (await readMeteredSubscriptions(tx, { state: 'closing' })).filter(
      (s) => s.endedAt !== null && s.endedAt <= deps.clock.now(),
    );
    let settled = 0;
    for (const s of closing) {
      if (!(await isSettled(tx, s.subscriptionId, deps.clock.now()))) continue;
      const fresh = await tx.query(
        'insert into usage_settlements (subscription_id, tenant_id, settled_at) values ($1, $2, $3) on conflict do nothing returning 1',
        [s.subscriptionId, s.tenantId, deps.clock.now()],
      );
      if (fresh.length === 0) continue;
      await deps.tasks.publish(tx, {
        type: 'usage.settled',
        lane: `subscription:${s.subscriptionId}`,
        payload: { subscriptionId: s.subscriptionId },
      });
      settled += 1;
    }
    return settled;
  });
}
