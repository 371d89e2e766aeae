import type { Tx } from '#platform';
import type { FactsLine, JournalLine, JournalPlan, OutcomeLine, PriceLine, SampleLine } from '../domain/journal.js';
import { instantText } from '../domain/units.js';

const time = (us: string): string => instantText(BigInt(us));
const timeOrNull = (us: string | null): string | null => (us === null ? null : time(us));

export async function putPlan(tx: Tx, plan: JournalPlan): Promise<void> {
  await tx.query(
    `insert into plan_versions (plan_version_id, marketplace, external_offer_id, external_plan_id, version, content_hash, document, loaded_at)
     values ($1, $2, $3, $4, $5, $6, $7, 'epoch')`,
    [plan.planVersionId, plan.marketplace, plan.externalOfferId, plan.externalPlanId, plan.version, plan.contentHash, JSON.stringify(plan)],
  );
}

export async function putEmission(tx: Tx, e: Extract<JournalLine, { line: 'emission' }>): Promise<void> {
  await tx.query(
    `insert into listing_emissions (marketplace, external_offer_id, from_at, emission, recorded_at) values ($1, $2, $3, $4, 'epoch')`,
    [e.marketplace, e.externalOfferId, time(e.from), e.emission],
  );
}

export async function putPrice(tx: Tx, p: PriceLine): Promise<void> {
  await tx.query(
    `insert into prices (price_id, marketplace, external_offer_id, external_plan_id, dimension, subscription_id, currency, unit_price, effective_from, source, recorded_at, recorded_by)
     values (gen_random_uuid(), $1, $2, $3, $4, $5, $6, $7::numeric, $8, 'journal', $9, 'journal')`,
    [
      p.marketplace,
      p.externalOfferId,
      p.externalPlanId,
      p.dimension,
      p.subscriptionId,
      p.currency,
      p.unitPrice,
      time(p.effectiveFrom),
      time(p.recordedAt),
    ],
  );
}

/** Samples as they were stored, at one place of the order. What was late for a closing is told by the journal, not noted here. */
export async function putSamples(tx: Tx, samples: readonly SampleLine[]): Promise<void> {
  await tx.query(
    `insert into usage_events (principal, source, event_id, occurred_at, tenant_id, subscription_id, placement_id, metric, kind, value, epoch, sequence, received_at, content_hash, position)
     select u.*, '', p.n from unnest($1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::uuid[], $6::uuid[], $7::uuid[], $8::text[], $9::text[], $10::numeric[], $11::text[],
            $12::numeric[], $13::timestamptz[]) as u cross join (select nextval('metering_order') as n) p`,
    [
      samples.map((s) => s.poster),
      samples.map((s) => s.source),
      samples.map((s) => s.id),
      samples.map((s) => time(s.at)),
      samples.map((s) => s.tenantId),
      samples.map((s) => s.subscriptionId),
      samples.map((s) => s.placementId),
      samples.map((s) => s.metric),
      samples.map((s) => s.kind),
      samples.map((s) => s.value),
      samples.map((s) => s.epoch),
      samples.map((s) => s.sequence),
      samples.map((s) => time(s.receivedAt)),
    ],
  );
}

