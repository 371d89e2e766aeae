import { arrayText, sha256Hex, type Tx } from '#platform';
import type { Segment } from '#entitlements';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import type { PurchaseFacts } from '../domain/journal.js';
import { fromUs, toUs } from '../domain/units.js';
import type { SeriesRow } from './series.sql.js';
import { us } from './us.js';

/** Names that posters choose may say anything: outside their table they are hashes. Our own source keeps its name. */
export const hiddenSource = (column: string): string =>
  `case when ${column} = '${ENGINE_SOURCE}' then ${column} else 'src_' || left(encode(sha256(convert_to(${column}, 'UTF8')), 'hex'), 24) end`;

type Purchase = Pick<SeriesRow, 'subscriptionId' | 'tenantId' | 'marketplace' | 'endedAt'>;

/**
 * Notes what the closing that holds the shard read of these purchases, where it differs from what was noted last. `segmentsOf`
 * answers the rows that were read. Without it nobody could tell later what was known when an hour was closed (ADR 0020).
 */
export async function noteFacts(
  tx: Tx,
  purchases: readonly Purchase[],
  segmentsOf: (subscriptionId: string) => readonly Segment[],
  at: Date,
): Promise<void> {
  const byId = new Map(purchases.map((p) => [p.subscriptionId, p]));
  const ids = arrayText(byId.keys());
  const bindings = await tx.query<PurchaseFacts['bindings'][number] & { subscription_id: string }>(
    `select subscription_id, placement_id as "placementId", ${hiddenSource('source')} as source, ${us('valid_from')} as "from", ${us('valid_until')} as until, ${us('held_from')} as held
       from usage_bindings where subscription_id = any($1::uuid[]) order by placement_id, valid_from`,
    [ids],
  );
  const bound = new Map<string, typeof bindings>();
  for (const b of bindings) bound.set(b.subscription_id, [...(bound.get(b.subscription_id) ?? []), b]);
  const noted = new Map(
    (
      await tx.query<{ id: string; hash: string }>(
        `select k.id, f.hash from unnest($1::uuid[]) as k(id)
           cross join lateral (select hash from closing_facts where subscription_id = k.id order by position desc limit 1) f`,
        [ids],
      )
    ).map((r) => [r.id, r.hash]),
  );
  const rows = [...byId.values()].flatMap((p) => {
    const facts: PurchaseFacts = {
      marketplace: p.marketplace,
      endedAt: p.endedAt?.toString() ?? null,
      segments: segmentsOf(p.subscriptionId).map((s) => ({
        segmentId: s.segmentId,
        sequence: s.sequence,
        startsAt: toUs(s.startsAt).toString(),
        endsAt: s.endsAt && toUs(s.endsAt).toString(),
        planVersionId: s.planVersionId,
        externalPlanId: s.externalPlanId,
        quantity: s.quantity,
        billable: s.billable,
        reason: s.reason,
        termStartsAt: s.termStartsAt && toUs(s.termStartsAt).toString(),
        termEndsAt: s.termEndsAt && toUs(s.termEndsAt).toString(),
      })),
      bindings: (bound.get(p.subscriptionId) ?? []).map(({ placementId, source, from, until, held }) => ({
        placementId,
        source,
        from,
        until,
        held,
      })),
    };
    const text = JSON.stringify(facts);
    const hash = sha256Hex(text);
    return noted.get(p.subscriptionId) === hash ? [] : [{ ...p, text, hash }];
  });
  if (rows.length === 0) return;
  await tx.query(
    `insert into closing_facts (tenant_id, subscription_id, hash, facts, noted_at)
     select t, s, h, f::jsonb, $5 from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as u(t, s, h, f)`,
    [
      arrayText(rows.map((r) => r.tenantId)),
      arrayText(rows.map((r) => r.subscriptionId)),
      arrayText(rows.map((r) => r.hash)),
      arrayText(rows.map((r) => r.text)),
      at,
    ],
  );
}

/** The closer closed this hour of the shard; `behind` tells where the slowest source of a series stood, where it was behind. */
export async function noteClose(
  tx: Tx,
  step: { shard: number; hour: bigint; rootSequence: string; closed: readonly SeriesRow[]; rules: number },
  at: Date,
): Promise<void> {
  const behind = step.closed
    .filter((s) => s.watermark !== null)
    .map((s) => ({ subscriptionId: s.subscriptionId, meter: s.meter, watermark: s.watermark!.toString() }));
  await tx.query(`insert into closing_steps (kind, shard, hour, root_sequence, body, at, rules) values ('close', $1, $2, $3, $4, $5, $6)`, [
    step.shard,
    fromUs(step.hour),
    step.rootSequence,
    JSON.stringify(behind),
    at,
    step.rules,
  ]);
}

/** The closer measured these series again, each from its hour on. */
export async function noteAbsorb(tx: Tx, shard: number, absorbed: readonly { series: SeriesRow; from: bigint }[], at: Date): Promise<void> {
  const body = absorbed.map(({ series, from }) => ({
    subscriptionId: series.subscriptionId,
    meter: series.meter,
    metric: series.metric,
    from: from.toString(),
  }));
  await tx.query(`insert into closing_steps (kind, shard, body, at) values ('absorb', $1, $2, $3)`, [shard, JSON.stringify(body), at]);
}
