import { realNow, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';

/** May be sent now, and nobody else is at it. Leases run in real time, waiting in business time. */
export const FREE = `i.settled_at is null and i.state in ('pending', 'deferred', 'unknown', 'in_flight') and i.hard_at > $1 and (i.lease_until is null or i.lease_until < $2)`;
export const SENDABLE = `${FREE} and i.next_attempt_at <= $1`;

const UUID = '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$';
/**
 * Whether a ledger entry's reference names an item. One look by the key for each entry: compared as text, or as a set, it would read
 * all items there ever were.
 */
export const namesItem = (ref: string): string =>
  `coalesce(case when ${ref} ~ '${UUID}' then (select true from submission_items named where named.item_id = ${ref}::uuid) end, false)`;

/** The hard deadline that is next at a marketplace, or at one gate of it, of what may be sent or waits; null where nothing does. */
export async function nextDeadline(tx: Tx, now: Date, marketplace: Marketplace, gate: string | null = null): Promise<Date | null> {
  const [row] = await tx.query<{ at: Date | null }>(
    `select min(i.hard_at) as at from submission_items i where ${FREE} and i.marketplace = $3 and ($4::text is null or i.gate = $4)`,
    [now, realNow(), marketplace, gate],
  );
  return row!.at;
}

/** The batch was refused as a whole: nothing of it was taken, and that is the outcome of these attempts. */
export async function refuseAttempts(
  tx: Tx,
  part: readonly { attemptId: string }[],
  outcome: 'batch_refused' | 'refused_alone',
  code: string,
  at: Date,
): Promise<void> {
  await tx.query(
    `update submission_attempts set outcome = $2, code = $3, outcome_at = $4 where attempt_id = any($1::uuid[]) and outcome is null`,
    [part.map((p) => p.attemptId), outcome, code, at],
  );
}

/** An item with what its outcome, its loss or its finding needs of its record; `settled`: it has its outcome, `unsure`: an earlier answer was lost. */
export interface OpenItem {
  item_id: string;
  tenant_id: string;
  subscription_id: string;
  segment_id: string;
  meter: string;
  dimension: string;
  hour_us: string;
  base_quantity: string;
  quantity: string;
  decimals: number;
  base_per_unit: string;
  state: string;
  attempts: number;
  fence: string;
  hard_at: Date;
  settled: boolean;
  unsure: boolean;
  last_code: string | null;
  hold_reason: string | null;
  marketplace: string;
}

export const OPEN_ITEM = `select i.item_id, i.tenant_id, i.subscription_id, i.marketplace, r.segment_id, r.meter, r.dimension, (extract(epoch from i.hour) * 1000000)::bigint::text as hour_us, r.base_quantity::text, r.quantity::text,
    r.decimals, r.base_per_unit::text, i.state, i.attempts, i.fence::text, i.hard_at, i.settled_at is not null as settled, i.last_code, i.hold_reason,
    exists (select 1 from submission_attempts a where a.item_id = i.item_id and a.outcome = 'unknown') as unsure
  from submission_items i join usage_records r using (record_id)`;
