import { ProblemError, sha256Hex, type Clock, type Tx } from '#platform';
import { shardOf } from '../domain/merkle.js';
import { LARGEST_SAMPLE } from '../domain/bill-segment.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { instantText, toUs } from '../domain/units.js';
import { markLate } from '../infra/late-arrivals.js';
import { shareShards } from '../infra/locks.js';
import type { UsageDays } from '../infra/usage-days.js';

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
  const open = await tx.query<{ subscription_id: string }>(
    'select subscription_id from usage_bindings where placement_id = $1 and valid_until is null',
    [b.placementId],
  );
  // A closing reads a binding before or after this, never half of each.
  await shareShards(
    tx,
    open.map((o) => shardOf(o.subscription_id)),
  );
  await tx.query(
    'update usage_bindings set valid_until = greatest(valid_from, $2::timestamptz) where placement_id = $1 and valid_until is null',
    [b.placementId, b.until],
  );
}

/** No closing of an hour of these subscriptions runs until this transaction ends; answers up to where their hours are closed. */
export async function holdClosing(tx: Tx, subscriptionIds: string[]): Promise<Map<string, Date>> {
  await shareShards(tx, subscriptionIds.map(shardOf));
  const rows = await tx.query<{ subscription_id: string; next_hour: Date }>(
    'select subscription_id, max(next_hour) as next_hour from series where subscription_id = any($1::uuid[]) and next_hour > first_hour group by 1',
    [subscriptionIds],
  );
  return new Map(rows.map((r) => [r.subscription_id, r.next_hour]));
}

/**
 * From `at` on, what the placement reports is usage of another subscription: a renewal in its predecessor's place. Both bindings
 * meet at one instant. Without an open binding there is nothing to hand over: the successor gets its own when it serves.
 */
export async function transferPlacement(tx: Tx, t: { placementId: string; toSubscriptionId: string; at: Date }): Promise<void> {
  const [open] = await tx.query<{ subscription_id: string }>(
    'select subscription_id from usage_bindings where placement_id = $1 and valid_until is null',
    [t.placementId],
  );
  if (!open || open.subscription_id === t.toSubscriptionId) return;
  await shareShards(tx, [shardOf(open.subscription_id), shardOf(t.toSubscriptionId)]);
  const [closed] = await tx.query<{ at: string }>(
    `update usage_bindings set valid_until = greatest($2::timestamptz, valid_from + interval '1 microsecond'), held_from = null
      where placement_id = $1 and valid_until is null returning valid_until::text as at`,
    [t.placementId, t.at],
  );
  await tx.query(
    `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from)
     select placement_id, tenant_id, $2, source, valid_until from usage_bindings where placement_id = $1 and valid_until = $3::timestamptz`,
    [t.placementId, t.toSubscriptionId, closed!.at],
  );
}

/** The subscription ended at `from` and a successor may come: what the placement reports after it is taken and counts for nobody yet. */
export async function holdForSuccessor(tx: Tx, h: { placementId: string; subscriptionId: string; from: Date }): Promise<void> {
  await shareShards(tx, [shardOf(h.subscriptionId)]);
  await tx.query(
    `update usage_bindings set held_from = greatest(valid_from, $3::timestamptz) where placement_id = $1 and subscription_id = $2 and valid_until is null and held_from is null`,
    [h.placementId, h.subscriptionId, h.from],
  );
}

/** None came: the last delta that spans the end is the old subscription's again, also where its final hour is closed. */
export async function releaseFromHold(tx: Tx, h: { placementId: string; subscriptionId: string }): Promise<void> {
  await shareShards(tx, [shardOf(h.subscriptionId)]);
  const held = await tx.query<{ at: Date }>(
    `update usage_bindings b set held_from = null from (select placement_id, valid_from, held_from from usage_bindings
       where placement_id = $1 and subscription_id = $2 and held_from is not null for update) o
      where b.placement_id = o.placement_id and b.valid_from = o.valid_from returning o.held_from as at`,
    [h.placementId, h.subscriptionId],
  );
  for (const { at } of held) {
    await tx.query(
      `insert into late_arrivals (subscription_id, metric, hour, tenant_id)
       select s.subscription_id, s.metric, date_trunc('hour', $2::timestamptz - interval '1 microsecond', 'UTC'), s.tenant_id from series s
        where s.subscription_id = $1 and s.kind = 'counter' and s.next_hour > date_trunc('hour', $2::timestamptz - interval '1 microsecond', 'UTC') on conflict do nothing`,
      [h.subscriptionId, at],
    );
  }
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
  await days.ensureIn(tx, at);
  await shareShards(tx, [shardOf(s.subscriptionId)]);
  const id = `${s.placementId}:${s.metric}:${at}:${s.value}`;
  const fresh = await tx.query(
    `insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash, position)
     values ('engine', $1, $2, $3::timestamptz, $4, $5, $6, $7, 'gauge', $8, '', (select count(*) from usage_events where placement_id = $6 and metric = $7 and occurred_at = $3::timestamptz), $9, $10, nextval('metering_order'))
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
