import { arrayText, type Tx } from '#platform';
import { leafOf } from '../domain/leaf.js';
import { chainedRoot, merkleRoot } from '../domain/merkle.js';
import { fromUs, instantText, US_PER_HOUR } from '../domain/units.js';
import { Shared } from './shared.js';
import { writeCarryIns, writeEntries } from './write-ledger.js';
import { leaveOut, writeRecords, type ClosedHour } from './write-records.js';

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

  const leaves = closed.map((c) =>
    leafOf({
      subscriptionId: c.series.subscriptionId,
      meter: c.series.meter,
      hour,
      opening: c.series.opening,
      inputs: c.inputs,
      close: c.close,
    }),
  );
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
  const purchases = new Shared<ClosedHour>([{ of: (c) => c.series.subscriptionId }]);
  const kinds = new Shared<ClosedHour>([
    { of: (c) => c.series.meter },
    { of: (c) => c.close.records.length },
    { of: (c) => c.close.carryIns.length },
    { of: (c) => c.close.quality },
    { of: (c) => c.completed },
  ]);
  const purchasePlaces = closed.map((c) => purchases.placeOf(c));
  const kindPlaces = closed.map((c) => kinds.placeOf(c));
  // The opening of a closing is what its series hands on, which the series' row holds: it is not sent once more.
  const rows = await tx.query(
    `with r as materialized (
       select u.*, p.*, k.* from rows from (unnest($1::int[], $2::int[], $3::int[], $4::text[], $5::text[], $6::uuid[]),
                                            jsonb_array_elements($7::jsonb), jsonb_array_elements($8::jsonb), jsonb_array_elements($9::jsonb))
                as u(p, k, inputs, inputs_digest, leaf_hash, last_segment_id, closing, terms, usual)
         join unnest($10::uuid[]) with ordinality as p(subscription_id, place) on p.place = u.p
         join unnest($11::text[], $12::int[], $13::int[], $14::text[], $15::boolean[]) with ordinality as k(meter, records, carry_ins, quality, completed, place) on k.place = u.k),
     kept as (
       insert into hour_closings (subscription_id, meter, hour, tenant_id, opening, closing, inputs, inputs_digest, terms, records, carry_ins, quality, closed_at, leaf_hash, shard, root_sequence)
       select s.subscription_id, s.meter, $16, s.tenant_id, s.state, r.closing, r.inputs, r.inputs_digest, r.terms, r.records, r.carry_ins, r.quality, $17, r.leaf_hash, $18, $19
         from r join series s on s.subscription_id = r.subscription_id and s.meter = r.meter)
     update series s set next_hour = $20, state = r.closing, last_segment_id = coalesce(r.last_segment_id, s.last_segment_id),
            completed_at = case when r.completed then $17::timestamptz end, blocked_until = null, blocked_reason = null, usual = coalesce(nullif(r.usual, 'null'), s.usual)
       from r where s.subscription_id = r.subscription_id and s.meter = r.meter returning 1`,
    [
      arrayText(purchasePlaces),
      arrayText(kindPlaces),
      arrayText(closed.map((c) => c.inputs.count)),
      arrayText(closed.map((c) => c.inputs.digest)),
      arrayText(leaves.map((l) => l.hash)),
      arrayText(closed.map((c) => (c.lastSegmentId === c.series.lastSegmentId ? null : c.lastSegmentId))),
      `[${leaves.map((l) => l.closing).join(',')}]`,
      `[${leaves.map((l) => l.terms).join(',')}]`,
      `[${closed.map((c) => c.usual ?? 'null').join(',')}]`,
      ...purchases.texts(),
      ...kinds.texts(),
      fromUs(hour),
      now,
      shard,
      sequence,
      fromUs(hour + US_PER_HOUR),
    ],
  );
  if (rows.length !== closed.length) throw new Error('a series went away while its hour was closed');
  return sequence;
}
