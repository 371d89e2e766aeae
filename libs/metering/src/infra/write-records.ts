import { arrayText, errorText, uuidv5, type Tx } from '#platform';
import type { CostPart, Deadlines, MarketplaceRefs, UsageWireItem } from '#marketplaces/core';
import type { MeteredSubscription } from '#entitlements';
import type { ClosingAdapter } from '../application/deps.js';
import type { Inputs } from '../domain/leaf.js';
import type { HourClose, RecordDraft } from '../domain/types.js';
import { fromUs, instantText, US_PER_HOUR } from '../domain/units.js';
import { writeSplits } from './cost-split.sql.js';
import type { SeriesRow } from './series.sql.js';
import type { EntryRow } from './write-ledger.js';

export interface ClosedHour {
  series: SeriesRow;
  inputs: Inputs;
  close: HourClose;
  adapter: ClosingAdapter;
  subscription: MeteredSubscription | null;
  lastSegmentId: string | null;
  completed: boolean;
  /** How many times its usual use its plan lets through; null: as everywhere. */
  usualTimes: number | null;
  /** What it usually uses from now on, as JSON; absent: this hour taught nothing. */
  usual?: string;
}

export const recordIdOf = (subscriptionId: string, r: Pick<RecordDraft, 'segmentId' | 'dimension'>, hour: bigint): string =>
  uuidv5('usage-record', subscriptionId, r.segmentId, r.dimension, instantText(hour));
export const itemIdOf = (recordId: string): string => uuidv5('submission-item', recordId);

/** A record that is never sent leaves `pending` with its own closing, under the name of why (law 5: by rows of its own). */
export function leaveOut(series: SeriesRow, r: RecordDraft, hour: bigint): EntryRow[] {
  if (!r.unsent || r.baseQuantity === 0n) return [];
  const row = { series, hour, segmentId: r.segmentId, cause: r.unsent, ref: itemIdOf(recordIdOf(series.subscriptionId, r, hour)) };
  return [
    { ...row, term: 'pending', quantity: -r.baseQuantity },
    { ...row, term: 'non_billable', quantity: r.baseQuantity },
  ];
}

const STATE_OF: Record<NonNullable<RecordDraft['unsent']>, string> = { shadow: 'shadow', invoiced_outside: 'invoiced' };

/** The records of an hour and the wire item of each. Unique keys on both are the last fence against a second one. */
export async function writeRecords(tx: Tx, hour: bigint, closed: ClosedHour[], now: Date): Promise<void> {
  const rows = closed.flatMap((c) =>
    c.close.records.map((r) => {
      const recordId = recordIdOf(c.series.subscriptionId, r, hour);
      return { c, r, recordId, itemId: itemIdOf(recordId) };
    }),
  );
  if (rows.length === 0) return;
  const column = (value: (row: (typeof rows)[number]) => string | number | bigint | boolean | null): string => arrayText(rows.map(value));
  await tx.query(
    `insert into usage_records (record_id, tenant_id, subscription_id, marketplace, meter, segment_id, dimension, hour, base_quantity, quantity, decimals, listed_unit, base_per_unit,
                                plan_version_id, external_plan_id, starts_at, ends_at, quality, closed_at)
     select id, tenant, sub, marketplace, meter, segment, dimension, $17, base_quantity, quantity, decimals, listed_unit, base_per_unit, plan_version, external_plan, starts_at, ends_at, quality, $18
       from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::uuid[], $7::text[], $8::numeric[], $9::numeric[], $10::smallint[], $11::text[], $12::numeric[],
                   $13::uuid[], $14::text[], $15::timestamptz[], $16::timestamptz[], $19::text[])
         as u(id, tenant, sub, marketplace, meter, segment, dimension, base_quantity, quantity, decimals, listed_unit, base_per_unit, plan_version, external_plan, starts_at, ends_at, quality)`,
    [
      column((x) => x.recordId),
      column((x) => x.c.series.tenantId),
      column((x) => x.c.series.subscriptionId),
      column((x) => x.c.series.marketplace),
      column((x) => x.c.series.meter),
      column((x) => x.r.segmentId),
      column((x) => x.r.dimension),
      column((x) => x.r.baseQuantity),
      column((x) => x.r.quantity),
      column((x) => x.r.decimals),
      column((x) => x.r.listedUnit),
      column((x) => x.r.basePerUnit),
      column((x) => x.r.planVersionId),
      column((x) => x.r.externalPlanId),
      column((x) => instantText(x.r.startsAt)),
      column((x) => instantText(x.r.endsAt)),
      fromUs(hour),
      now,
      column((x) => x.r.quality),
    ],
  );
  await writeSplits(
    tx,
    rows.map(({ c, r, recordId }) => ({ recordId, tenantId: c.series.tenantId, record: r })),
  );
  const built = rows.map(({ c, r, itemId }) => {
    if (c.subscription === null) return null;
    return tryBuild(c.adapter, c.subscription, {
      itemId,
      externalPlanId: r.externalPlanId,
      dimension: r.dimension,
      hour: fromUs(hour),
      startsAt: fromUs(r.startsAt),
      endsAt: fromUs(r.endsAt),
      quantity: r.quantity,
      ...(r.costSplit ? { parts: r.costSplit } : {}),
    });
  });
  const deadlines = deadlinesOf(hour);
  await tx.query(
    `insert into submission_items (item_id, record_id, tenant_id, subscription_id, marketplace, hour, batch_key, gate, wire, state, hold_reason, target_at, hard_at, next_attempt_at, created_at, settled_at)
     select id, record, tenant, sub, marketplace, $12, batch_key, gate, nullif(wire, 'null'), state, hold_reason, target_at, hard_at, $13, $13, case when state in ('shadow', 'invoiced') then $13::timestamptz end
       from rows from (unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::timestamptz[]), jsonb_array_elements($14::jsonb))
         as u(id, record, tenant, sub, marketplace, batch_key, gate, state, hold_reason, target_at, hard_at, wire)`,
    [
      column((x) => x.itemId),
      column((x) => x.recordId),
      column((x) => x.c.series.tenantId),
      column((x) => x.c.series.subscriptionId),
      column((x) => x.c.series.marketplace),
      arrayText(built.map((b) => b?.batchKey ?? null)),
      arrayText(built.map((b) => b?.gate ?? '')),
      column(({ r }) => (r.unsent ? STATE_OF[r.unsent] : r.hold ? 'held' : 'pending')),
      column(({ r }) => (r.unsent ? null : r.hold)),
      column(({ c }) => deadlines(c).target),
      column(({ c }) => deadlines(c).hard),
      fromUs(hour),
      now,
      JSON.stringify(built.map((b) => b?.wire ?? null)),
    ],
  );
}

