import { ProblemError, uuidv7, type Tx } from '#platform';
import type { Page, PageQuery } from './read-models.js';

export const JOIN_STATES = ['waiting', 'approved', 'rejected'] as const;
export type JoinState = (typeof JOIN_STATES)[number];

/** Two purchases that may be one under two keys of its marketplace. `former_id` has the key that goes out of use. */
export interface PurchaseJoinRow extends Record<string, unknown> {
  join_id: string;
  former_id: string;
  next_id: string;
  state: JoinState;
  reason: string | null;
  decided_by: string | null;
  created_at: Date;
  decided_at: Date | null;
  marketplace: string;
  former_external_id: string;
  next_external_id: string;
  buyer_account_id: string | null;
}

const SELECT = `select j.*, f.marketplace, f.external_subscription_id as former_external_id, n.external_subscription_id as next_external_id,
    coalesce(f.buyer_account_id, n.buyer_account_id) as buyer_account_id
  from purchase_joins j join subscriptions f on f.subscription_id = j.former_id join subscriptions n on n.subscription_id = j.next_id`;

/** The pair waits for a person; true where it is new. What was decided of it stays decided. */
export async function proposeJoin(tx: Tx, pair: { formerId: string; nextId: string }, now: Date): Promise<boolean> {
  const fresh = await tx.query(
    `insert into purchase_joins (join_id, former_id, next_id, state, created_at) values ($1, $2, $3, 'waiting', $4)
       on conflict (former_id, next_id) do nothing returning 1`,
    [uuidv7(), pair.formerId, pair.nextId, now],
  );
  return fresh.length > 0;
}

/** Whether a person has still to say whether this purchase is a former one under its new key: until then it is nobody's. */
export async function awaitsJoin(tx: Tx, nextId: string): Promise<boolean> {
  const rows = await tx.query(
    `select 1 from purchase_joins j join subscriptions f on f.subscription_id = j.former_id
      where j.next_id = $1 and j.state = 'waiting' and f.superseded_by is null and f.state not in ('closing', 'cancelled', 'voided') limit 1`,
    [nextId],
  );
  return rows.length > 0;
}

/** Throws `join.not_found`, and `join.decided` where it waits no more. */
export async function lockJoin(tx: Tx, joinId: string): Promise<{ formerId: string; nextId: string }> {
  const [row] = await tx.query<PurchaseJoinRow>('select * from purchase_joins where join_id = $1 for update', [joinId]);
  if (!row) throw new ProblemError('not_found', 'join.not_found', 'There is no such pair of purchases.');
  if (row.state !== 'waiting') throw new ProblemError('conflict', 'join.decided', `This pair was ${row.state} already.`);
  return { formerId: row.former_id, nextId: row.next_id };
}

interface Decision {
  approve: boolean;
  decidedBy: string;
  reason: string;
  now: Date;
}

/**
 * A person's word on a pair, whether or not it was supposed before. An approval also rejects what else was supposed of either. Throws
 * `join.decided` where either is joined with another one.
 */
export async function decideJoin(tx: Tx, pair: { formerId: string; nextId: string }, d: Decision): Promise<PurchaseJoinRow> {
  await proposeJoin(tx, pair, d.now);
  const [taken] = await tx.query(
    `select 1 from purchase_joins where state = 'approved' and (former_id = $1 or next_id = $2) and not (former_id = $1 and next_id = $2)`,
    [pair.formerId, pair.nextId],
  );
  if (d.approve && taken) throw new ProblemError('conflict', 'join.decided', 'One of the two is joined with another purchase already.');
  await tx.query(
    `update purchase_joins set state = $3, decided_by = $4, reason = $5, decided_at = $6 where former_id = $1 and next_id = $2`,
    [pair.formerId, pair.nextId, d.approve ? 'approved' : 'rejected', d.decidedBy, d.reason, d.now],
  );
  if (d.approve)
    await tx.query(
      `update purchase_joins set state = 'rejected', decided_by = $3, reason = 'the other one of the pair was joined with another purchase', decided_at = $4
        where state = 'waiting' and (former_id = $1 or next_id = $2)`,
      [pair.formerId, pair.nextId, d.decidedBy, d.now],
    );
  const [row] = await tx.query<PurchaseJoinRow>(`${SELECT} where j.former_id = $1 and j.next_id = $2`, [pair.formerId, pair.nextId]);
  return row!;
}

/** Oldest first. */
export async function listJoins(tx: Tx, filter: { state: JoinState | null }, q: PageQuery): Promise<Page<PurchaseJoinRow>> {
  const rows = await tx.query<PurchaseJoinRow>(
    `${SELECT} where ($1::text is null or j.state = $1) and ($2::uuid is null or j.join_id > $2) order by j.join_id limit $3`,
    [filter.state, q.after, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.join_id : null };
}

/** Purchases in force, or waiting, that may still be under a key that goes out of use. */
export function underFormerKey(
  tx: Tx,
  marketplace: string,
  prefix: string,
): Promise<{ subscription_id: string; marketplace_refs: Record<string, unknown> }[]> {
  return tx.query(
    `select subscription_id, marketplace_refs from subscriptions
      where marketplace = $1 and starts_with(external_subscription_id, $2) and superseded_by is null
        and state in ('scheduled', 'pending_fulfillment', 'active', 'suspended') order by subscription_id`,
    [marketplace, prefix],
  );
}
