import { canonicalJson, errorText, sha256Hex, uuidv5, type Tx } from '#platform';
import type { MarketplaceRefs, UsageWireItem } from '#marketplaces/core';
import type { MeteredSubscription } from '#entitlements';
import type { ClosingAdapter } from '../application/deps.js';
import { chainedRoot, merkleRoot } from '../domain/merkle.js';
import { openingToJson } from '../domain/opening-json.js';
import { sumTerms } from '../domain/sum-terms.js';
import type { HourClose, RecordDraft, StreamSamples } from '../domain/types.js';
import { fromUs, instantText, US_PER_HOUR } from '../domain/units.js';
import type { SeriesRow } from './series.sql.js';
import { writeCarryIns, writeEntries, type EntryRow } from './write-ledger.js';

export interface ClosedHour {
  series: SeriesRow;
  streams: StreamSamples[];
  close: HourClose;
  adapter: ClosingAdapter;
  subscription: MeteredSubscription | null;
  lastSegmentId: string | null;
  completed: boolean;
}

export const recordIdOf = (subscriptionId: string, r: Pick<RecordDraft, 'segmentId' | 'dimension'>, hour: bigint): string =>
  uuidv5('usage-record', subscriptionId, r.segmentId, r.dimension, instantText(hour));
export const itemIdOf = (recordId: string): string => uuidv5('submission-item', recordId);

/**
 * All rows of one (hour, shard), in the transaction that holds its claim: records, items, ledger, carry-ins, closings, root, next
 * openings. Answers the root's sequence in its shard.
 */
export async function writeClosings(
  tx: Tx,
  shard: number,
  hour: bigint,
  closed: ClosedHour[],
  now: Date,
  claimedBy: string,
): Promise<string> {
  await writeRecords(tx, hour, closed, now);
  await writeEntries(
    tx,
    closed.flatMap((c) => [
      ...c.close.entries.map((e) => ({ ...e, series: c.series, hour })),
      ...c.close.records.flatMap((r) => leaveOut(c.series, r, hour)),
    ]),
    now,
    'closing',
  );
  const consumed = closed.flatMap((c) => c.close.consumed);
  if (consumed.length > 0) {
    const rows = await tx.query(
      'update carry_ins set consumed_by_hour = $2 where carry_in_id = any($1::uuid[]) and consumed_by_hour is null returning 1',
      [consumed, fromUs(hour)],
    );
    if (rows.length !== consumed.length) throw new Error('a carry-in was consumed by another closing');
  }
  await writeCarryIns(
    tx,
    closed.flatMap((c) => c.close.carryIns.map((i) => ({ ...i, series: c.series, origin: `close:${instantText(hour)}:${i.cause}` }))),
    now,
    'closing',
  );

  const leaves = closed.map((c) => leafOf(c, hour));
  const [last] = await tx.query<{ sequence: string; root: string }>(
    'select r.sequence::text, r.root from hour_roots r where r.shard = $1 order by r.sequence desc limit 1',
    [shard],
  );
  const sequence = (BigInt(last?.sequence ?? '0') + 1n).toString();
  const previous = last?.root ?? '';
  await tx.query(
    `insert into hour_roots (shard, sequence, hour, claimed_by, root, previous_root, leaves, closed_at) values ($1, $2, $3, $4, $5, $6, $7, $8)`,
    [shard, sequence, fromUs(hour), claimedBy, chainedRoot(previous, merkleRoot(leaves.map((l) => l.hash))), previous, leaves.length, now],
  );
  await tx.query(
    `insert into hour_closings (subscription_id, meter, hour, tenant_id, opening, closing, inputs, inputs_digest, terms, records, carry_ins, quality, closed_at, leaf_hash, shard, root_sequence)
     select r.subscription_id, r.meter, $2, r.tenant_id, r.opening, r.closing, r.inputs, r.inputs_digest, r.terms, r.records, r.carry_ins, r.quality, $3, r.leaf_hash, $4, $5
       from jsonb_to_recordset($1::jsonb) as r(subscription_id uuid, meter text, tenant_id uuid, opening jsonb, closing jsonb, inputs int, inputs_digest text, terms jsonb, records int, carry_ins int, quality text, leaf_hash text)`,
    [
      JSON.stringify(
        closed.map((c, i) => ({
          subscription_id: c.series.subscriptionId,
          meter: c.series.meter,
          tenant_id: c.series.tenantId,
          opening: leaves[i]!.opening,
          closing: leaves[i]!.closing,
          inputs: leaves[i]!.inputs,
          inputs_digest: leaves[i]!.digest,
          terms: leaves[i]!.terms,
          records: c.close.records.length,
          carry_ins: c.close.carryIns.length,
          quality: c.close.quality,
          leaf_hash: leaves[i]!.hash,
        })),
      ),
      fromUs(hour),
      now,
      shard,
      sequence,
    ],
  );
  await tx.query(
    `update series s set next_hour = $2, state = r.state, last_segment_id = r.last_segment_id, completed_at = case when r.completed then $3::timestamptz end, blocked_until = null, blocked_reason = null
       from jsonb_to_recordset($1::jsonb) as r(subscription_id uuid, meter text, state jsonb, last_segment_id uuid, completed boolean)
      where s.subscription_id = r.subscription_id and s.meter = r.meter`,
    [
      JSON.stringify(
        closed.map((c, i) => ({
          subscription_id: c.series.subscriptionId,
          meter: c.series.meter,
          state: leaves[i]!.closing,
          last_segment_id: c.lastSegmentId,
          completed: c.completed,
        })),
      ),
      fromUs(hour + US_PER_HOUR),
      now,
    ],
  );
  return sequence;
}

