import { arrayText, sha256Hex, type Tx } from '#platform';
import type { Segment } from '#entitlements';
import type { PurchaseFacts } from '../domain/journal.js';
import { fromUs, toUs } from '../domain/units.js';
import type { BindingsOf } from './purchase-bindings.sql.js';
import type { SeriesRow } from './series.sql.js';

type Purchase = Pick<SeriesRow, 'subscriptionId' | 'tenantId' | 'marketplace' | 'endedAt'>;

/**
 * Notes what the closing that holds the shard read of these purchases, where it differs from what was noted last. `segmentsOf` and
 * `bindings` answer the rows that were read. Without it nobody could tell later what was known when an hour was closed (ADR 0020).
 */
export async function noteFacts(
  tx: Tx,
  purchases: readonly Purchase[],
  segmentsOf: (subscriptionId: string) => readonly Segment[],
  bindings: BindingsOf,
  at: Date,
): Promise<void> {
  const byId = new Map(purchases.map((p) => [p.subscriptionId, p]));
  const noted = new Map(
    (
      await tx.query<{ id: string; hash: string }>(
        `select k.id, f.hash from unnest($1::uuid[]) as k(id)
           cross join lateral (select hash from closing_facts where subscription_id = k.id order by position desc limit 1) f`,
        [arrayText(byId.keys())],
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
      bindings: (bindings.get(p.subscriptionId) ?? []).map(({ placementId, hidden, from, until, held }) => ({
        placementId,
        source: hidden,
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
