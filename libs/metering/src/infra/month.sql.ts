import type { Tx } from '#platform';

export interface MonthSpan {
  from: Date;
  to: Date;
  marketplace: string | null;
}
export interface OpenThings {
  hours: number;
  items: { state: string; n: number }[];
  late: number;
  carryIns: number;
}

/** What may still change the figures of the month. */
export async function openThings(tx: Tx, m: MonthSpan): Promise<OpenThings> {
  const span = [m.from, m.to, m.marketplace];
  const [row] = await tx.query<{ hours: number; late: number; carry: number }>(
    `select (select count(*)::int from series s where s.completed_at is null and s.first_hour < $2 and s.next_hour < $2 and ($3::text is null or s.marketplace = $3)) as hours,
            (select count(*)::int from late_arrivals a where a.hour >= $1 and a.hour < $2
               and ($3::text is null or exists (select 1 from series s where s.subscription_id = a.subscription_id and s.marketplace = $3))) as late,
            (select count(*)::int from carry_ins c join series s using (subscription_id, meter) where c.consumed_by_hour is null and c.from_hour >= $1 and c.from_hour < $2
               and ($3::text is null or s.marketplace = $3)) as carry`,
    span,
  );
  const items = await tx.query<{ state: string; n: number }>(
    `select state, count(*)::int as n from submission_items where settled_at is null and hour >= $1 and hour < $2 and ($3::text is null or marketplace = $3) group by state order by state`,
    span,
  );
  return { hours: row!.hours, late: row!.late, carryIns: row!.carry, items };
}

/** Marketplaces with usage in the month or before it, in the order in which a month tells of them. */
export async function monthMarketplaces(tx: Tx, m: MonthSpan): Promise<string[]> {
  const rows = await tx.query<{ marketplace: string }>(
    `select marketplace from (select distinct marketplace from series where $1::text is null or marketplace = $1) x order by marketplace collate "C"`,
    [m.marketplace],
  );
  return rows.map((r) => r.marketplace);
}

/** Before every id. With a condition that may be null the index would be read from its beginning for every page. */
const NIL = '00000000-0000-0000-0000-000000000000';

/** The next purchases of a marketplace that have series, by id, after one of them. Not all of them have usage in the month. */
export async function nextPurchases(tx: Tx, q: { marketplace: string; after: string | null; limit: number }): Promise<string[]> {
  const rows = await tx.query<{ subscription_id: string }>(
    `select distinct subscription_id from series where marketplace = $1 and subscription_id > $2 order by subscription_id limit $3`,
    [q.marketplace, q.after ?? NIL, q.limit],
  );
  return rows.map((r) => r.subscription_id);
}

export interface MonthTerm {
  subscription_id: string;
  meter: string;
  marketplace: string;
  segment_id: string | null;
  term: string;
  quantity: string;
}
/** The sums of each term, of these purchases. */
export const monthTerms = (tx: Tx, m: MonthSpan, subscriptionIds: string[]): Promise<MonthTerm[]> =>
  tx.query<MonthTerm>(
    `select e.subscription_id, e.meter, s.marketplace, e.segment_id, e.term, sum(e.quantity)::text as quantity from series s join ledger_entries e using (subscription_id, meter)
      where s.subscription_id = any($3::uuid[]) and e.hour >= $1 and e.hour < $2 group by 1, 2, 3, 4, 5 order by 1, 2, 4, 5`,
    [m.from, m.to, subscriptionIds],
  );

export const monthSamples = (
  tx: Tx,
  m: MonthSpan,
  subscriptionIds: string[],
): Promise<{ subscription_id: string; meter: string; samples: string }[]> =>
  tx.query(
    `select c.subscription_id, c.meter, sum(c.inputs)::text as samples from series s join hour_closings c using (subscription_id, meter)
      where s.subscription_id = any($3::uuid[]) and c.hour >= $1 and c.hour < $2 group by 1, 2`,
    [m.from, m.to, subscriptionIds],
  );