/** What a closing read, as it is hashed: whoever looks back can tell whether it holds the same samples. */
export function digestOf(streams: StreamSamples[], hour: bigint): { digest: string; count: number } {
  const end = hour + US_PER_HOUR;
  const inputs = streams.map((s) => ({
    stream: s.stream,
    samples: s.samples.filter((x) => x.at < end).map((x) => [instantText(x.at), x.value, x.epoch, x.sequence]),
  }));
  return { digest: sha256Hex(canonicalJson(inputs)), count: inputs.reduce((n, i) => n + i.samples.length, 0) };
}

interface Leaf {
  hash: string;
  digest: string;
  inputs: number;
  terms: Record<string, string>;
  opening: ReturnType<typeof openingToJson>;
  closing: ReturnType<typeof openingToJson>;
}

function leafOf(c: ClosedHour, hour: bigint): Leaf {
  const { digest, count } = digestOf(c.streams, hour);
  const terms = Object.fromEntries(Object.entries(sumTerms(c.close.entries)).map(([t, q]) => [t, q.toString()]));
  const opening = openingToJson(c.series.opening);
  const closing = openingToJson(c.close.closing);
  // Natural keys and quantities only, never surrogate ids (law 12).
  const hash = sha256Hex(
    canonicalJson({
      subscription: c.series.subscriptionId,
      meter: c.series.meter,
      hour: instantText(hour),
      inputs: digest,
      opening,
      closing,
      entries: c.close.entries,
      records: c.close.records,
      carryIns: c.close.carryIns,
    }),
  );
  return { hash, digest, inputs: count, terms, opening, closing };
}

/** A record that is never sent leaves `pending` with its own closing, under the name of why (law 5: by rows of its own). */
function leaveOut(series: SeriesRow, r: RecordDraft, hour: bigint): EntryRow[] {
  if (!r.unsent || r.baseQuantity === 0n) return [];
  const row = { series, hour, segmentId: r.segmentId, cause: r.unsent, ref: itemIdOf(recordIdOf(series.subscriptionId, r, hour)) };
  return [
    { ...row, term: 'pending', quantity: -r.baseQuantity },
    { ...row, term: 'non_billable', quantity: r.baseQuantity },
  ];
}

const STATE_OF: Record<NonNullable<RecordDraft['unsent']>, string> = { shadow: 'shadow', invoiced_outside: 'invoiced' };

