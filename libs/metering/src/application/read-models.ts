import { ProblemError, type Tx } from '#platform';
import type { CostPart } from '#marketplaces/core';
import { readPlanVersions, readSegments, type MeterTerms } from '#entitlements';
import { LEDGER_TERMS, sumDifference, type TermSums } from '../domain/sum-terms.js';

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}
export interface PageQuery {
  limit: number;
  after?: string | null;
}

const encode = (...parts: string[]): string => Buffer.from(JSON.stringify(parts)).toString('base64url');
function decode(cursor: string | null | undefined, parts: number): string[] | null {
  if (!cursor) return null;
  try {
    const p: unknown = JSON.parse(Buffer.from(cursor, 'base64url').toString());
    if (Array.isArray(p) && p.length === parts && p.every((x) => typeof x === 'string' && x.length < 64 && !/[^\w:.TZ+-]/.test(x)))
      return p as string[];
  } catch {
    /* not one of ours */
  }
  throw new ProblemError('validation', 'cursor.malformed', 'the cursor was not made by this list');
}
const hours = (q: HourFilter): unknown[] => [q.from ?? null, q.to ?? null, q.marketplace ?? null];
const bounded = (limit: number): number => Math.max(1, Math.min(500, Math.trunc(limit) || 50));
async function page<T extends Record<string, unknown>>(
  tx: Tx,
  sql: string,
  params: unknown[],
  limit: number,
  cursor: (row: T) => string,
): Promise<Page<T>> {
  const rows = await tx.query<T>(sql, params);
  const items = rows.slice(0, limit);
  return { items, nextCursor: rows.length > limit ? cursor(items.at(-1)!) : null };
}

export interface UsageRecordRow extends Record<string, unknown> {
  record_id: string;
  tenant_id: string;
  subscription_id: string;
  marketplace: string;
  meter: string;
  segment_id: string;
  dimension: string;
  hour: Date;
  base_quantity: string;
  quantity: string;
  listed_unit: string;
  plan_version_id: string;
  external_plan_id: string;
  starts_at: Date;
  ends_at: Date;
  quality: string;
  closed_at: Date;
  submission_state: string | null;
  /** How it is split by labels; null where it is not. */
  parts: CostPart[] | null;
}
/** Whole hours from `from` on and before `to`. */
export interface HourFilter {
  from?: Date;
  to?: Date;
  marketplace?: string;
}
/** All lists obey the role they run under; oldest hour first. Quantities are decimal text. */
export function listUsageRecords(
  tx: Tx,
  q: PageQuery & HourFilter & { subscriptionId?: string; recordId?: string },
): Promise<Page<UsageRecordRow>> {
  const after = decode(q.after, 2);
  const limit = bounded(q.limit);
  return page<UsageRecordRow>(
    tx,
    `select r.record_id, r.tenant_id, r.subscription_id, r.marketplace, r.meter, r.segment_id, r.dimension, r.hour, r.base_quantity::text, r.quantity::text, r.listed_unit, r.plan_version_id, r.external_plan_id,
            r.starts_at, r.ends_at, r.quality, r.closed_at, i.state as submission_state, p.parts
       from usage_records r left join submission_items i on i.record_id = r.record_id left join usage_record_splits p on p.record_id = r.record_id
      where ($1::timestamptz is null or (r.hour, r.record_id) > ($1::timestamptz, $2::uuid)) and ($4::uuid is null or r.subscription_id = $4) and ($5::uuid is null or r.record_id = $5)
        and ($6::timestamptz is null or r.hour >= $6) and ($7::timestamptz is null or r.hour < $7) and ($8::text is null or r.marketplace = $8) order by r.hour, r.record_id limit $3`,
    [after?.[0] ?? null, after?.[1] ?? null, limit + 1, q.subscriptionId ?? null, q.recordId ?? null, ...hours(q)],
    limit,
    (r) => encode(r.hour.toISOString(), r.record_id),
  );
}