/** Until when the records of an hour should, and can, be sent. */
export const itemDeadlines = (
  adapter: ClosingAdapter,
  series: Pick<SeriesRow, 'endedAt'>,
  subscription: ClosedHour['subscription'],
  hour: bigint,
): Deadlines =>
  adapter.deadlines({
    hourStart: fromUs(hour),
    hourEnd: fromUs(hour + US_PER_HOUR),
    endedAt: series.endedAt === null || subscription?.goesOn ? null : fromUs(series.endedAt),
  });

/** Most purchases of a marketplace have the same deadlines in an hour: those that go on. */
function deadlinesOf(hour: bigint): (c: ClosedHour) => { target: string; hard: string } {
  const known = new Map<string, { target: string; hard: string }>();
  return ({ adapter, series, subscription }) => {
    const endedAt = series.endedAt === null || subscription?.goesOn ? null : series.endedAt;
    const key = `${adapter.marketplace} ${endedAt}`;
    let texts = known.get(key);
    if (!texts) {
      const d = itemDeadlines(adapter, series, subscription, hour);
      known.set(key, (texts = { target: d.target.toISOString(), hard: d.hard.toISOString() }));
    }
    return texts;
  };
}

/**
 * The wire item of a record, or null while the marketplace has not given us what it needs (a missing reporting id is not
 * terminal, money.md "Outcomes"): it is then built before the first attempt.
 */
export function tryBuild(
  adapter: ClosingAdapter,
  subscription: { externalSubscriptionId: string; marketplaceRefs: MarketplaceRefs },
  r: {
    itemId: string;
    externalPlanId: string;
    dimension: string;
    hour: Date;
    startsAt: Date;
    endsAt: Date;
    quantity: string;
    parts?: CostPart[];
  },
  onFault: (why: string) => void = () => undefined,
): { wire: UsageWireItem; batchKey: string; gate: string } | null {
  try {
    const wire = adapter.buildUsageItem({
      itemId: r.itemId,
      externalSubscriptionId: subscription.externalSubscriptionId,
      externalPlanId: r.externalPlanId,
      dimension: r.dimension,
      hourStart: r.hour,
      startsAt: r.startsAt,
      endsAt: r.endsAt,
      quantity: r.quantity,
      ...(r.parts ? { parts: r.parts } : {}),
      refs: subscription.marketplaceRefs,
    });
    return { wire, batchKey: adapter.batchKey(wire), gate: adapter.gateOf?.(wire) ?? '' };
  } catch (error) {
    onFault(errorText(error));
    return null;
  }
}
