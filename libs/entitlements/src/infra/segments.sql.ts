import { uuidv7, type Tx } from '#platform';
import type { Marketplace, MarketplaceRefs } from '#marketplaces/core';
import type { Segment } from '../domain/segment.js';
import type { MeterIdentity, PlanVersion } from '../domain/plan-version.js';

interface SegmentRow {
  segment_id: string;
  subscription_id: string;
  tenant_id: string;
  sequence: number;
  starts_at: Date;
  ends_at: Date | null;
  plan_version_id: string;
  external_plan_id: string;
  quantity: number | null;
  billable: boolean;
  reason: string;
  term_starts_at: Date | null;
  term_ends_at: Date | null;
}

const COLUMNS = `segment_id, subscription_id, tenant_id, sequence, starts_at, ends_at, plan_version_id, external_plan_id, quantity, billable, reason, term_starts_at, term_ends_at`;

const toSegment = (r: SegmentRow): Segment => ({
  segmentId: r.segment_id,
  subscriptionId: r.subscription_id,
  tenantId: r.tenant_id,
  sequence: r.sequence,
  startsAt: r.starts_at,
  endsAt: r.ends_at,
  planVersionId: r.plan_version_id,
  externalPlanId: r.external_plan_id,
  quantity: r.quantity,
  billable: r.billable,
  reason: r.reason,
  termStartsAt: r.term_starts_at,
  termEndsAt: r.term_ends_at,
});

/** Segments of these subscriptions that overlap [from, to), in order. */
export async function readSegments(tx: Tx, span: { subscriptionIds: string[]; from: Date; to: Date }): Promise<Segment[]> {
  const rows = await tx.query<SegmentRow>(
    `select ${COLUMNS} from segments where subscription_id = any($1::uuid[]) and starts_at < $3 and (ends_at is null or ends_at > $2) order by subscription_id, sequence`,
    [span.subscriptionIds, span.from, span.to],
  );
  return rows.map(toSegment);
}

export async function currentSegment(tx: Tx, subscriptionId: string): Promise<Segment | null> {
  const [row] = await tx.query<SegmentRow>(`select ${COLUMNS} from segments where subscription_id = $1 order by sequence desc limit 1`, [
    subscriptionId,
  ]);
  return row ? toSegment(row) : null;
}

export async function openSegment(tx: Tx, segment: Omit<Segment, 'segmentId' | 'endsAt'>, now: Date): Promise<void> {
  await tx.query(
    `insert into segments (segment_id, subscription_id, tenant_id, sequence, starts_at, plan_version_id, external_plan_id, quantity, billable, reason, term_starts_at, term_ends_at, created_at)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)`,
    [
      uuidv7(),
      segment.subscriptionId,
      segment.tenantId,
      segment.sequence,
      segment.startsAt,
      segment.planVersionId,
      segment.externalPlanId,
      segment.quantity,
      segment.billable,
      segment.reason,
      segment.termStartsAt,
      segment.termEndsAt,
      now,
    ],
  );
}

/** Ends the open segment. The instant is stored once: an ended segment is never ended again. */
export async function closeSegment(tx: Tx, segmentId: string, at: Date): Promise<void> {
  await tx.query('update segments set ends_at = $2 where segment_id = $1 and ends_at is null', [segmentId, at]);
}

export interface MeteredSubscription {
  subscriptionId: string;
  tenantId: string;
  marketplace: Marketplace;
  externalSubscriptionId: string;
  state: 'active' | 'suspended' | 'closing';
  marketplaceRefs: MarketplaceRefs;
  startedAt: Date;
  endedAt: Date | null;
  /** It ended here only: the marketplace takes its usage as that of a purchase in force, which it is under another key. */
  goesOn: boolean;
}

/** Groups of purchases, by the first byte of their id: of like size, since ids are hashes. */
export const SUBSCRIPTION_BUCKETS = 256;
const bucketFrom = (bucket: number): string | null =>
  bucket < SUBSCRIPTION_BUCKETS ? `${bucket.toString(16).padStart(2, '0')}000000-0000-0000-0000-000000000000` : null;

const IS_METERED = `s.state in ('active', 'suspended', 'closing') and s.tenant_id is not null`;