export interface AttemptRow {
  attemptId: string;
  number: number;
  at: string;
  outcome: string | null;
  code: string | null;
  receipt: string | null;
  outcomeAt: string | null;
}
export interface SubmissionRow extends Record<string, unknown> {
  item_id: string;
  record_id: string;
  tenant_id: string;
  subscription_id: string;
  marketplace: string;
  dimension: string;
  hour: Date;
  quantity: string;
  state: string;
  hold_reason: string | null;
  target_at: Date;
  hard_at: Date;
  last_code: string | null;
  receipt: string | null;
  accepted_quantity: string | null;
  settled_at: Date | null;
  attempts: AttemptRow[];
}
/** States that only few items are in have indexes of their own, by conditions that they imply. */
const FEW: Record<string, string> = {
  ...Object.fromEntries(['pending', 'held', 'in_flight', 'unknown', 'deferred'].map((state) => [state, 'and i.settled_at is null'])),
  ...Object.fromEntries(
    ['rejected', 'expired', 'shadow', 'invoiced'].map((state) => [state, 'and i.settled_at is not null and i.accepted_quantity is null']),
  ),
};

export function listSubmissions(
  tx: Tx,
  q: PageQuery & HourFilter & { subscriptionId?: string; itemId?: string; state?: string },
): Promise<Page<SubmissionRow>> {
  const after = decode(q.after, 2);
  const limit = bounded(q.limit);
  const few = FEW[q.state ?? ''] ?? '';
  // An item has the hour of its record; the order is that of the index which is gone through.
  const [hour, record] = few ? ['i.hour', 'i.record_id'] : ['r.hour', 'r.record_id'];
  return page<SubmissionRow>(
    tx,
    `select i.item_id, i.record_id, i.tenant_id, i.subscription_id, i.marketplace, r.dimension, i.hour, r.quantity::text, i.state, i.hold_reason, i.target_at, i.hard_at, i.last_code, i.receipt,
            i.accepted_quantity::text, i.settled_at,
            coalesce((select jsonb_agg(jsonb_build_object('attemptId', a.attempt_id, 'number', a.number, 'at', a.at, 'outcome', a.outcome, 'code', a.code, 'receipt', a.receipt, 'outcomeAt', a.outcome_at) order by a.number)
                        from submission_attempts a where a.item_id = i.item_id), '[]') as attempts
       from submission_items i join usage_records r on r.record_id = i.record_id
      where ($1::timestamptz is null or (${hour}, ${record}) > ($1::timestamptz, $2::uuid)) and ($4::uuid is null or r.subscription_id = $4) and ($5::uuid is null or i.item_id = $5)
        and ($6::text is null or i.state = $6) ${few}
        and ($7::timestamptz is null or ${hour} >= $7) and ($8::timestamptz is null or ${hour} < $8) and ($9::text is null or r.marketplace = $9)
      order by ${hour}, ${record} limit $3`,
    [after?.[0] ?? null, after?.[1] ?? null, limit + 1, q.subscriptionId ?? null, q.itemId ?? null, q.state ?? null, ...hours(q)],
    limit,
    (r) => encode(r.hour.toISOString(), r.record_id),
  );
}

export interface FindingRow extends Record<string, unknown> {
  finding_id: string;
  kind: string;
  tenant_id: string | null;
  subscription_id: string | null;
  dimension: string | null;
  hour: Date | null;
  units: string | null;
  amount: string | null;
  currency: string | null;
  deadline: Date | null;
  evidence: unknown;
  /** A write-off that waits for its second person. */
  proposal: unknown;
  settlement: unknown;
  /** Of the purchase, or as the evidence says it. */
  marketplace: string | null;
  raised_at: Date;
  settled_at: Date | null;
}
export function listFindings(
  tx: Tx,
  q: PageQuery & HourFilter & { subscriptionId?: string; kind?: string; open?: boolean; findingId?: string; hour?: Date },
): Promise<Page<FindingRow>> {
  const after = decode(q.after, 1);
  const limit = bounded(q.limit);
  return page<FindingRow>(
    tx,
    `select finding_id, kind, tenant_id, subscription_id, dimension, hour, units::text, amount::text, currency, deadline, evidence, proposal, settlement, raised_at, settled_at,
            coalesce(evidence ->> 'marketplace', (select max(s.marketplace) from series s where s.subscription_id = findings.subscription_id)) as marketplace from findings
      where ($1::uuid is null or finding_id > $1) and ($3::uuid is null or subscription_id = $3) and ($4::text is null or kind = $4) and ($5::boolean is null or (settlement is null) = $5) and ($6::uuid is null or finding_id = $6) and ($7::timestamptz is null or hour = $7)
        and ($8::timestamptz is null or hour >= $8) and ($9::timestamptz is null or hour < $9)
        and ($10::text is null or coalesce(evidence ->> 'marketplace', (select max(s.marketplace) from series s where s.subscription_id = findings.subscription_id)) = $10)
      order by finding_id limit $2`,
    [
      after?.[0] ?? null,
      limit + 1,
      q.subscriptionId ?? null,
      q.kind ?? null,
      q.open ?? null,
      q.findingId ?? null,
      q.hour ?? null,
      ...hours(q),
    ],
    limit,
    (r) => encode(r.finding_id),
  );
}

