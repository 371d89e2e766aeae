import { ProblemError, sha256Hex, type Clock, type Tx } from '#platform';
import { shardOf } from '../domain/merkle.js';
import { LARGEST_SAMPLE } from '../domain/bill-segment.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { instantText, toUs } from '../domain/units.js';
import { shareShards } from '../infra/locks.js';
import type { UsageDays } from '../infra/usage-days.js';
import { markLate } from './ingest-usage.js';

export interface NewBinding {
  placementId: string;
  tenantId: string;
  subscriptionId: string;
  source: string;
  from: Date;
}

/** From `from` on, what `source` reports of the placement is usage of this subscription. Idempotent. */
export async function bindPlacement(tx: Tx, b: NewBinding): Promise<void> {
  await shareShards(tx, [shardOf(b.subscriptionId)]);
  const [open] = await tx.query<{ subscription_id: string; source: string }>(
    'select subscription_id, source from usage_bindings where placement_id = $1 and valid_until is null',
    [b.placementId],
  );
  if (open) {
    if (open.subscription_id === b.subscriptionId && open.source === b.source) return;
    throw new ProblemError(
      'conflict',
      'usage.placement_bound',
      'this placement reports for another subscription or through another source',
    );
  }
  await tx.query(
    'insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from) values ($1, $2, $3, $4, $5) on conflict (placement_id, valid_from) do nothing',
    [b.placementId, b.tenantId, b.subscriptionId, b.source, b.from],
  );
}

/** The sample at the very instant of `until` is still taken: it closes what led up to it. */
export async function unbindPlacement(tx: Tx, b: { placementId: string; until: Date }): Promise<void> {
  await tx.query(
    'update usage_bindings set valid_until = greatest(valid_from, $2::timestamptz) where placement_id = $1 and valid_until is null',
    [b.placementId, b.until],
  );
}

export interface EngineSample {
  subscriptionId: string;
  tenantId: string;
  placementId: string;
  metric: string;
  at: Date;
  value: bigint;
}

/**
 * A fact of our own house, for example the provisioned bytes of a placement from `at` on; 0 when it is gone. It commits with
 * the change it describes, needs no watermark and leaves no gaps. The same fact twice is one.
 */
export async function recordEngineSample(tx: Tx, clock: Clock, days: UsageDays, s: EngineSample): Promise<void> {
  if (s.value < 0n || s.value > LARGEST_SAMPLE)
    throw new ProblemError('validation', 'usage.absurd_quantity', `${s.value} is no amount of ${s.metric}`);
  const at = toUs(s.at);
  await days.ensure([at]);
  await shareShards(tx, [shardOf(s.subscriptionId)]);
  const id = `${s.placementId}:${s.metric}:${at}:${s.value}`;
  const fresh = await tx.query(
    `insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash)
     values ('engine', $1, $2, $3::timestamptz, $4, $5, $6, $7, 'gauge', $8, '', (select count(*) from usage_events where placement_id = $6 and metric = $7 and occurred_at = $3::timestamptz), $9, $10)
     on conflict do nothing returning 1`,
    [
      ENGINE_SOURCE,
      id,
      instantText(at),
      s.tenantId,
      s.subscriptionId,
      s.placementId,
      s.metric,
      s.value.toString(),
      clock.now(),
      sha256Hex(id),
    ],
  );
  if (fresh.length > 0) await markLate(tx, [{ subscriptionId: s.subscriptionId, metric: s.metric, at }]);
}