/**
 * A mark per bucket that holds metered purchases: it is another one whenever one of them appears, leaves, gets a segment, an end
 * or a successor.
 */
export async function readMeteredMarks(tx: Tx): Promise<Map<number, string>> {
  const rows = await tx.query<{ bucket: number; mark: string }>(
    `select get_byte(uuid_send(s.subscription_id), 0) as bucket,
            encode(sha256(convert_to(string_agg(concat_ws(' ', s.subscription_id, g.segments, extract(epoch from s.ended_at), s.superseded_by), ',' order by s.subscription_id), 'UTF8')), 'hex') as mark
       from subscriptions s join (select subscription_id, count(*) as segments from segments group by subscription_id) g using (subscription_id)
      where ${IS_METERED} group by 1`,
  );
  return new Map(rows.map((r) => [r.bucket, r.mark]));
}

/** Purchases that have begun to count and are not settled yet, by id; those of one bucket, where it is given. */
export async function readMeteredSubscriptions(
  tx: Tx,
  filter: { subscriptionIds?: string[]; state?: MeteredSubscription['state']; bucket?: number } = {},
): Promise<MeteredSubscription[]> {
  const rows = await tx.query<{
    subscription_id: string;
    tenant_id: string;
    marketplace: Marketplace;
    external_subscription_id: string;
    state: MeteredSubscription['state'];
    marketplace_refs: MarketplaceRefs;
    started_at: Date;
    ended_at: Date | null;
    goes_on: boolean;
  }>(
    `select s.subscription_id, s.tenant_id, s.marketplace, s.external_subscription_id, s.state, s.marketplace_refs, s.ended_at, g.starts_at as started_at,
            s.superseded_by is not null and exists (select 1 from subscriptions n
              where n.subscription_id = s.superseded_by and n.truth #>> '{supersedes,wholeHoursFrom}' is not null) as goes_on
       from subscriptions s join segments g on g.subscription_id = s.subscription_id and g.sequence = 1
      where ${IS_METERED} and ($1::uuid[] is null or s.subscription_id = any($1::uuid[]) and g.subscription_id = any($1::uuid[]))
        and ($2::text is null or s.state = $2) and ($3::uuid is null or s.subscription_id >= $3) and ($4::uuid is null or s.subscription_id < $4)
      order by s.subscription_id`,
    [
      filter.subscriptionIds ?? null,
      filter.state ?? null,
      filter.bucket === undefined ? null : bucketFrom(filter.bucket),
      filter.bucket === undefined ? null : bucketFrom(filter.bucket + 1),
    ],
  );
  return rows.map((r) => ({
    subscriptionId: r.subscription_id,
    tenantId: r.tenant_id,
    marketplace: r.marketplace,
    externalSubscriptionId: r.external_subscription_id,
    state: r.state,
    marketplaceRefs: r.marketplace_refs,
    startedAt: r.started_at,
    endedAt: r.ended_at,
    goesOn: r.goes_on,
  }));
}

export async function readPlanVersions(tx: Tx, ids: string[]): Promise<Map<string, PlanVersion>> {
  const rows = await tx.query<{ plan_version_id: string; document: PlanVersion }>(
    'select plan_version_id, document from plan_versions where plan_version_id = any($1::uuid[])',
    [[...new Set(ids)]],
  );
  return new Map(rows.map((r) => [r.plan_version_id, r.document]));
}

/** The meters that purchases count by, those that ended too, each once; `sold`: also those of the newest version of each plan. */
export const readMeters = (tx: Pick<Tx, 'query'>, { sold }: { sold: boolean }): Promise<MeterIdentity[]> =>
  tx.query<MeterIdentity>(
    `with newest as (select distinct on (marketplace, external_offer_id, external_plan_id) plan_version_id from plan_versions
                      order by marketplace, external_offer_id, external_plan_id, version desc)
     select distinct m ->> 'meter' as meter, m ->> 'metric' as metric, m ->> 'kind' as kind, m ->> 'source' as source
       from plan_versions cross join jsonb_array_elements(document -> 'meters') m
      where plan_version_id in (select plan_version_id from segments union select plan_version_id from subscriptions)
         or $1 and plan_version_id in (select plan_version_id from newest) order by 1, 2, 3, 4`,
    [sold],
  );
