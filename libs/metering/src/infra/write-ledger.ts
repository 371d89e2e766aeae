import { arrayText, uuidv5, type Tx } from '#platform';
import type { CarryInDraft, EntryDraft } from '../domain/types.js';
import { instantText } from '../domain/units.js';
import { Shared } from './shared.js';

export interface SeriesRef {
  subscriptionId: string;
  meter: string;
  tenantId: string;
}
export interface EntryRow extends EntryDraft {
  series: SeriesRef;
  hour: bigint;
}

/**
 * Who moves an amount: a closing, which a replay makes again, or something that no closing knows (an answer, a deadline, a
 * person), which keeps its place in the order of what came in (ADR 0020).
 */
export type MovedBy = 'closing' | 'outside';

/** Unique by natural key and never updated: writing the same fact twice is an error, not a second row. */
export async function writeEntries(tx: Tx, entries: EntryRow[], at: Date, by: MovedBy): Promise<void> {
  if (entries.length === 0) return;
  const segments = new Shared<EntryRow>([
    { of: (e) => e.series.subscriptionId },
    { of: (e) => e.segmentId },
    { of: (e) => e.series.tenantId },
  ]);
  const hours = new Shared<EntryRow>([{ of: (e) => e.hour, text: instantText }]);
  const kinds = new Shared<EntryRow>([{ of: (e) => e.series.meter }, { of: (e) => e.term }, { of: (e) => e.cause }]);
  const segmentPlaces = entries.map((e, i) => {
    // Those of one series follow each other.
    const before = entries[i - 1];
    return before && before.series === e.series && before.segmentId === e.segmentId ? segments.last : segments.placeOf(e);
  });
  const hourPlaces = entries.map((e) => hours.placeOf(e));
  const kindPlaces = entries.map((e) => kinds.placeOf(e));
  // By place and not by a join, which might hand out positions in another order.
  await tx.query(
    `insert into ledger_entries (subscription_id, meter, hour, segment_id, term, cause, ref, tenant_id, quantity, recorded_at, position)
     select ($6::uuid[])[s], ($9::text[])[k], ($12::timestamptz[])[h], ($7::uuid[])[s], ($10::text[])[k], ($11::text[])[k], ref, ($8::uuid[])[s], quantity, $13,
            case when $14 then nextval('metering_order') end
       from unnest($1::int[], $2::int[], $3::int[], $4::text[], $5::numeric[]) as e(s, h, k, ref, quantity)`,
    [
      arrayText(segmentPlaces),
      arrayText(hourPlaces),
      arrayText(kindPlaces),
      arrayText(entries.map((e) => e.ref)),
      arrayText(entries.map((e) => e.quantity)),
      ...segments.texts(),
      ...kinds.texts(),
      ...hours.texts(),
      at,
      by === 'outside',
    ],
  );
}

export interface CarryInRow extends CarryInDraft {
  series: SeriesRef;
  origin: string;
}

/** Named by what made them, so that a replay makes the same rows. */
export const carryInId = (series: SeriesRef, segmentId: string, origin: string): string =>
  uuidv5('carry-in', series.subscriptionId, series.meter, segmentId, origin);

export async function writeCarryIns(tx: Tx, rows: CarryInRow[], at: Date, by: MovedBy): Promise<void> {
  if (rows.length === 0) return;
  await tx.query(
    `insert into carry_ins (carry_in_id, tenant_id, subscription_id, meter, segment_id, kind, stage, cause, origin, from_hour, amount, made_at, position)
     select id, tenant, sub, meter, segment, kind, stage, cause, origin, hour, amount, $12, case when $13 then nextval('metering_order') end
       from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::uuid[], $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::numeric[])
         as u(id, tenant, sub, meter, segment, kind, stage, cause, origin, hour, amount)`,
    [
      arrayText(rows.map((r) => carryInId(r.series, r.segmentId, r.origin))),
      arrayText(rows.map((r) => r.series.tenantId)),
      arrayText(rows.map((r) => r.series.subscriptionId)),
      arrayText(rows.map((r) => r.series.meter)),
      arrayText(rows.map((r) => r.segmentId)),
      arrayText(rows.map((r) => r.kind)),
      arrayText(rows.map((r) => r.stage)),
      arrayText(rows.map((r) => r.cause)),
      arrayText(rows.map((r) => r.origin)),
      arrayText(rows.map((r) => instantText(r.fromHour))),
      arrayText(rows.map((r) => r.amount)),
      at,
      by === 'outside',
    ],
  );
}
