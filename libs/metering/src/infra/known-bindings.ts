import { groupBy, type Database } from '#platform';
import type { Binding } from '../application/intake-types.js';

const MOST_KNOWN = 50_000;

/** What is known of the bindings of some placements. */
export interface BindingsRead {
  byPlacement: ReadonlyMap<string, readonly Binding[]>;
  /** The open bindings of those that were remembered: nothing may be stored by them that is not proved in the same transaction. */
  known: ReadonlyMap<string, Binding>;
}

/**
 * Bindings, remembered where one of the placement's is open. Whoever stores by such proves that it still is (`storeSamples`): as
 * long as a placement's open binding stands, none of its others comes, goes or moves (`bindPlacement`, `unbindPlacement`,
 * `transferPlacement`).
 */
export class KnownBindings {
  private readonly known = new Map<string, readonly Binding[]>();

  constructor(private readonly db: Database) {}

  /** `remembered`: what is known need not be read; else all is as of now. */
  async read(placementIds: ReadonlySet<string>, { remembered }: { remembered: boolean }): Promise<BindingsRead> {
    const byPlacement = new Map<string, readonly Binding[]>();
    const known = new Map<string, Binding>();
    const missing: string[] = [];
    for (const id of placementIds) {
      const bindings = remembered ? this.known.get(id) : undefined;
      if (!bindings) missing.push(id);
      else {
        byPlacement.set(id, bindings);
        known.set(id, bindings.at(-1)!);
      }
    }
    if (missing.length > 0) {
      if (this.known.size + missing.length > MOST_KNOWN) this.known.clear();
      const read = groupBy(await readBindings(this.db, missing), (b) => b.placementId);
      for (const id of missing) {
        const bindings = read.get(id);
        if (bindings) byPlacement.set(id, bindings);
        if (bindings?.at(-1)!.until === null) this.known.set(id, bindings);
        else this.known.delete(id);
      }
    }
    return { byPlacement, known };
  }
}

/** The bindings of these placements, all tenants', in order of time: whose a placement is comes out of them. */
async function readBindings(db: Database, placementIds: string[]): Promise<Binding[]> {
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
