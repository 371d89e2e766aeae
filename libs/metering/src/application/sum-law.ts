import type { Tx } from '#platform';
import { LEDGER_TERMS, sumDifference, type TermSums } from '../domain/sum-terms.js';
import { namesItem } from '../infra/items.sql.js';

export interface SumLawFilter {
  subscriptionIds?: string[];
  from?: Date;
  to?: Date;
  /** Rows that nothing of their purchase leads to cost a look at all rows of the span: false leaves them to `findStrays`. */
  strays?: boolean;
}
export interface SumLawSeries {
  subscriptionId: string;
  meter: string;
  tenantId: string;
  terms: TermSums;
  /** measured + estimated + adjustments − everything they became; 0n where the law holds. */
  difference: bigint;
  /** Rows that contradict their sources: each is a sentence. Empty where all rows are there. */
  missing: string[];
}
export interface SumLawResult {
  ok: boolean;
  series: SumLawSeries[];
}

/**
 * The sum law, from rows alone (law 5): the ledger's terms balance, and each kind of row agrees with the rows it came from or
 * led to, so that no single row of any kind can go missing unseen. Whole hours: `from` and `to` are taken as hour bounds.
 */
export async function checkSumLaw(tx: Tx, filter: SumLawFilter = {}): Promise<SumLawResult> {
  return checkRows(tx, filter, filter.strays === false ? CHECKS.filter((c) => !c.strays) : CHECKS);
}

/** The series of rows that nothing of their purchase leads to, of all purchases: once for a whole span. */
export async function findStrays(tx: Tx, span: Pick<SumLawFilter, 'from' | 'to'>): Promise<SumLawSeries[]> {
  const found = new Found();
  await look(
    tx,
    found,
    span,
    CHECKS.filter((c) => c.strays),
  );
  return found.inOrder();
}

/** The sum law of a replayed database, which has no attempts, and findings only of its closings. */
export function checkReplayedSumLaw(tx: Tx): Promise<SumLawResult> {
  return checkRows(
    tx,
    {},
    CHECKS.filter((c) => !c.outside),
  );
}

/** Series by their keys, as rows of them turn up. */
class Found {
  private readonly series = new Map<string, SumLawSeries>();

  at(r: { subscription_id: string; meter: string; tenant_id?: string }): SumLawSeries {
    const key = `${r.subscription_id}/${r.meter}`;
    let s = this.series.get(key);
    if (!s)
      this.series.set(
        key,
        (s = {
          subscriptionId: r.subscription_id,
          meter: r.meter,
          tenantId: r.tenant_id ?? '',
          terms: Object.fromEntries(LEDGER_TERMS.map((t) => [t, 0n])) as TermSums,
          difference: 0n,
          missing: [],
        }),
      );
    return s;
  }

  inOrder(): SumLawSeries[] {
    return [...this.series.values()].sort((a, b) => (`${a.subscriptionId}/${a.meter}` < `${b.subscriptionId}/${b.meter}` ? -1 : 1));
  }
}

const spanOf = (f: SumLawFilter): unknown[] => [f.subscriptionIds ?? null, f.from ?? null, f.to ?? null];
const where: Where = (hour, sub = 'subscription_id') =>
  `($1::uuid[] is null or ${sub} = any($1::uuid[])) and ($2::timestamptz is null or ${hour} >= $2) and ($3::timestamptz is null or ${hour} < $3)`;

async function look(tx: Tx, found: Found, filter: SumLawFilter, checks: readonly Check[]): Promise<void> {
  for (const check of checks) {
    const rows = await tx.query<{ subscription_id: string; meter: string; tenant_id?: string; detail: string }>(
      check.sql(where),
      spanOf(filter),
    );
    for (const r of rows) found.at(r).missing.push(`${check.says}: ${r.detail}`);
  }
}

async function checkRows(tx: Tx, filter: SumLawFilter, checks: readonly Check[]): Promise<SumLawResult> {
  const found = new Found();
  const known = await tx.query<{ subscription_id: string; meter: string; tenant_id: string }>(
    'select subscription_id, meter, tenant_id from series where ($1::uuid[] is null or subscription_id = any($1::uuid[]))',
    [filter.subscriptionIds ?? null],
  );
  for (const r of known) found.at(r);
  const terms = await tx.query<{ subscription_id: string; meter: string; tenant_id: string; term: keyof TermSums; quantity: string }>(
    `select subscription_id, meter, tenant_id, term, sum(quantity)::text as quantity from ledger_entries where ${where('hour')} group by 1, 2, 3, 4`,
    spanOf(filter),
  );
  const seriesKeys = new Set(known.map((k) => `${k.subscription_id}/${k.meter}`));
  for (const r of terms) {
    const s = found.at(r);
    s.terms[r.term] = BigInt(r.quantity);
    if (!seriesKeys.has(`${r.subscription_id}/${r.meter}`) && s.missing.length === 0)
      s.missing.push('the ledger names a series that does not exist');
  }
  for (const s of found.inOrder()) s.difference = sumDifference(s.terms);
  await look(tx, found, filter, checks);
  const series = found.inOrder();
  return { ok: series.every((s) => s.difference === 0n && s.missing.length === 0), series };
}