export interface ReconciliationRow extends Record<string, unknown> {
  reconciliation_id: string;
  marketplace: string;
  from_at: Date;
  to_at: Date;
  requested_by: string;
  state: string;
  summary: unknown;
  created_at: Date;
  completed_at: Date | null;
  lines?: ReconciliationLineRow[];
}
export interface ReconciliationLineRow extends Record<string, unknown> {
  line: number;
  period_start: Date;
  period_end: Date;
  external_subscription_id: string;
  subscription_id: string | null;
  external_plan_id: string;
  dimension: string;
  ours: string;
  theirs: string | null;
  our_count: number;
  their_count: number | null;
  verdict: string;
  /** Nothing was sent by us, or not all of it: compared with what another kit sent. */
  shadow: boolean;
}
export async function getReconciliation(tx: Tx, id: string): Promise<ReconciliationRow | null> {
  const [row] = await tx.query<ReconciliationRow>(
    'select reconciliation_id, marketplace, from_at, to_at, requested_by, state, summary, created_at, completed_at from reconciliations where reconciliation_id = $1',
    [id],
  );
  if (!row) return null;
  row.lines = await tx.query<ReconciliationLineRow>(
    `select line, period_start, period_end, external_subscription_id, subscription_id, external_plan_id, dimension, ours::text, theirs::text, our_count, their_count, verdict, shadow from reconciliation_lines where reconciliation_id = $1 order by line`,
    [id],
  );
  return row;
}

export interface SumLawRow {
  subscriptionId: string;
  meter: string;
  dimension: string | null;
  listedUnit: string | null;
  basePerUnit: string | null;
  terms: Record<keyof TermSums, string>;
  difference: string;
}
/**
 * Each term of the sum law per subscription and meter, in base units. Dimension and unit are those of the pinned plan version
 * (the last one that has the meter), so a meter that never made a record is named too.
 */
export async function sumLawTable(tx: Tx, filter: { subscriptionId?: string } = {}): Promise<SumLawRow[]> {
  const rows = await tx.query<{ subscription_id: string; meter: string; term: keyof TermSums; quantity: string }>(
    `select subscription_id, meter, term, sum(quantity)::text as quantity from ledger_entries
      where subscription_id in (select subscription_id from series where $1::uuid is null or subscription_id = $1)
      group by 1, 2, 3 order by 1, 2`,
    [filter.subscriptionId ?? null],
  );
  const terms = await pinnedMeters(tx, [...new Set(rows.map((r) => r.subscription_id))]);
  const out = new Map<string, SumLawRow & { sums: TermSums }>();
  for (const r of rows) {
    const key = `${r.subscription_id}/${r.meter}`;
    const pinned = terms.get(key);
    const row = out.get(key) ?? {
      subscriptionId: r.subscription_id,
      meter: r.meter,
      dimension: pinned?.dimension ?? null,
      listedUnit: pinned?.listedUnit ?? null,
      basePerUnit: pinned?.basePerUnit ?? null,
      sums: Object.fromEntries(LEDGER_TERMS.map((t) => [t, 0n])) as TermSums,
      terms: {} as SumLawRow['terms'],
      difference: '0',
    };
    row.sums[r.term] = BigInt(r.quantity);
    out.set(key, row);
  }
  return [...out.values()].map(({ sums, ...row }) => ({
    ...row,
    terms: Object.fromEntries(LEDGER_TERMS.map((t) => [t, sums[t].toString()])) as SumLawRow['terms'],
    difference: sumDifference(sums).toString(),
  }));
}

async function pinnedMeters(tx: Tx, subscriptionIds: string[]): Promise<Map<string, MeterTerms>> {
  const segments = await readSegments(tx, { subscriptionIds, from: new Date(0), to: new Date(8.64e15 / 4) });
  const plans = await readPlanVersions(
    tx,
    segments.map((s) => s.planVersionId),
  );
  const out = new Map<string, MeterTerms>();
  // Segments come in order: a later plan's reading of a meter replaces an earlier one's.
  for (const s of segments) for (const m of plans.get(s.planVersionId)?.meters ?? []) out.set(`${s.subscriptionId}/${m.meter}`, m);
  return out;
}
