import { compareDecimals, sumDecimals, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { mayBeUnsure } from '../domain/late-outcome.js';
import type { NewFinding } from './findings.js';

export type Verdict = 'equal' | 'not_yet_visible' | 'missing_there' | 'missing_here' | 'quantity' | 'not_comparable' | 'foreign';

/** A line of a marketplace's word, at the marketplace's grain, with what is ours beside it. Quantities are decimal text in listed units. */
export interface ComparedLine {
  periodStart: Date;
  periodEnd: Date;
  /** The purchase, or as the report names what it tells of. */
  externalSubscriptionId: string;
  /** Null where it is none of ours, or several. */
  subscriptionId: string | null;
  tenantId: string | null;
  /** Empty where the report tells no plan. */
  externalPlanId: string;
  dimension: string;
  ours: string;
  theirs: string | null;
  ourCount: number;
  theirCount: number | null;
  /** Holds records that were not sent, because another kit sends: what differs is shown, and no finding. */
  shadow: boolean;
  /** Several purchases that the report cannot tell apart. */
  bySum?: boolean;
  subscriptionIds?: string[];
  /** Ours that may be in their sum, and are in none of ours. */
  unsure?: readonly UnsureItem[];
}

/** An item that the marketplace may have taken, for an amount that no receipt says. */
export interface UnsureItem extends Record<string, unknown> {
  item_id: string;
  subscription_id: string;
  tenant_id: string;
  external_plan_id: string;
  dimension: string;
  hour: Date;
  /** As it was sent. */
  quantity: string;
  hard_at: Date;
  /** Its answers were lost, and it has no outcome; else it may still be sent, was given up, or collided with a number that was not told. */
  lost: boolean;
  /** A comparison told that it was not taken; another may contradict it. */
  told: boolean;
}

export interface Receipt extends Record<string, unknown> {
  subscription_id: string;
  tenant_id: string;
  external_plan_id: string;
  dimension: string;
  hour: Date;
  quantity: string;
  settled_at: Date;
  shadow: boolean;
}
/**
 * Accepted records, and those of listings in shadow, of whole hours from `from` on and before `to`. What a comparison told to be taken
 * was taken when it was sent last, so that no later word of theirs is too young to contradict it.
 */
export function receiptsOf(tx: Tx, marketplace: Marketplace, from: Date, to: Date): Promise<Receipt[]> {
  return tx.query<Receipt>(
    `select i.subscription_id, i.tenant_id, r.external_plan_id, r.dimension, r.hour, coalesce(i.accepted_quantity, r.quantity)::text as quantity, i.state = 'shadow' as shadow,
            case when o.item_id is null then i.settled_at else (select max(a.at) from submission_attempts a where a.item_id = i.item_id) end as settled_at
       from submission_items i join usage_records r using (record_id) left join late_outcomes o on o.item_id = i.item_id
      where i.marketplace = $1 and (i.accepted_quantity is not null or i.state = 'shadow') and r.hour >= $2 and r.hour < $3`,
    [marketplace, from, to],
  );
}

/**
 * What may be at the marketplace beside `receiptsOf`, of the same hours: not settled yet, given up though an answer was lost (by persons,
 * or because a comparison told that it was not taken), or taken for a number that was not told. The lost ones first.
 */
export function unsureOf(tx: Tx, marketplace: Marketplace, from: Date, to: Date): Promise<UnsureItem[]> {
  return tx.query<UnsureItem>(
    `select i.item_id, i.subscription_id, i.tenant_id, r.external_plan_id, r.dimension, i.hour, r.quantity::text, i.hard_at, i.settled_at is null and i.state = 'unknown' as lost,
            exists (select 1 from late_outcomes o where o.item_id = i.item_id) as told
       from submission_items i join usage_records r using (record_id)
      where i.marketplace = $1 and i.hour >= $2 and i.hour < $3 and i.accepted_quantity is null and (i.settled_at is null
         or (i.settled_at is not null and (i.state = 'conflict' or (i.state in ('expired', 'rejected')
             and exists (select 1 from submission_attempts a where a.item_id = i.item_id and a.outcome = 'unknown')))))
      order by lost desc, i.hour, i.item_id`,
    [marketplace, from, to],
  );
}

export async function storeLines(tx: Tx, reconciliationId: string, lines: readonly (ComparedLine & { verdict: Verdict })[]): Promise<void> {
  await tx.query(
    `insert into reconciliation_lines (reconciliation_id, line, period_start, period_end, external_subscription_id, subscription_id, external_plan_id, dimension, ours, theirs, our_count, their_count, verdict, shadow, by_sum)
     select $2, r.line, r.period_start, r.period_end, r.external_subscription_id, r.subscription_id, r.external_plan_id, r.dimension, r.ours, r.theirs, r.our_count, r.their_count, r.verdict, r.shadow, r.by_sum
       from jsonb_to_recordset($1::jsonb) as r(line int, period_start timestamptz, period_end timestamptz, external_subscription_id text, subscription_id uuid, external_plan_id text, dimension text,
            ours numeric, theirs numeric, our_count int, their_count int, verdict text, shadow boolean, by_sum boolean)`,
    [
      JSON.stringify(
        lines.map((l, i) => ({
          line: i + 1,
          period_start: l.periodStart,
          period_end: l.periodEnd,
          external_subscription_id: l.externalSubscriptionId,
          subscription_id: l.subscriptionId,
          external_plan_id: l.externalPlanId,
          dimension: l.dimension,
          ours: l.ours,
          theirs: l.theirs,
          our_count: l.ourCount,
          their_count: l.theirCount,
          verdict: l.verdict,
          shadow: l.shadow,
          by_sum: l.bySum ?? false,
        })),
      ),
      reconciliationId,
    ],
  );
}

export const isQuiet = ({ verdict }: { verdict: Verdict }): boolean =>
  ['equal', 'not_yet_visible', 'not_comparable', 'foreign'].includes(verdict);

/** What a line says, for findings and what else must be understood when the run is gone. */
export const lineEvidence = (l: ComparedLine): Record<string, unknown> => ({
  externalSubscriptionId: l.externalSubscriptionId,
  externalPlanId: l.externalPlanId,
  from: l.periodStart,
  to: l.periodEnd,
  ours: l.ours,
  theirs: l.theirs,
  ourCount: l.ourCount,
  theirCount: l.theirCount,
  ...(l.bySum ? { bySumOf: l.subscriptionIds } : {}),
});

/** The findings of a line. `source` parts what different reports say of the same line; empty for the read-back. */
export function findingsOf(
  reconciliationId: string,
  marketplace: Marketplace,
  l: ComparedLine & { verdict: Verdict },
  source = '',
): NewFinding[] {
  if (l.shadow || isQuiet(l)) return [];
  const over = compareDecimals(l.theirs ?? '0', l.ours) > 0;
  const difference = over ? sumDecimals([l.theirs ?? '0', negated(l.ours)]) : sumDecimals([l.ours, negated(l.theirs ?? '0')]);
  const base = {
    tenantId: l.tenantId,
    subscriptionId: l.subscriptionId,
    dimension: l.dimension,
    hour: l.periodStart,
    units: difference,
    evidence: {
      reconciliationId,
      marketplace,
      ...lineEvidence(l),
      ...(source === '' ? {} : { source }),
      ...(l.unsure?.length
        ? { withoutReceipt: l.unsure.map((u) => ({ itemId: u.item_id, units: u.quantity, ...(u.told ? { told: 'not_taken' } : {}) })) }
        : {}),
    },
  };
  const key = `${marketplace}:${l.externalSubscriptionId}:${l.externalPlanId}:${l.dimension}:${l.periodStart.toISOString()}:${l.ours}:${l.theirs}${source === '' ? '' : `:${source}`}`;
  const kind = `drift.${l.verdict}` as NewFinding['kind'];
  const found: NewFinding[] = [{ ...base, kind, dedupeKey: `${kind}:${key}` }];
  if (over && l.ourCount > 0 && !mayBeUnsure(l)) found.push({ ...base, kind: 'over_reported', dedupeKey: `over_reported:${key}` });
  return found;
}

const negated = (decimal: string): string => (decimal.startsWith('-') ? decimal.slice(1) : `-${decimal}`);
