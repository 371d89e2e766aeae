import { arrayText, errorText, timedIds, type Tx } from '#platform';
import type { CostPart, Deadlines, MarketplaceRefs, UsageWireItem } from '#marketplaces/core';
import type { MeteredSubscription } from '#entitlements';
import type { ClosingAdapter } from '../application/deps.js';
import type { Inputs } from '../domain/leaf.js';
import type { HourClose, RecordDraft } from '../domain/types.js';
import { fromUs, instantText, US_PER_HOUR } from '../domain/units.js';
import { writeSplits } from './cost-split.sql.js';
import type { SeriesRow } from './series.sql.js';
import { Shared } from './shared.js';
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

/**
 * A record and its wire item, named by what they are of, so that a second closing would meet the first one's. They begin with the hour:
 * random ones would touch a page of each key for every row (ADR 0026).
 */
export function idsOf(
  subscriptionId: string,
  r: Pick<RecordDraft, 'segmentId' | 'dimension'>,
  hour: bigint,
): { recordId: string; itemId: string } {
  const [recordId, itemId] = timedIds(Number(hour / 1_000n), 'usage-record', subscriptionId, r.segmentId, r.dimension);
  return { recordId, itemId };
}

/** A record that is never sent leaves `pending` with its own closing, under the name of why (law 5: by rows of its own). */
export function leaveOut(series: SeriesRow, r: RecordDraft, hour: bigint): EntryRow[] {
  if (!r.unsent || r.baseQuantity === 0n) return [];
  const row = { series, hour, segmentId: r.segmentId, cause: r.unsent, ref: idsOf(series.subscriptionId, r, hour).itemId };
  return [
    { ...row, term: 'pending', quantity: -r.baseQuantity },
    { ...row, term: 'non_billable', quantity: r.baseQuantity },
  ];
}

const STATE_OF: Record<NonNullable<RecordDraft['unsent']>, string> = { shadow: 'shadow', invoiced_outside: 'invoiced' };