/** Puts purchases, segments and bindings as a closing read them. `offerOf` answers a plan version's listing. */
export async function putFacts(tx: Tx, lines: readonly FactsLine[], offerOf: (planVersionId: string) => string): Promise<void> {
  // Nothing was closed between two notes of one purchase: the later one holds.
  const facts = [...new Map(lines.map((f) => [f.subscriptionId, f])).values()];
  await tx.query(
    `insert into subscriptions (subscription_id, marketplace, external_subscription_id, tenant_id, state, plan_version_id, external_offer_id, external_plan_id, ended_at, truth, created_at, updated_at)
     select r.id, r.marketplace, r.id, r.tenant_id, r.state, r.plan_version_id, r.offer, r.plan, r.ended_at, '{}', r.starts_at, r.starts_at
       from jsonb_to_recordset($1::jsonb) as r(id uuid, marketplace text, tenant_id uuid, state text, plan_version_id uuid, offer text, plan text, ended_at timestamptz, starts_at timestamptz)
     on conflict (subscription_id) do update set state = excluded.state, ended_at = excluded.ended_at`,
    [
      JSON.stringify(
        facts.map((f) => ({
          id: f.subscriptionId,
          marketplace: f.marketplace,
          tenant_id: f.tenantId,
          state: f.endedAt === null ? 'active' : 'closing',
          plan_version_id: f.segments[0]!.planVersionId,
          offer: offerOf(f.segments[0]!.planVersionId),
          plan: f.segments[0]!.externalPlanId,
          ended_at: timeOrNull(f.endedAt),
          starts_at: time(f.segments[0]!.startsAt),
        })),
      ),
    ],
  );
  await tx.query(
    `insert into segments (segment_id, subscription_id, tenant_id, sequence, starts_at, ends_at, plan_version_id, external_plan_id, quantity, billable, reason, term_starts_at, term_ends_at, created_at)
     select r.segment_id, r.subscription_id, r.tenant_id, r.sequence, r.starts_at, r.ends_at, r.plan_version_id, r.external_plan_id, r.quantity, r.billable, r.reason, r.term_starts_at, r.term_ends_at, r.starts_at
       from jsonb_to_recordset($1::jsonb) as r(segment_id uuid, subscription_id uuid, tenant_id uuid, sequence int, starts_at timestamptz, ends_at timestamptz, plan_version_id uuid, external_plan_id text,
            quantity int, billable boolean, reason text, term_starts_at timestamptz, term_ends_at timestamptz)
     on conflict (segment_id) do update set ends_at = excluded.ends_at, plan_version_id = excluded.plan_version_id, external_plan_id = excluded.external_plan_id, quantity = excluded.quantity,
       billable = excluded.billable, term_starts_at = excluded.term_starts_at, term_ends_at = excluded.term_ends_at`,
    [
      JSON.stringify(
        facts.flatMap((f) =>
          f.segments.map((s) => ({
            segment_id: s.segmentId,
            subscription_id: f.subscriptionId,
            tenant_id: f.tenantId,
            sequence: s.sequence,
            starts_at: time(s.startsAt),
            ends_at: timeOrNull(s.endsAt),
            plan_version_id: s.planVersionId,
            external_plan_id: s.externalPlanId,
            quantity: s.quantity,
            billable: s.billable,
            reason: s.reason,
            term_starts_at: timeOrNull(s.termStartsAt),
            term_ends_at: timeOrNull(s.termEndsAt),
          })),
        ),
      ),
    ],
  );
  const bindings = facts.flatMap((f) =>
    f.bindings.map((b) => ({
      placement_id: b.placementId,
      tenant_id: f.tenantId,
      subscription_id: f.subscriptionId,
      source: b.source,
      valid_from: time(b.from),
      valid_until: timeOrNull(b.until),
      held_from: timeOrNull(b.held),
    })),
  );
  const put = (rows: typeof bindings): Promise<unknown> =>
    tx.query(
      `insert into usage_bindings (placement_id, tenant_id, subscription_id, source, valid_from, valid_until, held_from)
       select r.* from jsonb_to_recordset($1::jsonb) as r(placement_id uuid, tenant_id uuid, subscription_id uuid, source text, valid_from timestamptz, valid_until timestamptz, held_from timestamptz)
       on conflict (placement_id, valid_from) do update set subscription_id = excluded.subscription_id, tenant_id = excluded.tenant_id, source = excluded.source,
         valid_until = excluded.valid_until, held_from = excluded.held_from`,
      [JSON.stringify(rows)],
    );
  await put(bindings.filter((b) => b.valid_until !== null));
  const open = bindings.filter((b) => b.valid_until === null);
  // A placement that was handed over is open for its successor alone, also while its predecessor's next note is still to come.
  await tx.query(
    `update usage_bindings b set valid_until = n.at from unnest($1::uuid[], $2::timestamptz[]) as n(placement_id, at)
      where b.placement_id = n.placement_id and b.valid_until is null and b.valid_from < n.at`,
    [open.map((b) => b.placement_id), open.map((b) => b.valid_from)],
  );
  await put(open);
}

/** Answers how many of the submissions are there. */
export async function putOutcomes(tx: Tx, outcomes: readonly OutcomeLine[]): Promise<number> {
  const rows = await tx.query(
    `update submission_items i set state = u.state, accepted_quantity = u.accepted, settled_at = u.at
       from unnest($1::uuid[], $2::text[], $3::numeric[], $4::timestamptz[]) as u(id, state, accepted, at) where i.item_id = u.id and i.settled_at is null returning 1`,
    [outcomes.map((o) => o.itemId), outcomes.map((o) => o.state), outcomes.map((o) => o.accepted), outcomes.map((o) => time(o.at))],
  );
  return rows.length;
}

export async function noteLate(tx: Tx, late: readonly { subscriptionId: string; metric: string; from: string }[]): Promise<void> {
  await tx.query(
    `insert into late_arrivals (subscription_id, metric, hour, tenant_id)
     select distinct on (s.subscription_id, s.metric, u.hour) s.subscription_id, s.metric, u.hour, s.tenant_id
       from unnest($1::uuid[], $2::text[], $3::timestamptz[]) as u(id, metric, hour) join series s on s.subscription_id = u.id and s.metric = u.metric on conflict do nothing`,
    [late.map((l) => l.subscriptionId), late.map((l) => l.metric), late.map((l) => time(l.from))],
  );
}

/** A series that stood still in this shard, with its reason. */
export async function standingStill(tx: Tx, shard: number): Promise<{ subscriptionId: string; meter: string; reason: string } | null> {
  const [row] = await tx.query<{ subscriptionId: string; meter: string; reason: string }>(
    `select subscription_id as "subscriptionId", meter, coalesce(blocked_reason, '') as reason from series where shard = $1 and blocked_until is not null limit 1`,
    [shard],
  );
  return row ?? null;
}