async function writeRecords(tx: Tx, hour: bigint, closed: ClosedHour[], now: Date): Promise<void> {
  const rows = closed.flatMap((c) => c.close.records.map((r) => ({ c, r, recordId: recordIdOf(c.series.subscriptionId, r, hour) })));
  if (rows.length === 0) return;
  await tx.query(
    `insert into usage_records (record_id, tenant_id, subscription_id, marketplace, meter, segment_id, dimension, hour, base_quantity, quantity, decimals, listed_unit, base_per_unit,
                                plan_version_id, external_plan_id, starts_at, ends_at, quality, closed_at)
     select r.record_id, r.tenant_id, r.subscription_id, r.marketplace, r.meter, r.segment_id, r.dimension, $2, r.base_quantity, r.quantity, r.decimals, r.listed_unit, r.base_per_unit,
            r.plan_version_id, r.external_plan_id, r.starts_at, r.ends_at, r.quality, $3
       from jsonb_to_recordset($1::jsonb) as r(record_id uuid, tenant_id uuid, subscription_id uuid, marketplace text, meter text, segment_id uuid, dimension text, base_quantity numeric, quantity numeric,
            decimals smallint, listed_unit text, base_per_unit numeric, plan_version_id uuid, external_plan_id text, starts_at timestamptz, ends_at timestamptz, quality text)`,
    [
      JSON.stringify(
        rows.map(({ c, r, recordId }) => ({
          record_id: recordId,
          tenant_id: c.series.tenantId,
          subscription_id: c.series.subscriptionId,
          marketplace: c.series.marketplace,
          meter: c.series.meter,
          segment_id: r.segmentId,
          dimension: r.dimension,
          base_quantity: r.baseQuantity.toString(),
          quantity: r.quantity,
          decimals: r.decimals,
          listed_unit: r.listedUnit,
          base_per_unit: r.basePerUnit.toString(),
          plan_version_id: r.planVersionId,
          external_plan_id: r.externalPlanId,
          starts_at: instantText(r.startsAt),
          ends_at: instantText(r.endsAt),
          quality: r.quality,
        })),
      ),
      fromUs(hour),
      now,
    ],
  );
  await tx.query(
    `insert into submission_items (item_id, record_id, tenant_id, subscription_id, marketplace, hour, batch_key, gate, wire, state, hold_reason, target_at, hard_at, next_attempt_at, created_at, settled_at)
     select r.item_id, r.record_id, r.tenant_id, r.subscription_id, r.marketplace, $2, r.batch_key, r.gate, r.wire, r.state, r.hold_reason, r.target_at, r.hard_at, $3, $3, case when r.unsent then $3::timestamptz end
       from jsonb_to_recordset($1::jsonb) as r(item_id uuid, record_id uuid, tenant_id uuid, subscription_id uuid, marketplace text, batch_key text, gate text, wire jsonb, state text, hold_reason text, target_at timestamptz, hard_at timestamptz, unsent boolean)`,
    [
      JSON.stringify(
        rows.map(({ c, r, recordId }) => {
          const itemId = itemIdOf(recordId);
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
                });
          const deadlines = c.adapter.deadlines({
            hourStart: fromUs(hour),
            hourEnd: fromUs(hour + US_PER_HOUR),
            endedAt: c.series.endedAt === null || c.subscription?.goesOn ? null : fromUs(c.series.endedAt),
          });
          return {
            item_id: itemId,
            record_id: recordId,
            tenant_id: c.series.tenantId,
            subscription_id: c.series.subscriptionId,
            marketplace: c.series.marketplace,
            batch_key: built?.batchKey ?? null,
            gate: built?.gate ?? '',
            wire: built?.wire ?? null,
            state: r.unsent ? STATE_OF[r.unsent] : r.hold ? 'held' : 'pending',
            hold_reason: r.unsent ? null : r.hold,
            unsent: r.unsent !== undefined,
            target_at: deadlines.target,
            hard_at: deadlines.hard,
          };
        }),
      ),
      fromUs(hour),
      now,
    ],
  );
}

/**
 * The wire item of a record, or null while the marketplace has not given us what it needs (a missing reporting id is not
 * terminal, money.md "Outcomes"): it is then built before the first attempt.
 */
export function tryBuild(
  adapter: ClosingAdapter,
  subscription: { externalSubscriptionId: string; marketplaceRefs: MarketplaceRefs },
  r: { itemId: string; externalPlanId: string; dimension: string; hour: Date; startsAt: Date; endsAt: Date; quantity: string },
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
      refs: subscription.marketplaceRefs,
    });
    return { wire, batchKey: adapter.batchKey(wire), gate: adapter.gateOf?.(wire) ?? '' };
  } catch (error) {
    onFault(errorText(error));
    return null;
  }
}