/** The records of an hour and the wire item of each. Unique keys on both are the last fence against a second one. */
export async function writeRecords(tx: Tx, hour: bigint, closed: ClosedHour[], now: Date): Promise<void> {
  const deadlines = deadlinesOf(hour);
  const rows = closed.flatMap((c) => c.close.records.map((r) => rowOf(c, r, hour, deadlines(c))));
  if (rows.length === 0) return;
  const purchases = new Shared<Row>([{ of: (x) => x.c.series.tenantId }, { of: (x) => x.c.series.subscriptionId }]);
  const kinds = new Shared<Row>([
    { of: (x) => x.c.series.marketplace },
    { of: (x) => x.c.series.meter },
    { of: (x) => x.r.dimension },
    { of: (x) => x.r.decimals },
    { of: (x) => x.r.listedUnit },
    { of: (x) => x.r.basePerUnit },
    { of: (x) => x.r.planVersionId },
    { of: (x) => x.r.externalPlanId },
    { of: (x) => x.r.startsAt, text: instantText },
    { of: (x) => x.r.endsAt, text: instantText },
    { of: (x) => x.r.quality },
    { of: (x) => x.built?.batchKey ?? null },
    { of: (x) => x.built?.gate ?? '' },
    { of: (x) => x.state },
    { of: (x) => x.hold },
    { of: (x) => x.deadlines.target },
    { of: (x) => x.deadlines.hard },
  ]);
  const purchasePlaces = rows.map((x) => purchases.placeOf(x));
  const kindPlaces = rows.map((x) => kinds.placeOf(x));
  const column = (value: (row: Row) => string | number | bigint | null): string => arrayText(rows.map(value));
  await tx.query(
    `with r as (
       select u.*, p.*, k.* from rows from (unnest($1::int[], $2::int[], $3::uuid[], $4::uuid[], $5::uuid[], $6::numeric[], $7::numeric[]), jsonb_array_elements($8::jsonb))
                as u(p, k, record_id, item_id, segment_id, base_quantity, quantity, wire)
         join unnest($9::uuid[], $10::uuid[]) with ordinality as p(tenant_id, subscription_id, place) on p.place = u.p
         join unnest($11::text[], $12::text[], $13::text[], $14::smallint[], $15::text[], $16::numeric[], $17::uuid[], $18::text[], $19::timestamptz[], $20::timestamptz[], $21::text[],
                     $22::text[], $23::text[], $24::text[], $25::text[], $26::timestamptz[], $27::timestamptz[]) with ordinality
                as k(marketplace, meter, dimension, decimals, listed_unit, base_per_unit, plan_version_id, external_plan_id, starts_at, ends_at, quality,
                     batch_key, gate, state, hold_reason, target_at, hard_at, place) on k.place = u.k
     ), kept as (
       insert into usage_records (record_id, tenant_id, subscription_id, marketplace, meter, segment_id, dimension, hour, base_quantity, quantity, decimals, listed_unit, base_per_unit,
                                  plan_version_id, external_plan_id, starts_at, ends_at, quality, closed_at)
       select record_id, tenant_id, subscription_id, marketplace, meter, segment_id, dimension, $28, base_quantity, quantity, decimals, listed_unit, base_per_unit,
              plan_version_id, external_plan_id, starts_at, ends_at, quality, $29::timestamptz from r
     )
     insert into submission_items (item_id, record_id, tenant_id, subscription_id, marketplace, hour, batch_key, gate, wire, state, hold_reason, target_at, hard_at, next_attempt_at, created_at, settled_at)
     select item_id, record_id, tenant_id, subscription_id, marketplace, $28, batch_key, gate, nullif(wire, 'null'), state, hold_reason, target_at, hard_at, $29, $29,
            case when state in ('shadow', 'invoiced') then $29::timestamptz end from r`,
    [
      arrayText(purchasePlaces),
      arrayText(kindPlaces),
      column((x) => x.recordId),
      column((x) => x.itemId),
      column((x) => x.r.segmentId),
      column((x) => x.r.baseQuantity),
      column((x) => x.r.quantity),
      JSON.stringify(rows.map((x) => x.built?.wire ?? null)),
      ...purchases.texts(),
      ...kinds.texts(),
      fromUs(hour),
      now,
    ],
  );
  await writeSplits(
    tx,
    rows.map(({ c, r, recordId }) => ({ recordId, tenantId: c.series.tenantId, record: r })),
  );
}

/** A record with its wire item. */
interface Row {
  c: ClosedHour;
  r: RecordDraft;
  recordId: string;
  itemId: string;
  built: ReturnType<typeof tryBuild>;
  state: string;
  hold: string | null;
  deadlines: DeadlineTexts;
}

function rowOf(c: ClosedHour, r: RecordDraft, hour: bigint, deadlines: DeadlineTexts): Row {
  const { recordId, itemId } = idsOf(c.series.subscriptionId, r, hour);
  const built =
    c.subscription === null
      ? null
      : tryBuild(c.adapter, c.subscription, {
          itemId,
          externalPlanId: r.externalPlanId,
          dimension: r.dimension,
          hour: fromUs(hour),
          startsAt: fromUs(r.startsAt),
          endsAt: fromUs(r.endsAt),
          quantity: r.quantity,
          ...(r.costSplit ? { parts: r.costSplit } : {}),
        });
  const state = r.unsent ? STATE_OF[r.unsent] : r.hold ? 'held' : 'pending';
  return { c, r, recordId, itemId, built, state, hold: r.unsent ? null : r.hold, deadlines };
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

interface DeadlineTexts {
  target: string;
  hard: string;
}

/** Most purchases of a marketplace have the same deadlines in an hour: those that go on. */
function deadlinesOf(hour: bigint): (c: ClosedHour) => DeadlineTexts {
  const known = new Map<string, DeadlineTexts>();
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
