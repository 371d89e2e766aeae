import { realNow, uuidv7, type Calls, type Tx } from '#platform';
import type { Marketplace, UsageWireItem } from '#marketplaces/core';

export interface Claimed {
  itemId: string;
  tenantId: string;
  subscriptionId: string;
  marketplace: Marketplace;
  wire: UsageWireItem;
  /** What of the marketplace it goes through (`gateOf`). */
  gate: string;
  hardAt: Date;
  fence: string;
  attemptId: string;
  attempt: number;
  callId: string;
}
interface ItemRow {
  item_id: string;
  record_id: string;
  tenant_id: string;
  subscription_id: string;
  marketplace: Marketplace;
  wire: UsageWireItem | null;
  batch_key: string | null;
  gate: string;
  state: string;
  hour: Date;
  target_at: Date;
  hard_at: Date;
  external_plan_id: string;
  dimension: string;
  starts_at: Date;
  ends_at: Date;
  quantity: string;
  decimals: number;
}

const ITEM = `i.item_id, i.record_id, i.tenant_id, i.subscription_id, i.marketplace, i.wire, i.batch_key, i.gate, i.state, i.hour, i.target_at, i.hard_at,
  r.external_plan_id, r.dimension, r.starts_at, r.ends_at, r.quantity::text as quantity, r.decimals`;
/** May be sent now, and nobody else is at it. Leases run in real time, waiting in business time. */
const FREE = `i.settled_at is null and i.state in ('pending', 'deferred', 'unknown', 'in_flight') and i.hard_at > $1 and (i.lease_until is null or i.lease_until < $2)`;
const SENDABLE = `${FREE} and i.next_attempt_at <= $1`;

/** The hard deadline that is next at a marketplace, or at one gate of it, of what may be sent or waits; null where nothing does. */
export async function nextDeadline(tx: Tx, now: Date, marketplace: Marketplace, gate: string | null = null): Promise<Date | null> {
  const [row] = await tx.query<{ at: Date | null }>(
    `select min(i.hard_at) as at from submission_items i where ${FREE} and i.marketplace = $3 and ($4::text is null or i.gate = $4)`,
    [now, realNow(), marketplace, gate],
  );
  return row!.at;
}

/**
 * Earliest hard deadline first. Nothing of a shut gate; at a forced one also what waits only because the marketplace was busy:
 * its own pause would end after its deadline.
 */
export async function headItem(
  tx: Tx,
  now: Date,
  marketplace: Marketplace,
  gates: { shut: string[]; forced: string[] },
): Promise<ItemRow | null> {
  const [row] = await tx.query<ItemRow>(
    `select ${ITEM} from submission_items i join usage_records r using (record_id)
      where ${FREE} and i.marketplace = $3 and i.gate <> all($4::text[])
        and (i.next_attempt_at <= $1 or (i.last_code in ('busy', 'unknown') and i.gate = any($5::text[])))
      order by i.hard_at, i.hour, i.item_id limit 1 for update of i skip locked`,
    [now, realNow(), marketplace, gates.shut, gates.forced],
  );
  return row ?? null;
}

/**
 * More of the head's kind: one marketplace, one batch key, one billing month (UTC), earliest deadline first. The month as a span of
 * hours: a function of the hour would hide from the planner that nearly all are of it, and it would sort them all for each batch.
 */
export function batchMates(tx: Tx, now: Date, head: ItemRow, batchKey: string, limit: number): Promise<ItemRow[]> {
  return tx.query<ItemRow>(
    `select ${ITEM} from submission_items i join usage_records r using (record_id)
      where ${SENDABLE} and i.marketplace = $3 and i.batch_key = $4 and i.hour >= $5 and i.hour < $6 and i.item_id <> $7 and i.wire is not null
      order by i.hard_at, i.hour, i.item_id limit $8 for update of i skip locked`,
    [now, realNow(), head.marketplace, batchKey, monthStart(head.hour, 0), monthStart(head.hour, 1), head.item_id, limit],
  );
}

const monthStart = (hour: Date, later: number): Date => new Date(Date.UTC(hour.getUTCFullYear(), hour.getUTCMonth() + later, 1));

export type { ItemRow };

/** Stores the bytes once; from here on they are what is sent, whatever the number of attempts. */
export async function storeWire(tx: Tx, itemId: string, wire: UsageWireItem, batchKey: string, gate: string): Promise<void> {
  await tx.query('update submission_items set wire = $2, batch_key = $3, gate = $4 where item_id = $1 and wire is null', [
    itemId,
    JSON.stringify(wire),
    batchKey,
    gate,
  ]);
}

