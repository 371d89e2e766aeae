import type { Tx } from '#platform';
import { readSubscriptions } from '#entitlements';
import { usualBound, usualFromJson, usualToJson, withHour } from '../domain/usual-week.js';
import { maxOf } from '../domain/units.js';
import type { ClosedHour } from '../infra/write-records.js';

/** An hour may have so many times the largest hour of the week before it (money.md "Implausible"); a plan may say otherwise. */
export const DEFAULT_IMPLAUSIBLE_TIMES = 50;

/**
 * Holds what is far more than the series used in any hour of the week before: over-billing cannot be undone. The figure to compare
 * with stands in the series' own row, so nobody reads a week of records; test purchases are outside. What is held teaches nothing
 * until a person has released it (`learnHour`). What is learnt is written with the closing.
 */
export async function holdUnusual(tx: Tx, closed: readonly ClosedHour[], hour: bigint, times: number): Promise<void> {
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
      if (week) one.usual = JSON.stringify(usualToJson(week));
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
  if (row && week)
    await tx.query('update series set usual = $3 where subscription_id = $1 and meter = $2', [
      row.subscription_id,
      row.meter,
      JSON.stringify(usualToJson(week)),
    ]);
}
