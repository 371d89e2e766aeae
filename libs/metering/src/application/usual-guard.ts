import type { Tx } from '#platform';
import { readSubscriptions } from '#entitlements';
import { usualBound, usualFromJson, usualToJson, withHour, type UsualWeek } from '../domain/usual-week.js';
import { maxOf } from '../domain/units.js';
import type { ClosedHour } from '../infra/write-closings.js';

/** An hour may have so many times the largest hour of the week before it (money.md "Implausible"); a plan may say otherwise. */
export const DEFAULT_IMPLAUSIBLE_TIMES = 50;

/**
 * Holds what is far more than the series used in any hour of the week before: over-billing cannot be undone. The figure to compare
 * with stands in the series' own row, so nobody reads a week of records; test purchases are outside. What is held teaches nothing
 * until a person has released it (`learnHour`).
 */
export async function holdUnusual(tx: Tx, closed: readonly ClosedHour[], hour: bigint, times: number): Promise<void> {
  const learnt: { one: ClosedHour; week: UsualWeek }[] = [];
  const suspects: { one: ClosedHour; amount: bigint; bound: bigint }[] = [];
  for (const one of closed) {
    const { records, entries } = one.close;
    const used = entries.reduce((sum, e) => (e.term === 'measured' || e.term === 'estimated' ? sum + e.quantity : sum), 0n);
    const sent = records.reduce((sum, r) => (r.unsent ? sum : sum + r.baseQuantity), 0n);
    // Late samples and deferrals of many hours may come together in one record: they are looked at too, and teach nothing.
    const amount = maxOf(used, sent);
    if (amount === 0n || records.some((r) => r.hold === 'implausible')) continue;
    const known = usualFromJson(one.series.usual);
    const bound = sent > 0n ? usualBound(known, hour, BigInt(one.usualTimes ?? times), records[0]!.basePerUnit) : null;
    if (bound !== null && amount > bound) suspects.push({ one, amount, bound });
    else {
      const week = withHour(known, hour, used);
      if (week) learnt.push({ one, week });
    }
  }
  if (suspects.length > 0) {
    const purchases = await readSubscriptions(tx, [...new Set(suspects.map((s) => s.one.series.subscriptionId))]);
    for (const { one, amount, bound } of suspects) {
      if (purchases.get(one.series.subscriptionId)?.is_test) continue;
      for (const record of one.close.records) {
        if (record.unsent || record.baseQuantity === 0n) continue;
        record.hold = 'implausible';
        one.close.findings.push({
          kind: 'held_implausible',
          segmentId: record.segmentId,
          amount: record.baseQuantity,
          evidence: { amount: amount.toString(), bound: bound.toString(), comparedWith: 'the largest hour of the week before' },
        });
      }
    }
  }
  await write(
    tx,
    learnt.map(({ one, week }) => ({ ...one.series, week })),
  );
}

/** A person has let an hour go: so much is usual from now on. */
export async function learnHour(tx: Tx, itemId: string): Promise<void> {
  const [row] = await tx.query<{ subscription_id: string; meter: string; usual: unknown; used: string; hour_us: string }>(
    `select s.subscription_id, s.meter, s.usual, (coalesce((c.terms ->> 'measured')::numeric, 0) + coalesce((c.terms ->> 'estimated')::numeric, 0))::text as used,
            (extract(epoch from c.hour) * 1000000)::bigint::text as hour_us
       from submission_items i join usage_records r using (record_id)
       join hour_closings c on c.subscription_id = r.subscription_id and c.meter = r.meter and c.hour = r.hour
       join series s on s.subscription_id = r.subscription_id and s.meter = r.meter
      where i.item_id = $1 for update of s`,
    [itemId],
  );
  const week = row && withHour(usualFromJson(row.usual), BigInt(row.hour_us), BigInt(row.used));
  if (row && week) await write(tx, [{ subscriptionId: row.subscription_id, meter: row.meter, week }]);
}

async function write(tx: Tx, rows: readonly { subscriptionId: string; meter: string; week: UsualWeek }[]): Promise<void> {
  if (rows.length === 0) return;
  await tx.query(
    `update series s set usual = u.usual from unnest($1::uuid[], $2::text[], $3::jsonb[]) as u(sub, meter, usual) where s.subscription_id = u.sub and s.meter = u.meter`,
    [rows.map((r) => r.subscriptionId), rows.map((r) => r.meter), rows.map((r) => JSON.stringify(usualToJson(r.week)))],
  );
}
