import { uuidv7, type Tx } from '#platform';
import type { PublisherChange } from '#marketplaces/core';
import type { Page, PageQuery } from './read-models.js';

export type PublisherChangeRowState = 'requested' | 'sent' | 'succeeded' | 'failed' | 'superseded' | 'refused' | 'unknown';

export interface PublisherChangeRow extends Record<string, unknown> {
  publisher_change_id: string;
  subscription_id: string;
  kind: PublisherChange['kind'] | 'reject';
  to_external_plan_id: string | null;
  to_quantity: number | null;
  reason: string;
  /** Of a rejection: the buyer's sign-up too. */
  also_buyer: boolean;
  requested_by: string;
  state: PublisherChangeRowState;
  external_operation_id: string | null;
  error_code: string | null;
  error_detail: string | null;
  created_at: Date;
  sent_at: Date | null;
  updated_at: Date;
}

export const changeOfRow = (row: PublisherChangeRow): PublisherChange =>
  row.kind === 'plan'
    ? { kind: 'plan', toExternalPlanId: row.to_external_plan_id! }
    : row.kind === 'quantity'
      ? { kind: 'quantity', toQuantity: row.to_quantity! }
      : { kind: 'cancel' };

/** Stores the wish; null where another one of this purchase is still under way. */
export async function insertPublisherChange(
  tx: Tx,
  input: {
    subscriptionId: string;
    change: PublisherChange | { kind: 'reject'; alsoBuyer: boolean };
    reason: string;
    requestedBy: string;
    now: Date;
  },
): Promise<PublisherChangeRow | null> {
  const { change } = input;
  const [row] = await tx.query<PublisherChangeRow>(
    `insert into publisher_changes (publisher_change_id, subscription_id, kind, to_external_plan_id, to_quantity, reason, requested_by, state, created_at, updated_at, also_buyer)
     values ($1, $2, $3, $4, $5, $6, $7, 'requested', $8, $8, $9)
     on conflict (subscription_id) where state in ('requested', 'sent') do nothing returning *`,
    [
      uuidv7(),
      input.subscriptionId,
      change.kind,
      change.kind === 'plan' ? change.toExternalPlanId : null,
      change.kind === 'quantity' ? change.toQuantity : null,
      input.reason,
      input.requestedBy,
      input.now,
      change.kind === 'reject' && change.alsoBuyer,
    ],
  );
  return row ?? null;
}

/** Why we did not take this order, in the words for its buyer; null where it was not we who ended it. */
export async function rejectedBecause(tx: Tx, subscriptionId: string): Promise<string | null> {
  const [row] = await tx.query<{ reason: string }>(
    `select reason from publisher_changes where subscription_id = $1 and kind = 'reject' and state = 'succeeded' limit 1`,
    [subscriptionId],
  );
  return row?.reason ?? null;
}

export async function getPublisherChange(tx: Tx, id: string): Promise<PublisherChangeRow | null> {
  const [row] = await tx.query<PublisherChangeRow>('select * from publisher_changes where publisher_change_id = $1', [id]);
  return row ?? null;
}

/** Newest first. */
export async function listPublisherChanges(tx: Tx, subscriptionId: string, q: PageQuery): Promise<Page<PublisherChangeRow>> {
  const rows = await tx.query<PublisherChangeRow>(
    `select * from publisher_changes where subscription_id = $1 and ($2::uuid is null or publisher_change_id < $2)
      order by publisher_change_id desc limit $3`,
    [subscriptionId, q.after ?? null, q.limit + 1],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.publisher_change_id : null };
}

/** A state that is final is never left again. */
export async function movePublisherChange(
  tx: Tx,
  id: string,
  to: { state: PublisherChangeRowState; externalOperationId?: string | null; errorCode?: string; errorDetail?: string; now: Date },
): Promise<void> {
  await tx.query(
    `update publisher_changes set state = $2, external_operation_id = coalesce($3, external_operation_id), error_code = $4, error_detail = $5,
            sent_at = case when $2 = 'requested' then sent_at else coalesce(sent_at, $6) end, updated_at = $6
      where publisher_change_id = $1 and state in ('requested', 'sent')`,
    [id, to.state, to.externalOperationId ?? null, to.errorCode ?? null, to.errorDetail ?? null, to.now],
  );
}
