import { arrayText, realNow, uuidv7, type Calls, type Tx } from '#platform';
import type { Marketplace, UsageWireItem } from '#marketplaces/core';
import { FREE, SENDABLE } from './items.sql.js';

/** An item that is ours, with its intent committed. */
export interface Claimed {
  itemId: string;
  tenantId: string;
  subscriptionId: string;
  marketplace: Marketplace;
  wire: UsageWireItem;
  /** What of the marketplace it goes through (`gateOf`). */
  gate: string;
  hardAt: Date;
  /** What it was before; given back unsent, it is that again. */
  before: string;
  fence: string;
  attemptId: string;
  attempt: number;
  callId: string;
}
/** What may be claimed: an item as it waits. */
export interface WaitingItem {
  item_id: string;
  record_id: string;
  tenant_id: string;
  subscription_id: string;
  marketplace: Marketplace;
  wire: UsageWireItem | null;
  batch_key: string | null;
  gate: string;
  state: string;
  attempts: number;
  hour: Date;
  target_at: Date;
  hard_at: Date;
}
const ITEM =
  'i.item_id, i.record_id, i.tenant_id, i.subscription_id, i.marketplace, i.wire, i.batch_key, i.gate, i.state, i.attempts, i.hour, i.target_at, i.hard_at';

/**
 * Earliest hard deadline first. Nothing of a shut gate; at a forced one also what waits only because the marketplace was busy:
 * its own pause would end after its deadline.
 */
export function waitingItems(
  tx: Tx,
  now: Date,
  marketplace: Marketplace,
  gates: { shut: string[]; forced: string[] },
  limit: number,
): Promise<WaitingItem[]> {
  return tx.query<WaitingItem>(
    `select ${ITEM} from submission_items i
      where ${FREE} and i.marketplace = $3 and i.gate <> all($4::text[])
        and (i.next_attempt_at <= $1 or (i.last_code in ('busy', 'unknown') and i.gate = any($5::text[])))
      order by i.hard_at, i.hour, i.item_id limit $6 for update of i skip locked`,
    [now, realNow(), marketplace, gates.shut, gates.forced, limit],
  );
}

/**
 * More of one kind (one marketplace, batch key, gate and billing month) that wait behind `after`. The month as a span of hours: a
 * function of the hour would hide from the planner that nearly all are of it, and it would sort them all for each batch.
 */
export function waitingMates(tx: Tx, now: Date, kind: WaitingItem, after: WaitingItem, limit: number): Promise<WaitingItem[]> {
  return tx.query<WaitingItem>(
    `select ${ITEM} from submission_items i
      where ${SENDABLE} and i.marketplace = $3 and i.batch_key = $4 and i.gate = $5 and i.hour >= $6 and i.hour < $7 and i.wire is not null
        and (i.hard_at, i.hour, i.item_id) > ($8, $9, $10)
      order by i.hard_at, i.hour, i.item_id limit $11 for update of i skip locked`,
    [
      now,
      realNow(),
      kind.marketplace,
      kind.batch_key,
      kind.gate,
      monthStart(kind.hour, 0),
      monthStart(kind.hour, 1),
      after.hard_at,
      after.hour,
      after.item_id,
      limit,
    ],
  );
}

/** The billing month is UTC's. */
export const monthStart = (hour: Date, later: number): Date => new Date(Date.UTC(hour.getUTCFullYear(), hour.getUTCMonth() + later, 1));

/** What an item is built of. */
export interface UnbuiltItem {
  item_id: string;
  external_plan_id: string;
  dimension: string;
  starts_at: Date;
  ends_at: Date;
  quantity: string;
  decimals: number;
}

export async function unbuiltItems(tx: Tx, itemIds: string[]): Promise<Map<string, UnbuiltItem>> {
  const rows = await tx.query<UnbuiltItem>(
    `select i.item_id, r.external_plan_id, r.dimension, r.starts_at, r.ends_at, r.quantity::text as quantity, r.decimals
       from submission_items i join usage_records r using (record_id) where i.item_id = any($1::uuid[])`,
    [itemIds],
  );
  return new Map(rows.map((r) => [r.item_id, r]));
}

/** Stores the bytes once; from here on they are what is sent, whatever the number of attempts. */
export async function storeWires(tx: Tx, built: { itemId: string; wire: UsageWireItem; batchKey: string; gate: string }[]): Promise<void> {
  await tx.query(
    `update submission_items i set wire = u.wire, batch_key = u.key, gate = u.gate
       from unnest($1::uuid[], $2::jsonb[], $3::text[], $4::text[]) as u(id, wire, key, gate) where i.item_id = u.id and i.wire is null`,
    [built.map((b) => b.itemId), built.map((b) => JSON.stringify(b.wire)), built.map((b) => b.batchKey), built.map((b) => b.gate)],
  );
}

/**
 * Attempts that never got an outcome (a crash between intent and outcome): what they did is unknown. By the items' own index: the
 * planner believes that few attempts are open, and would look for them through all there ever were.
 */
