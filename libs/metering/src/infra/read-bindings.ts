import type { Database } from '#platform';
import type { Binding } from '../application/intake-types.js';

/** The bindings of these placements, all tenants', in order of time: whose a placement is comes out of them. */
export async function readBindings(db: Database, placementIds: string[]): Promise<Binding[]> {
  const rows = await db.opsStatement<{ p: string; t: string; s: string; source: string; from_us: string; until_us: string | null }>(
    'usage_bindings',
    `select placement_id as p, tenant_id as t, subscription_id as s, source, (extract(epoch from valid_from) * 1000000)::bigint::text as from_us,
            (extract(epoch from valid_until) * 1000000)::bigint::text as until_us
       from usage_bindings where placement_id = any($1::uuid[]) order by valid_from`,
    [placementIds],
  );
  return rows.map((r) => ({
    placementId: r.p,
    tenantId: r.t,
    subscriptionId: r.s,
    source: r.source,
    from: BigInt(r.from_us),
    until: r.until_us === null ? null : BigInt(r.until_us),
  }));
}
