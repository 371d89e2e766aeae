import { ProblemError, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { readSegments, readPlanVersions, type MeterTerms } from '#entitlements';
import { sentences } from '../domain/explain-words.js';
import type { MeasureLine } from '../domain/measure-parts.js';
import type { Step } from '../domain/explain-hour.js';
import { fromUs, instantText, toUs, US_PER_HOUR } from '../domain/units.js';
import { lookBack, type LookedBack } from '../infra/closed-hour.sql.js';
import { PriceBook, type Money } from '../infra/prices.sql.js';
import { DEFAULT_LINE_RATE } from './close-shard.js';
import { listCredits, type CreditRow } from './credits.js';
import type { MeteringDeps } from './deps.js';
import { lateOutcomeOf, type LateOutcome } from './resolve-lost.js';
import {
  listFindings,
  listSubmissions,
  listUsageRecords,
  type FindingRow,
  type SubmissionRow,
  type UsageRecordRow,
} from './read-models.js';

export interface ExplainedSample {
  source: string;
  eventId: string;
  placementId: string;
  at: string;
  value: string;
  epoch: string;
  sequence: string;
  receivedAt: Date;
}

/** One hour of one series and segment: from its samples to its receipt, or to what it handed on. */
export interface Explanation {
  subscriptionId: string;
  tenantId: string;
  marketplace: string;
  meter: string;
  segmentId: string;
  hour: Date;
  externalPlanId: string;
  terms: MeterTerms;
  closedAt: Date;
  record: UsageRecordRow | null;
  samples: ExplainedSample[];
  lines: MeasureLine[];
  steps: Step[];
  submission: SubmissionRow | null;
  /** How the submission ended, where no answer told it. */
  lateOutcome: LateOutcome | null;
  money: Money | null;
  sameInputs: boolean;
  differs: string[];
  later: LookedBack['later'];
  findings: FindingRow[];
  credits: CreditRow[];
  words: string[];
}

/** Operators only: a placement's earlier samples may be another tenant's. */
export async function explainRecord(tx: Tx, deps: MeteringDeps, recordId: string): Promise<Explanation> {
  const [record] = (await listUsageRecords(tx, { limit: 1, recordId })).items;
  if (!record) throw new ProblemError('not_found', 'usage_record.not_found', 'There is no such usage record.');
  const found = await explainHourOf(tx, deps, {
    subscriptionId: record.subscription_id,
    meter: record.meter,
    hour: toUs(record.hour),
    segmentId: record.segment_id,
  });
  if (!found) throw new ProblemError('conflict', 'usage_record.closing_missing', 'The closing of this hour is missing; run the sum law.');
  return found;
}

/** Null where the hour is not closed. */
export async function explainHourOf(
  tx: Tx,
  deps: MeteringDeps,
  q: { subscriptionId: string; meter: string; hour: bigint; segmentId: string },
): Promise<Explanation | null> {
  const hour = fromUs(q.hour);
  const [segment] = (await readSegments(tx, { subscriptionIds: [q.subscriptionId], from: new Date(0), to: new Date(8.64e15 / 4) })).filter(
    (s) => s.segmentId === q.segmentId,
  );
  const plan = segment && (await readPlanVersions(tx, [segment.planVersionId])).get(segment.planVersionId);
  const terms = plan?.meters.find((m) => m.meter === q.meter);
  if (!segment || !plan || !terms) return null;
  const marketplace = plan.marketplace as Marketplace;
  if (!deps.marketplaces.has(marketplace))
    throw new ProblemError(
      'not_found',
      'marketplace.not_configured',
      `The rules of ${marketplace} are not at hand, since this installation does not sell on it: give it the settings of ${marketplace} again to have the hour explained.`,
    );
  const record = await recordOf(tx, q, hour, terms.dimension);
  const back = await lookBack(tx, {
    ...q,
    record: record
      ? { quantity: record.quantity, baseQuantity: BigInt(record.base_quantity), quality: record.quality, parts: record.parts }
      : null,
    traits: deps.marketplaces.get(marketplace).usage,
    lineRate: deps.options?.lineRateBytesPerSecond ?? DEFAULT_LINE_RATE,
  });
  if (!back) return null;
  const submission = record ? await submissionOf(tx, record.record_id) : null;
  const lateOutcome = submission ? await lateOutcomeOf(tx, submission.item_id) : null;
  const book = await PriceBook.load(tx, [q.subscriptionId]);
  const money = record ? book.money(q.subscriptionId, terms.dimension, hour, record.quantity, segment.externalPlanId) : null;
  const samples = await eventsOf(tx, back, q.hour);
  return {
    subscriptionId: q.subscriptionId,
    tenantId: segment.tenantId,
    marketplace: plan.marketplace,
    meter: q.meter,
    segmentId: q.segmentId,
    hour,
    externalPlanId: segment.externalPlanId,
    terms,
    closedAt: back.closedAt,
    record,
    samples,
    lines: back.again.lines,
    steps: back.again.steps,
    submission,
    lateOutcome,
    money,
    sameInputs: back.sameInputs,
    differs: back.differs,
    later: back.later,
    findings: (await listFindings(tx, { limit: 500, subscriptionId: q.subscriptionId, hour })).items.filter(
      (f) => f.dimension === null || f.dimension === terms.dimension,
    ),
    credits: (await listCredits(tx, { limit: 500, after: null, subscriptionId: q.subscriptionId, hour })).items.filter(
      (c) => c.dimension === terms.dimension,
    ),
    words: sentences({
      hour: q.hour,
      kind: terms.kind,
      metric: terms.metric,
      meter: q.meter,
      plan: segment.externalPlanId,
      listedUnit: terms.listedUnit,
      basePerUnit: BigInt(terms.basePerUnit),
      samples: samples.length,
      // One whose binding ended as the hour began has told nothing of it.
      streams: back.streams.filter((one) => one.samples.length > 0 || one.until === null || one.until > q.hour).length,
      steps: back.again.steps,
      quantity: record?.quantity ?? null,
      parts: record?.parts ?? null,
      unsent: back.again.record?.unsent ?? null,
      attempts: submission?.attempts ?? [],
      late: lateOutcome && {
        ...lateOutcome,
        words: lateOutcome.evidence.words,
        from: lateOutcome.evidence.from,
        asOf: lateOutcome.evidence.asOf,
      },
      marketplace: plan.marketplace,
      money: money === null || money === 'price_unknown' ? money : { amount: money.amount, ...money.price },
      sameInputs: back.sameInputs,
      differs: back.differs,
      corrections: back.later.length,
    }),
  };
}

async function recordOf(
  tx: Tx,
  q: { subscriptionId: string; segmentId: string },
  hour: Date,
  dimension: string,
): Promise<UsageRecordRow | null> {
  const [row] = await tx.query<{ record_id: string }>(
    'select record_id from usage_records where subscription_id = $1 and segment_id = $2 and dimension = $3 and hour = $4',
    [q.subscriptionId, q.segmentId, dimension, hour],
  );
  return row ? (await listUsageRecords(tx, { limit: 1, recordId: row.record_id })).items[0]! : null;
}

async function submissionOf(tx: Tx, recordId: string): Promise<SubmissionRow | null> {
  const [row] = await tx.query<{ item_id: string }>('select item_id from submission_items where record_id = $1', [recordId]);
  return row ? ((await listSubmissions(tx, { limit: 1, itemId: row.item_id })).items[0] ?? null) : null;
}

/** The raw events behind the streams of an hour, by their ids. */
async function eventsOf(tx: Tx, back: LookedBack, hour: bigint): Promise<ExplainedSample[]> {
  // The sample on the hour's end is read for a cut that may lie there; without one it belongs to the next hour.
  const used = new Set(back.again.lines.flatMap((l) => (back.series.kind === 'counter' ? [`${l.stream}/${l.to}`] : [])));
  const wanted = back.streams.flatMap((s) =>
    s.samples
      .filter((x) => x.at < hour + US_PER_HOUR || used.has(`${s.stream}/${x.at}`))
      .map((x) => ({ placement: s.stream.split('@')[0]!, at: instantText(x.at), sequence: x.sequence })),
  );
  const rows = await tx.query<{
    source: string;
    event_id: string;
    placement_id: string;
    at_us: string;
    value: string;
    epoch: string;
    sequence: string;
    received_at: Date;
  }>(
    `select distinct e.source, e.event_id, e.placement_id, (extract(epoch from e.occurred_at) * 1000000)::bigint::text as at_us, e.value::text, e.epoch, e.sequence::text, e.received_at
       from unnest($1::uuid[], $2::timestamptz[], $3::numeric[]) as w(placement, at, seq)
       join usage_events e on e.placement_id = w.placement and e.metric = $4 and e.occurred_at = w.at and e.sequence = w.seq
      where e.occurred_at >= $5::timestamptz order by 3, 4, 7`,
    [
      wanted.map((w) => w.placement),
      wanted.map((w) => w.at),
      wanted.map((w) => w.sequence.toString()),
      back.series.metric,
      instantText(hour),
    ],
  );
  return rows.map((r) => ({
    source: r.source,
    eventId: r.event_id,
    placementId: r.placement_id,
    at: instantText(BigInt(r.at_us)),
    value: r.value,
    epoch: r.epoch,
    sequence: r.sequence,
    receivedAt: r.received_at,
  }));
}