export interface MonthRecords {
  subscription_id: string;
  meter: string;
  dimension: string;
  external_plan_id: string;
  listed_unit: string;
  bucket: number;
  first_hour: Date;
  records: number;
  recorded: string;
  accepted: string;
  receipts: number;
  shadow: string;
  invoiced: string;
}
/** Records and receipts; `bucket` counts the price changes before an hour, so that all of one bucket have one price. */
export const monthRecords = (tx: Tx, m: MonthSpan, subscriptionIds: string[], priceChanges: Date[]): Promise<MonthRecords[]> =>
  tx.query<MonthRecords>(
    `select r.subscription_id, r.meter, r.dimension, r.external_plan_id, r.listed_unit, (select count(*)::int from unnest($4::timestamptz[]) t where t <= r.hour) as bucket, min(r.hour) as first_hour,
            count(*)::int as records, trim_scale(sum(r.quantity))::text as recorded, trim_scale(coalesce(sum(i.accepted_quantity), 0))::text as accepted,
            count(*) filter (where i.accepted_quantity is not null)::int as receipts,
            trim_scale(coalesce(sum(r.quantity) filter (where i.state = 'shadow'), 0))::text as shadow, trim_scale(coalesce(sum(r.quantity) filter (where i.state = 'invoiced'), 0))::text as invoiced
       from usage_records r join submission_items i using (record_id)
      where r.subscription_id = any($3::uuid[]) and r.hour >= $1 and r.hour < $2 group by 1, 2, 3, 4, 5, 6 order by 1, 2, 4, 6`,
    [m.from, m.to, subscriptionIds, priceChanges],
  );

/** The newest versions of payouts that count. */
const CURRENT = `remittance_allocations a join remittances r using (remittance_id)
  where r.voided_at is null and a.version = (select max(version) from remittance_allocations n where n.remittance_id = a.remittance_id)`;

export const monthInvoiced = (
  tx: Tx,
  month: string,
  marketplace: string | null,
): Promise<{ marketplace: string; grain: string; external_id: string; currency: string; amount: string; invoices: string[] }[]> =>
  tx.query(
    `select r.marketplace, a.grain, a.external_id, r.currency, trim_scale(sum(a.amount))::text as amount, coalesce(array_agg(distinct a.invoice) filter (where a.invoice is not null), '{}') as invoices
       from ${CURRENT} and a.kind = 'purchase' and a.month = $1 and ($2::text is null or r.marketplace = $2) group by 1, 2, 3, 4 order by 1, 3, 4`,
    [month, marketplace],
  );

export interface MonthPayout {
  remittance_id: string;
  marketplace: string;
  reference: string;
  currency: string;
  gross: string;
  of_month: string;
  unallocated: string;
  fee: string;
  tax: string;
  net: string;
  unexplained: string;
  payout: string;
  payout_currency: string;
}
/** Payouts that name the month, in a line of their file or in an allocation; their figures are whole, whatever other months they name. */
export const monthPayouts = (tx: Tx, month: string, marketplace: string | null): Promise<MonthPayout[]> =>
  tx.query<MonthPayout>(
    `select r.remittance_id, r.marketplace, r.reference, r.currency, r.gross::text, r.fee::text, r.tax::text, r.net::text, trim_scale(r.gross - r.fee - r.tax - r.net)::text as unexplained,
            r.payout::text, r.payout_currency, trim_scale(coalesce(c.of_month, 0))::text as of_month, trim_scale(coalesce(c.rest, 0))::text as unallocated
       from remittances r left join lateral (
         select sum(a.amount) filter (where a.month = $1) as of_month, sum(a.amount) filter (where a.kind = 'unallocated') as rest from remittance_allocations a
          where a.remittance_id = r.remittance_id and a.version = (select max(version) from remittance_allocations n where n.remittance_id = r.remittance_id)) c on true
      where r.voided_at is null and ($2::text is null or r.marketplace = $2)
        and (c.of_month is not null or exists (select 1 from remittance_lines l where l.remittance_id = r.remittance_id and l.month = $1)) order by r.marketplace, r.reference`,
    [month, marketplace],
  );

/** What marketplaces gave back for hours of the month, as they stated it. */
export const monthCredits = (tx: Tx, m: MonthSpan): Promise<{ subscription_id: string; currency: string; amount: string }[]> =>
  tx.query(
    `select subscription_id, outcome ->> 'currency' as currency, trim_scale(sum((outcome ->> 'amount')::numeric))::text as amount from credits
      where state = 'completed' and hour >= $1 and hour < $2 and ($3::text is null or marketplace = $3) group by 1, 2 order by 1, 2`,
    [m.from, m.to, m.marketplace],
  );

export const monthFindings = (tx: Tx, m: MonthSpan): Promise<{ kind: string; open: number; settled: number }[]> =>
  tx.query(
    `select f.kind, count(*) filter (where f.settlement is null)::int as open, count(*) filter (where f.settlement is not null)::int as settled from findings f
      where f.hour >= $1 and f.hour < $2
        and ($3::text is null or coalesce(f.evidence ->> 'marketplace', (select max(s.marketplace) from series s where s.subscription_id = f.subscription_id)) = $3) group by 1 order by 1`,
    [m.from, m.to, m.marketplace],
  );
