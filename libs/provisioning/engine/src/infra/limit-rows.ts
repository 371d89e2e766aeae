import { uuidv7, type Tx } from '#platform';
import { effectiveLimits, type BuildLimits } from '../domain/build-limits.js';

export interface LimitOverrideRow {
  override_id: string;
  subscription_id: string;
  /** Null: taken back, the plan's limits hold again. */
  limits: BuildLimits | null;
  reason: string;
  decided_by: string;
  decided_at: Date;
}

/** Newest first; the first one holds. */
export function listOverrides(tx: Tx, subscriptionId: string): Promise<LimitOverrideRow[]> {
  return tx.query<LimitOverrideRow>('select * from build_limit_overrides where subscription_id = $1 order by position desc limit 100', [
    subscriptionId,
  ]);
}

export async function insertOverride(tx: Tx, o: Omit<LimitOverrideRow, 'override_id'>): Promise<void> {
  await tx.query(
    `insert into build_limit_overrides (override_id, subscription_id, limits, reason, decided_by, decided_at) values ($1, $2, $3, $4, $5, $6)`,
    [uuidv7(), o.subscription_id, o.limits === null ? null : JSON.stringify(o.limits), o.reason, o.decided_by, o.decided_at],
  );
}

/** What may be built for a purchase: its plan's limits, an operator's word over them. */
export async function limitsOf(tx: Tx, subscriptionId: string, ofPlan: BuildLimits | null): Promise<BuildLimits | null> {
  const [row] = await listOverrides(tx, subscriptionId);
  return effectiveLimits(ofPlan, row?.limits ?? null);
}

/** Of everybody who is served on a cluster, or will be. */
export async function limitsOn(tx: Tx, clusterId: string): Promise<BuildLimits[]> {
  const rows = await tx.query<{ plan: BuildLimits | null; own: BuildLimits | null }>(
    `select p.build_limits as plan, o.limits as own from placements p
       left join lateral (select limits from build_limit_overrides b where b.subscription_id = p.subscription_id
                           order by b.position desc limit 1) o on true
      where p.cluster_id = $1 and (p.build_limits is not null or o.limits is not null)
        and p.phase not in ('ended', 'exporting', 'purging', 'purged')
      order by p.placement_id`,
    [clusterId],
  );
  return rows.map((r) => effectiveLimits(r.plan, r.own)!);
}

/** A renewal in its predecessor's place goes on under the same word. */
export async function carryOverride(tx: Tx, fromSubscriptionId: string, toSubscriptionId: string, now: Date): Promise<void> {
  const [held] = await listOverrides(tx, fromSubscriptionId);
  const [own] = await listOverrides(tx, toSubscriptionId);
  if (held?.limits && !own) await insertOverride(tx, { ...held, subscription_id: toSubscriptionId, decided_at: now });
}