type Where = (hour: string, sub?: string) => string;
interface Check {
  says: string;
  outside?: true;
  strays?: true;
  sql: (where: Where) => string;
}

/**
 * Each answers the rows that are contradicted: series, and what does not agree. `outside`: with rows that no closing makes. `strays`:
 * what it looks for is found by its hours alone, not by its purchase.
 */
const CHECKS: readonly Check[] = [
  {
    says: 'an hour does not balance',
    sql: (
      w,
    ) => `select subscription_id, meter, hour::text as detail from ledger_entries where ${w('hour')} group by subscription_id, meter, hour
      having sum(case when term in ('measured', 'estimated', 'adjustment', 'over_reported') then quantity else -quantity end) <> 0`,
  },
  {
    says: 'closings are missing',
    sql: (
      w,
    ) => `select s.subscription_id, s.meter, h::text as detail from series s cross join lateral generate_series(greatest(s.first_hour, date_trunc('hour', $2::timestamptz, 'UTC')), least(s.next_hour - interval '1 hour', $3::timestamptz), interval '1 hour') h
      where ${w('h', 's.subscription_id')} and not exists (select 1 from hour_closings c where c.subscription_id = s.subscription_id and c.meter = s.meter and c.hour = h and ${w('c.hour', 'c.subscription_id')})`,
  },
  {
    says: 'a closing names a series that does not exist',
    sql: (w) => `select c.subscription_id, c.meter, c.hour::text as detail from hour_closings c
      where ${w('c.hour', 'c.subscription_id')} and not exists (select 1 from series s where s.subscription_id = c.subscription_id and s.meter = c.meter)`,
  },
  {
    says: 'a closing and its ledger entries differ',
    sql: (w) => `select c.subscription_id, c.meter, c.hour::text || ' ' || t.key as detail
      from hour_closings c cross join lateral jsonb_each_text(c.terms) t
      left join lateral (select coalesce(sum(e.quantity), 0) as q from ledger_entries e where e.subscription_id = c.subscription_id and e.meter = c.meter and e.hour = c.hour and e.term = t.key
           and case t.key when 'pending' then e.cause = 'record' when 'loss' then e.cause in ('residue', 'missed_window', 'month_cut') and ${notLater('e')} when 'accepted' then false
                          when 'over_reported' then e.cause = 'correction' and ${notLater('e')} when 'non_billable' then ${notLater('e')} when 'deferred' then e.cause <> 'duplicate_conflict' and ${notLater('e')}
                          when 'remainder' then e.cause in ('carried', 'switched') when 'adjustment' then false else true end) l on true
      where ${w('c.hour', 'c.subscription_id')} and t.value::numeric <> l.q`,
  },
  {
    says: 'records are missing',
    sql: (w) => `select c.subscription_id, c.meter, c.hour::text as detail from hour_closings c ${recordsOf(w)}
      where ${w('c.hour', 'c.subscription_id')} and c.records <> coalesce(r.n, 0)`,
  },
  {
    says: 'records and pending entries differ',
    sql: (w) => `select c.subscription_id, c.meter, c.hour::text as detail from hour_closings c ${recordsOf(w)}
      where ${w('c.hour', 'c.subscription_id')} and (c.terms ->> 'pending')::numeric <> coalesce(r.base_quantity, 0)`,
  },
  {
    says: 'a record has no submission item',
    sql: (w) =>
      `select r.subscription_id, r.meter, r.record_id::text as detail from usage_records r where ${w('r.hour', 'r.subscription_id')} and not exists (select 1 from submission_items i where i.record_id = r.record_id)`,
  },
  {
    says: 'the parts of a record do not add up to it',
    sql: (w) =>
      `select r.subscription_id, r.meter, r.record_id::text as detail from usage_record_splits p join usage_records r using (record_id)
      where ${w('r.hour', 'r.subscription_id')} and r.quantity <> (select sum((x ->> 'quantity')::numeric) from jsonb_array_elements(p.parts) x)`,
  },
  {
    says: 'a submission item has no record',
    strays: true,
    sql: (w) =>
      `select i.subscription_id, '' as meter, i.item_id::text as detail from submission_items i where ${w('i.hour', 'i.subscription_id')} and not exists (select 1 from usage_records r where r.record_id = i.record_id and ${w('r.hour', 'r.subscription_id')})`,
  },
  {
    says: 'attempts are missing',
    outside: true,
    sql: (w) => `select i.subscription_id, r.meter, i.item_id::text as detail from submission_items i join usage_records r using (record_id)
      where ${w('r.hour', 'r.subscription_id')} and i.attempts <> (select count(*) from submission_attempts a where a.item_id = i.item_id)`,
  },
  {
    says: 'an outcome has no attempt and no comparison that tells it',
    outside: true,
    sql: (w) => `select i.subscription_id, r.meter, i.item_id::text as detail from submission_items i join usage_records r using (record_id)
      where ${w('r.hour', 'r.subscription_id')} and ((i.state in ('accepted', 'conflict') and not exists (select 1 from submission_attempts a where a.item_id = i.item_id
              and a.outcome in ('accepted', 'duplicate_equal', 'duplicate_conflict') and a.receipt is not distinct from i.receipt) and ${notTold('accepted')})
         or (i.state = 'expired' and i.last_code = 'not_taken' and ${notTold('not_taken')})
         or (i.state = 'rejected' and not exists (select 1 from submission_attempts a where a.item_id = i.item_id and a.outcome = 'rejected')))`,
  },
  {
    says: 'an item and its ledger entries differ',
    sql: (w) => `select i.subscription_id, r.meter, i.item_id::text as detail from submission_items i join usage_records r using (record_id)
      left join lateral (select coalesce(sum(e.quantity) filter (where e.term = 'pending'), 0) as pending, coalesce(sum(e.quantity) filter (where e.term = 'accepted'), 0) as accepted,
                                coalesce(sum(e.quantity) filter (where e.term = 'non_billable' and e.cause = case i.state when 'shadow' then 'shadow' when 'invoiced' then 'invoiced_outside' end), 0) as unsent
                           from ledger_entries e where e.subscription_id = i.subscription_id and e.meter = r.meter and e.hour = i.hour and e.ref = i.item_id::text) l on true
      where ${w('r.hour', 'r.subscription_id')} and (l.pending <> case when i.settled_at is null or (i.state = 'conflict' and i.accepted_quantity is null) then 0 else -r.base_quantity end
         or (l.accepted <> 0) <> (i.accepted_quantity is not null and i.accepted_quantity > 0) or (i.state = 'accepted' and l.accepted <> r.base_quantity)
         or l.unsent <> case when i.state in ('shadow', 'invoiced') then r.base_quantity else 0 end)`,
  },
  {
    says: 'carry-ins and deferred entries differ',
    sql: (
      w,
    ) => `select coalesce(c.subscription_id, e.subscription_id) as subscription_id, coalesce(c.meter, e.meter) as meter, coalesce(c.hour, e.hour)::text as detail
      from (select subscription_id, meter, hour, sum(q) as q, count(*) as n from (
              select subscription_id, meter, from_hour as hour, amount as q from carry_ins
              union all select subscription_id, meter, consumed_by_hour, -amount from carry_ins where consumed_by_hour is not null) x where ${w('hour')} group by 1, 2, 3) c
      full join (select subscription_id, meter, hour, sum(quantity) as q, count(*) as n from ledger_entries where term = 'deferred' and ${w('hour')} group by 1, 2, 3) e
        on c.subscription_id = e.subscription_id and c.meter = e.meter and c.hour = e.hour
      where c.q is distinct from e.q or c.n is distinct from e.n`,
  },
  {
    says: 'the root of an hour does not cover its closings',
    sql: (w) => `select c.subscription_id, c.meter, c.hour::text as detail from hour_closings c
      where ${w('c.hour', 'c.subscription_id')} and not exists (select 1 from hour_roots h where h.shard = c.shard and h.sequence = c.root_sequence and h.hour = c.hour)`,
  },
  {
    says: 'a loss has no finding',
    outside: true,
    sql: (w) => `select e.subscription_id, e.meter, e.hour::text || ' ' || e.cause as detail from ledger_entries e
      where ${w('e.hour', 'e.subscription_id')} and e.term = 'loss' and not exists (select 1 from findings f where f.subscription_id = e.subscription_id and f.kind = 'loss.' || e.cause and f.hour = e.hour)`,
  },
];

/** No comparison told that item `i` ended so (`late_outcomes`). */
function notTold(outcome: 'accepted' | 'not_taken'): string {
  return `not exists (select 1 from late_outcomes o where o.item_id = i.item_id and o.outcome = '${outcome}')`;
}

/** The records of each closing `c`, added up. Once for all: looked up one by one, each would go through its purchase's records of all time. */
const recordsOf = (w: Where): string =>
  `left join (select subscription_id, meter, hour, count(*) as n, sum(base_quantity) as base_quantity from usage_records where ${w('hour')} group by 1, 2, 3) r
     on r.subscription_id = c.subscription_id and r.meter = c.meter and r.hour = c.hour`;

/** Entries that later corrections and submissions added to a closed hour carry a reference of their own. */
function notLater(e: string): string {
  return `${e}.ref !~ '^late-' and not ${namesItem(`${e}.ref`)}`;
}
