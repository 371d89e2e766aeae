import { arrayText, type Tx } from '#platform';
import type { UsageItemOutcome } from '#marketplaces/core';
import type { Claimed } from './claims.sql.js';

export type AttemptOutcome =
  | UsageItemOutcome
  | { itemId: string; outcome: 'busy'; detail: string; retryAfterMs: number | null }
  /** A whole-batch refusal of a batch of one. `neighbourAnswered`: others of the batch that was halved down to it have gone. */
  | { itemId: string; outcome: 'refused_alone'; code: string; detail: string; neighbourAnswered: boolean };

/** An attempt with what it was answered. */
export type Answered = Claimed & { outcome: AttemptOutcome };

/** Accepted; whether as it was sent is the database's to say. */
type Taken = Extract<UsageItemOutcome, { outcome: 'accepted' | 'duplicate_equal' }>;
export const isTaken = (o: AttemptOutcome): o is Taken => o.outcome === 'accepted' || o.outcome === 'duplicate_equal';

/**
 * Notes the answers with their attempts, and settles what was accepted as it was sent, which is nearly all: items and ledger moves
 * in one statement. Answers which items it settled. The planner does not see how long the arrays are: for a thousand rows it would
 * read tables of many thousand from end to end.
 */
export async function settleTaken(tx: Tx, answered: Answered[], now: Date): Promise<Set<string>> {
  const rows = await tx.query<{ item_id: string }>(
    `with u as materialized (
       select * from unnest((select $1::uuid[]), (select $2::uuid[]), (select $3::text[]), (select $4::text[]), (select $5::text[]), (select $6::numeric[]), (select $7::jsonb[])) as u(item, attempt, outcome, code, receipt, quantity, raw)
     ), taken as (
       update submission_items i set state = 'accepted', last_code = u.outcome, receipt = u.receipt, accepted_quantity = u.quantity, settled_at = $8, lease_until = null
         from u, usage_records r
        where i.item_id = u.item and r.record_id = i.record_id and i.settled_at is null and u.outcome in ('accepted', 'duplicate_equal') and u.quantity = r.quantity
       returning i.item_id, i.tenant_id, i.subscription_id, i.hour, r.segment_id, r.meter, r.base_quantity, u.outcome
     ), noted as (
       update submission_attempts t set outcome = u.outcome, code = u.code, receipt = u.receipt, outcome_at = $8, raw = u.raw
         from u where t.attempt_id = u.attempt and t.outcome is null and (select count(*) from taken) >= 0
     ), moved as (
       insert into ledger_entries (subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at, position)
       select subscription_id, meter, hour, segment_id, term, outcome, item_id::text, tenant_id, sign * base_quantity, $8, nextval('metering_order')
         from taken cross join (values ('pending', -1), ('accepted', 1)) as m(term, sign) where base_quantity <> 0
     )
     select item_id from taken`,
    [
      arrayText(answered.map((a) => a.itemId)),
      arrayText(answered.map((a) => a.attemptId)),
      arrayText(answered.map((a) => a.outcome.outcome)),
      arrayText(answered.map(({ outcome: o }) => ('code' in o ? o.code : null))),
      arrayText(answered.map(({ outcome: o }) => ('receipt' in o ? o.receipt : null))),
      arrayText(answered.map(({ outcome: o }) => (isTaken(o) ? o.acceptedQuantity : null))),
      arrayText(answered.map((a) => JSON.stringify(a.outcome))),
      now,
    ],
  );
  return new Set(rows.map((r) => r.item_id));
}
