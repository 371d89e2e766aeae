import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const DAY_MS = 86_400_000;
/** Azure cancels what has been suspended for thirty days (contract azure §5). */
const ENDS_AFTER_MS = 30 * DAY_MS;
const NEAR_MS = 7 * DAY_MS;
const LOOK_EVERY_MS = 3_600_000;

interface Row extends Record<string, unknown> {
  subscription_id: string;
  tenant_id: string | null;
  external_subscription_id: string;
  suspended_at: Date;
}

/** Raises `suspended_long` seven days before a suspended purchase is cancelled: its buyer may only have an expired card. */
export class SuspensionClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected look(now: Date): Promise<number> {
    return this.p.db.ops(async (tx) => {
      const rows = await tx.query<Row>(
        `select subscription_id, tenant_id, external_subscription_id, suspended_at from subscriptions
          where marketplace = 'azure' and state = 'suspended' and suspended_at < $1`,
        [new Date(now.getTime() - ENDS_AFTER_MS + NEAR_MS)],
      );
      return this.p.metering.raiseFindings(
        tx,
        rows.map((row) => ({
          kind: 'suspended_long',
          dedupeKey: `suspended_long:${row.subscription_id}:${row.suspended_at.toISOString()}`,
          tenantId: row.tenant_id,
          subscriptionId: row.subscription_id,
          deadline: new Date(row.suspended_at.getTime() + ENDS_AFTER_MS),
          evidence: {
            marketplace: 'azure',
            externalSubscriptionId: row.external_subscription_id,
            suspendedAt: row.suspended_at.toISOString(),
          },
        })),
      );
    });
  }
}
