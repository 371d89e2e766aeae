import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const LOOK_EVERY_MS = 300_000;
/** So long setting up, suspending and ending may take before somebody must look. */
const PATIENCE_MS = 30 * 60_000;

interface Row extends Record<string, unknown> {
  kind: 'paid_not_serving' | 'serving_not_paid';
  subscription_id: string;
  tenant_id: string | null;
  marketplace: string;
  external_subscription_id: string;
  state: string;
  placement_id: string | null;
  phase: string | null;
  since: Date;
}

/**
 * Raises `paid_not_serving` where the marketplace bills for a purchase that no placement serves, and `serving_not_paid` where one
 * serves that is not in force, once either has lasted half an hour. One for each state of the purchase.
 */
export class ServingClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected look(now: Date): Promise<number> {
    return this.p.db.ops(async (tx) => {
      const rows = await tx.query<Row>(
        `select 'paid_not_serving' as kind, s.subscription_id, s.tenant_id, s.marketplace, s.external_subscription_id, s.state,
                p.placement_id, p.phase, greatest(s.updated_at, p.updated_at) as since
           from subscriptions s
           left join lateral (select placement_id, phase, updated_at from placements where subscription_id = s.subscription_id
                               order by phase = 'active' desc, placement_id desc limit 1) p on true
          where s.state = 'active' and greatest(s.updated_at, p.updated_at) < $1 and coalesce(p.phase, '') <> 'active'
         union all
         select 'serving_not_paid', s.subscription_id, s.tenant_id, s.marketplace, s.external_subscription_id, s.state,
                p.placement_id, p.phase, greatest(s.updated_at, p.activated_at)
           from placements p join subscriptions s using (subscription_id)
          where p.phase = 'active' and s.state <> 'active' and greatest(s.updated_at, p.activated_at) < $1
            -- Access of an end that may be a renewal's waits for the successor.
            and not (s.state = 'closing' and (s.truth ->> 'successorExpected')::boolean is true and s.ended_at > $2)`,
        [new Date(now.getTime() - PATIENCE_MS), new Date(now.getTime() - PATIENCE_MS - this.p.successorHoldMs)],
      );
      return this.p.metering.raiseFindings(
        tx,
        rows.map((row) => ({
          kind: row.kind,
          dedupeKey: `${row.kind}:${row.subscription_id}:${row.since.toISOString()}`,
          tenantId: row.tenant_id,
          subscriptionId: row.subscription_id,
          evidence: {
            marketplace: row.marketplace,
            externalSubscriptionId: row.external_subscription_id,
            state: row.state,
            placementId: row.placement_id,
            phase: row.phase,
            since: row.since.toISOString(),
          },
        })),
      );
    });
  }
}
