import type { Tx } from '#platform';
import type { CostPart } from '#marketplaces/core';
import type { PartsAt, SamplePart } from '../domain/cost-split.js';
import type { Opening, RecordDraft, StreamSamples } from '../domain/types.js';
import { instantText } from '../domain/units.js';

/** The series whose splits are wanted, with what its hour is closed from. */
export interface SplitInput {
  metric: string;
  opening: Opening;
  streams: readonly StreamSamples[];
}

const pointKey = (stream: string, at: bigint, sequence: bigint, epoch: string): string =>
  `${stream.split('@')[0]!}/${at}/${sequence}/${epoch}`;

/** What the samples of these hours, and those that the hours began with, said of their parts. Only for meters that split. */
export async function loadParts(tx: Tx, series: readonly SplitInput[]): Promise<(metric: string) => PartsAt> {
  const points = series.flatMap(({ metric, opening, streams }) => [
    ...Object.entries(opening.streams).map(([stream, s]) => ({ metric, stream, at: s.at })),
    ...streams.flatMap((s) => [...(s.baseline ? [s.baseline] : []), ...s.samples].map(({ at }) => ({ metric, stream: s.stream, at }))),
  ]);
  const found = new Map<string, SamplePart[]>();
  if (points.length > 0) {
    const rows = await tx.query<{
      placement_id: string;
      metric: string;
      at_us: string;
      sequence: string;
      epoch: string;
      split: { labels: Record<string, string>; value: string }[];
    }>(
      // The day's partition is found by the instant; of two that say the same instant and number one is taken, always the same.
      `select distinct on (e.placement_id, e.metric, e.occurred_at, e.sequence, e.epoch) e.placement_id, e.metric, (extract(epoch from e.occurred_at) * 1000000)::bigint::text as at_us,
              e.sequence::text, e.epoch, e.split
         from (select distinct * from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as p(placement, metric, at)) p
         join usage_events e on e.placement_id = p.placement and e.metric = p.metric and e.occurred_at = p.at
        where e.split is not null and e.occurred_at >= $4::timestamptz and e.occurred_at <= $5::timestamptz
        order by e.placement_id, e.metric, e.occurred_at, e.sequence, e.epoch, e.source, e.event_id`,
      [
        points.map((p) => p.stream.split('@')[0]!),
        points.map((p) => p.metric),
        points.map((p) => instantText(p.at)),
        instantText(points.reduce((least, p) => (p.at < least ? p.at : least), points[0]!.at)),
        instantText(points.reduce((most, p) => (p.at > most ? p.at : most), points[0]!.at)),
      ],
    );
    for (const r of rows)
      found.set(
        `${r.metric} ${pointKey(r.placement_id, BigInt(r.at_us), BigInt(r.sequence), r.epoch)}`,
        r.split.map((p) => ({ labels: p.labels, value: BigInt(p.value) })),
      );
  }
  return (metric) =>
    (stream, { at, sequence, epoch }) =>
      found.get(`${metric} ${pointKey(stream, at, sequence, epoch)}`) ?? [];
}

/** Frozen with their records, in the same transaction. */
export async function writeSplits(tx: Tx, rows: readonly { recordId: string; tenantId: string; record: RecordDraft }[]): Promise<void> {
  const split = rows.filter((r) => r.record.costSplit);
  if (split.length === 0) return;
  await tx.query(
    `insert into usage_record_splits (record_id, tenant_id, parts) select id, tenant, parts from unnest($1::uuid[], $2::uuid[], $3::jsonb[]) as u(id, tenant, parts)`,
    [split.map((r) => r.recordId), split.map((r) => r.tenantId), split.map((r) => JSON.stringify(r.record.costSplit))],
  );
}

/** The parts of those of these records that are split. */
export async function readSplits(tx: Tx, recordIds: readonly string[]): Promise<Map<string, CostPart[]>> {
  const rows = await tx.query<{ record_id: string; parts: CostPart[] }>(
    'select record_id, parts from usage_record_splits where record_id = any($1::uuid[])',
    [recordIds],
  );
  return new Map(rows.map((r) => [r.record_id, r.parts]));
}