/** Attempts that never got an outcome (a crash between intent and outcome): what they did is unknown. */
export async function loseOpenAttempts(tx: Tx, itemIds: string[], at: Date): Promise<{ item_id: string; call_id: string }[]> {
  return tx.query(
    `update submission_attempts set outcome = 'unknown', code = 'answer_lost', outcome_at = $2 where item_id = any($1::uuid[]) and outcome is null returning item_id, call_id`,
    [itemIds, at],
  );
}

/** Intent before: the call, the attempts and the leases commit together, and only then is anything sent (law 3). */
export async function beginAttempts(
  tx: Tx,
  calls: Calls,
  now: Date,
  leaseMs: number,
  items: Omit<Claimed, 'fence' | 'attemptId' | 'attempt' | 'callId'>[],
): Promise<Claimed[]> {
  const callId = await calls.begin(
    {
      target: items[0]!.marketplace,
      operation: 'submitUsage',
      subject: `submission:${items[0]!.itemId}`,
      ...(items.length === 1 ? { subscriptionId: items[0]!.subscriptionId } : {}),
      intent: { items: items.map((i) => ({ itemId: i.itemId, wireKey: i.wire.wireKey })) },
    },
    tx,
  );
  const rows = await tx.query<{ item_id: string; fence: string; attempts: number }>(
    `update submission_items set state = 'in_flight', attempts = attempts + 1, fence = fence + 1, lease_until = $2, hold_reason = null where item_id = any($1::uuid[]) returning item_id, fence::text, attempts`,
    [items.map((i) => i.itemId), new Date(realNow().getTime() + leaseMs)],
  );
  const byId = new Map(rows.map((r) => [r.item_id, r]));
  const claimed = items.map((i): Claimed => ({
    ...i,
    fence: byId.get(i.itemId)!.fence,
    attempt: byId.get(i.itemId)!.attempts,
    attemptId: uuidv7(),
    callId,
  }));
  await tx.query(
    `insert into submission_attempts (attempt_id, item_id, tenant_id, number, call_id, fence, at)
     select a, i, t, n, $5, f, $6 from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $7::bigint[]) as u(a, i, t, n, f)`,
    [
      claimed.map((c) => c.attemptId),
      claimed.map((c) => c.itemId),
      claimed.map((c) => c.tenantId),
      claimed.map((c) => c.attempt),
      callId,
      now,
      claimed.map((c) => c.fence),
    ],
  );
  return claimed;
}

/** Of these, the ones that are still ours; their lease begins anew, so that a long bisection does not lose them. */
export async function holdOnTo(tx: Tx, part: Claimed[], leaseMs: number): Promise<Set<string>> {
  const rows = await tx.query<{ item_id: string }>(
    `update submission_items i set lease_until = $3 from (
       select i.item_id from submission_items i join unnest($1::uuid[], $2::bigint[]) as u(id, f) on i.item_id = u.id and i.fence = u.f
        where i.settled_at is null and i.state = 'in_flight' order by i.item_id for update of i) mine
      where i.item_id = mine.item_id returning i.item_id`,
    [part.map((p) => p.itemId), part.map((p) => p.fence), new Date(realNow().getTime() + leaseMs)],
  );
  return new Set(rows.map((r) => r.item_id));
}

/** The batch was refused as a whole: nothing of it was taken, and that is the outcome of these attempts. */
export async function refuseAttempts(
  tx: Tx,
  part: Claimed[],
  outcome: 'batch_refused' | 'refused_alone',
  code: string,
  at: Date,
): Promise<void> {
  await tx.query(
    `update submission_attempts set outcome = $2, code = $3, outcome_at = $4 where attempt_id = any($1::uuid[]) and outcome is null`,
    [part.map((p) => p.attemptId), outcome, code, at],
  );
}

/** What a bisection did not get to: at once where the marketplace answers, else after a minute. */
export async function giveBack(tx: Tx, rest: Claimed[], now: Date, atOnce: boolean): Promise<void> {
  await tx.query(
    `update submission_items i set state = 'pending', lease_until = null, next_attempt_at = $3
       from unnest($1::uuid[], $2::bigint[]) as u(id, f) where i.item_id = u.id and i.fence = u.f and i.settled_at is null and i.state = 'in_flight'`,
    [rest.map((p) => p.itemId), rest.map((p) => p.fence), new Date(now.getTime() + (atOnce ? 0 : 60_000))],
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
