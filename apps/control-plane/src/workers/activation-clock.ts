import type { ProcessContext } from '../processes/context.js';
import { PacedClock } from './paced-clock.js';

const NEAR_MS = 7 * 86_400_000;
const LOOK_EVERY_MS = 3_600_000;

interface Row extends Record<string, unknown> {
  subscription_id: string;
  tenant_id: string | null;
  marketplace: string;
  external_subscription_id: string;
  activate_by: Date;
}

/**
 * Raises `activate_by_near` seven days before a purchase that waits is void (contract azure §2: 30 days). A clock of its own:
 * where nothing is compared with the marketplace the limit passes all the same.
 */
export class ActivationClock extends PacedClock {
  constructor(p: ProcessContext) {
    super(p, LOOK_EVERY_MS);
  }

  protected look(now: Date): Promise<number> {
    return this.p.db.ops(async (tx) => {
      const rows = await tx.query<Row>(
        `select subscription_id, tenant_id, marketplace, external_subscription_id, activate_by from subscriptions
          where state = 'pending_fulfillment' and activate_by < $1`,
        [new Date(now.getTime() + NEAR_MS)],
      );
      return this.p.metering.raiseFindings(
        tx,
        rows.map((row) => ({
          kind: 'activate_by_near',
          dedupeKey: `activate_by_near:${row.subscription_id}`,
          tenantId: row.tenant_id,
          subscriptionId: row.subscription_id,
          deadline: row.activate_by,
          evidence: { marketplace: row.marketplace, externalSubscriptionId: row.external_subscription_id, landed: row.tenant_id !== null },
        })),
      );
    });
  }
}