export async function loseOpenAttempts(tx: Tx, itemIds: string[], at: Date): Promise<{ item_id: string; call_id: string }[]> {
  if (itemIds.length === 0) return [];
  return tx.query(
    `update submission_attempts a set outcome = 'unknown', code = 'answer_lost', outcome_at = $2
       from (select o.attempt_id from unnest((select $1::uuid[])) as u(item)
              cross join lateral (select b.attempt_id from submission_attempts b where b.item_id = u.item and b.outcome is null offset 0) o) lost
      where a.attempt_id = lost.attempt_id and a.outcome is null returning a.item_id, a.call_id`,
    [itemIds, at],
  );
}

export type Claiming = Omit<Claimed, 'fence' | 'attemptId' | 'attempt' | 'callId'>;

/**
 * Intent before: calls, attempts and leases of all these batches commit together, and only then is anything sent (law 3).
 * `leaseUntil` is real time.
 */
export async function beginAttempts(tx: Tx, calls: Calls, now: Date, leaseUntil: Date, batches: Claiming[][]): Promise<Claimed[][]> {
  const callIds = await calls.beginMany(
    batches.map((items) => ({
      target: items[0]!.marketplace,
      operation: 'submitUsage',
      subject: `submission:${items[0]!.itemId}`,
      ...(items.length === 1 ? { subscriptionId: items[0]!.subscriptionId } : {}),
      // Their bytes stand with the items, once for all attempts.
      intent: { items: items.map((i) => i.itemId) },
    })),
    tx,
  );
  const items = batches.flatMap((batch, n) => batch.map((i) => ({ ...i, attemptId: uuidv7(), callId: callIds[n]! })));
  // The planner does not see how long the arrays are: for a thousand rows it would read tables of many thousand from end to end.
  const rows = await tx.query<{ item_id: string; fence: string; attempts: number }>(
    `with mine as (
       update submission_items i set state = 'in_flight', attempts = i.attempts + 1, fence = i.fence + 1, lease_until = $4, hold_reason = null
         from unnest((select $1::uuid[]), (select $2::uuid[]), (select $3::uuid[])) as u(item, attempt, call) where i.item_id = u.item
       returning i.item_id, i.tenant_id, i.attempts, i.fence, u.attempt, u.call
     ), begun as (
       insert into submission_attempts (attempt_id, item_id, tenant_id, number, call_id, fence, at)
       select attempt, item_id, tenant_id, attempts, call, fence, $5 from mine
     )
     select item_id, fence::text as fence, attempts from mine`,
    [
      arrayText(items.map((i) => i.itemId)),
      arrayText(items.map((i) => i.attemptId)),
      arrayText(items.map((i) => i.callId)),
      leaseUntil,
      now,
    ],
  );
  const byId = new Map(rows.map((r) => [r.item_id, r]));
  const claimed = items.map((i): Claimed => ({ ...i, fence: byId.get(i.itemId)!.fence, attempt: byId.get(i.itemId)!.attempts }));
  let from = 0;
  return batches.map((batch) => claimed.slice(from, (from += batch.length)));
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

/** What a bisection did not get to: at once where the marketplace answers, else after a minute. */
export async function giveBack(tx: Tx, rest: Claimed[], now: Date, atOnce: boolean): Promise<void> {
  await tx.query(
    `update submission_items i set state = 'pending', lease_until = null, next_attempt_at = $3
       from unnest($1::uuid[], $2::bigint[]) as u(id, f) where i.item_id = u.id and i.fence = u.f and i.settled_at is null and i.state = 'in_flight'`,
    [rest.map((p) => p.itemId), rest.map((p) => p.fence), new Date(now.getTime() + (atOnce ? 0 : 60_000))],
  );
}

/**
 * What was claimed and then not sent, which we know: its attempts say so, and the items wait as before. Attempts that somebody
 * else has settled as lost since then stay so.
 */
export async function giveBackUnsent(tx: Tx, calls: Calls, batches: Claimed[][], why: string, now: Date): Promise<void> {
  const items = batches.flat().sort((a, b) => (a.itemId < b.itemId ? -1 : 1));
  await tx.query(
    `with back as (
       update submission_items i set state = u.before, lease_until = null
         from unnest($1::uuid[], $2::bigint[], $3::text[]) as u(id, f, before) where i.item_id = u.id and i.fence = u.f and i.settled_at is null and i.state = 'in_flight' returning 1)
     update submission_attempts set outcome = 'not_sent', code = $5, outcome_at = $6
      where attempt_id = any($4::uuid[]) and outcome is null and (select count(*) from back) >= 0`,
    [items.map((i) => i.itemId), items.map((i) => i.fence), items.map((i) => i.before), items.map((i) => i.attemptId), why, now],
  );
  await calls.endMany(
    batches.map((batch) => ({ callId: batch[0]!.callId, state: 'refused' as const, outcome: { error: `not sent: ${why}` } })),
    tx,
  );
}
