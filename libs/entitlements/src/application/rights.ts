import { uuidv7, type Tx } from '#platform';
import type { PlanVersion, QuotaTerms } from '../domain/plan-version.js';

interface RightsOwner {
  subscriptionId: string;
  tenantId: string | null;
  quantity: number | null;
}

/** A quota's number for a purchase: per unit it is multiplied by the quantity. */
export function quotaLimit(terms: QuotaTerms, quantity: number | null): bigint {
  const base = BigInt(terms.hardLimit);
  return terms.per === 'unit' ? base * BigInt(Math.max(1, quantity ?? 1)) : base;
}

/**
 * Entitlements (rights to features) and quotas (numeric limits) of the pinned plan version and quantity. What changed ends
 * at the cut and a new row begins; what stayed is left alone, so history tells who had which right when.
 */
export async function grantRights(tx: Tx, owner: RightsOwner, plan: PlanVersion, at: Date): Promise<void> {
  const features = Object.entries(plan.features);
  await tx.query(
    `update entitlements set ends_at = $2 where subscription_id = $1 and ends_at is null and not exists (
       select 1 from unnest($3::text[], $4::jsonb[]) as w(feature, value) where w.feature = entitlements.feature and w.value = entitlements.value)`,
    [owner.subscriptionId, at, features.map(([f]) => f), features.map(([, v]) => JSON.stringify(v))],
  );
  for (const [feature, value] of features) {
    await tx.query(
      `insert into entitlements (entitlement_id, tenant_id, subscription_id, feature, value, plan_version_id, starts_at) values ($1, $2, $3, $4, $5, $6, $7)
       on conflict (tenant_id, subscription_id, feature) where ends_at is null do nothing`,
      [uuidv7(), owner.tenantId, owner.subscriptionId, feature, JSON.stringify(value), plan.planVersionId, at],
    );
  }
  await tx.query('update quotas set ends_at = $2 where subscription_id = $1 and ends_at is null and not name = any($3::text[])', [
    owner.subscriptionId,
    at,
    plan.quotas.map((q) => q.name),
  ]);
  for (const quota of plan.quotas) {
    const limit = quotaLimit(quota, owner.quantity).toString();
    await tx.query('update quotas set ends_at = $3 where subscription_id = $1 and name = $2 and ends_at is null and hard_limit <> $4', [
      owner.subscriptionId,
      quota.name,
      at,
      limit,
    ]);
    await tx.query(
      `insert into quotas (quota_id, tenant_id, subscription_id, name, unit, hard_limit, plan_version_id, starts_at) values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (tenant_id, subscription_id, name) where ends_at is null do nothing`,
      [uuidv7(), owner.tenantId, owner.subscriptionId, quota.name, quota.unit, limit, plan.planVersionId, at],
    );
  }
}

export async function endRights(tx: Tx, subscriptionId: string, at: Date): Promise<void> {
  await tx.query('update entitlements set ends_at = $2 where subscription_id = $1 and ends_at is null', [subscriptionId, at]);
  await tx.query('update quotas set ends_at = $2 where subscription_id = $1 and ends_at is null', [subscriptionId, at]);
}
