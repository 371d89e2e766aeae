import { ProblemError, type Tx } from '#platform';
import type { SampleKind } from '#entitlements';
import { fromUs, hourOf, instantText, ofUnit } from '../domain/units.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import type { MeteringDeps } from './deps.js';
import { explainHourOf, explainRecord, type ExplainedSample, type Explanation } from './explain.js';

/** What became of one raw event in one hour of one series. */
export interface Trace {
  meter: string;
  hour: Date;
  /** `open`: the hour is not closed; `late`: it was closed before the event came; `counted`: it is in the hour's measure. */
  state: 'open' | 'late' | 'counted';
  words: string;
  explanation: Explanation | null;
  /** Where its amount is after what was too small to send was carried on: the next record of the segment. */
  nextRecordId: string | null;
}
export interface EventTrace extends ExplainedSample {
  metric: string;
  subscriptionId: string | null;
  traces: Trace[];
}
export type Explained = { found: 'record' | 'receipt'; explanations: Explanation[] } | { found: 'event'; events: EventTrace[] };

export interface ExplainQuery {
  /** A receipt of a marketplace, or the id of a raw event. */
  of: string;
  source?: string;
  /** Day (UTC) of the event, where its source is not one we know. */
  day?: string;
}

/** From a receipt to its samples, or from a raw event to its records and receipts. */
export async function explainAny(tx: Tx, deps: MeteringDeps, q: ExplainQuery): Promise<Explained> {
  const records = await tx.query<{ record_id: string }>(
    'select record_id from submission_items where receipt = $1 order by record_id limit 50',
    [q.of],
  );
  if (records.length > 0) {
    const explanations: Explanation[] = [];
    for (const r of records) explanations.push(await explainRecord(tx, deps, r.record_id));
    return { found: 'receipt', explanations };
  }
  const events = await findEvents(tx, q);
  if (events.length === 0)
    throw new ProblemError(
      'not_found',
      'explain.nothing_found',
      'No receipt and no event of a known source has this id. For an event of an import, give its source and its day (UTC) too.',
    );
  const out: EventTrace[] = [];
  for (const e of events) out.push(await traceEvent(tx, deps, e));
  return { found: 'event', events: out };
}

interface EventRow {
  source: string;
  event_id: string;
  at_us: string;
  subscription_id: string;
  placement_id: string;
  metric: string;
  kind: SampleKind;
  value: string;
  epoch: string;
  sequence: string;
  received_at: Date;
}

/** By the key they are stored under; an import's poster is not known, so that one needs its day. */
function findEvents(tx: Tx, q: ExplainQuery): Promise<EventRow[]> {
  const columns = `e.source, e.event_id, (extract(epoch from e.occurred_at) * 1000000)::bigint::text as at_us, e.subscription_id, e.placement_id, e.metric, e.kind, e.value::text, e.epoch, e.sequence::text, e.received_at`;
  if (q.day)
    return tx.query<EventRow>(
      `select ${columns} from usage_events e where e.event_id = $1 and ($2::text is null or e.source = $2) and e.occurred_at >= $3::timestamptz and e.occurred_at < $3::timestamptz + interval '1 day' limit 50`,
      [q.of, q.source ?? null, `${q.day}T00:00:00Z`],
    );
  return tx.query<EventRow>(
    `select ${columns} from (select principal, source from usage_sources union select 'engine', $3::text) s
       join usage_events e on e.principal = s.principal and e.source = s.source and e.event_id = $1 where $2::text is null or e.source = $2 limit 50`,
    [q.of, q.source ?? null, ENGINE_SOURCE],
  );
}

async function traceEvent(tx: Tx, deps: MeteringDeps, e: EventRow): Promise<EventTrace> {
  const at = BigInt(e.at_us);
  // A cell's sample is usage of the purchase its placement was bound to then, whoever it was stored for; at a boundary of two.
  const owners =
    e.source === ENGINE_SOURCE
      ? [{ subscription_id: e.subscription_id }]
      : await tx.query<{ subscription_id: string }>(
          `select distinct subscription_id from usage_bindings where placement_id = $1 and valid_from <= $2::timestamptz and coalesce(valid_until, held_from, 'infinity') >= $2::timestamptz`,
          [e.placement_id, instantText(at)],
        );
  const series = await tx.query<{ subscription_id: string; meter: string }>(
    'select subscription_id, meter from series where subscription_id = any($1::uuid[]) and metric = $2 order by 1, 2',
    [owners.map((o) => o.subscription_id), e.metric],
  );
  // The sample on the edge closes what led up to it (a counter's last) and begins what follows.
  const hours = [...new Set([hourOf(at - 1n), hourOf(at)])];
  const traces: Trace[] = [];
  for (const s of series) for (const hour of hours) traces.push(...(await traceHour(tx, deps, e, { ...s, hour, at })));
  const first = traces.find((t) => t.hour.getTime() === fromUs(hourOf(at)).getTime());
  return {
    source: e.source,
    eventId: e.event_id,
    placementId: e.placement_id,
    at: instantText(at),
    value: e.value,
    epoch: e.epoch,
    sequence: e.sequence,
    receivedAt: e.received_at,
    metric: e.metric,
    subscriptionId: owners[0]?.subscription_id ?? null,
    traces: traces.filter((t) => t === first || t.state === 'counted' || t.hour.getTime() === fromUs(hourOf(at)).getTime()),
  };
}

async function traceHour(
  tx: Tx,
  deps: MeteringDeps,
  e: EventRow,
  q: { subscription_id: string; meter: string; hour: bigint; at: bigint },
): Promise<Trace[]> {
  const [closing] = await tx.query<{ closed_at: Date }>(
    'select closed_at from hour_closings where subscription_id = $1 and meter = $2 and hour = $3::timestamptz',
    [q.subscription_id, q.meter, instantText(q.hour)],
  );
  const base = { meter: q.meter, hour: fromUs(q.hour) };
  if (!closing)
    return q.hour === hourOf(q.at)
      ? [
          {
            ...base,
            state: 'open',
            words: 'The hour is not closed yet: nothing has been billed of it.',
            explanation: null,
            nextRecordId: null,
          },
        ]
      : [];
  const segments = await tx.query<{ segment_id: string }>(
    'select distinct segment_id from ledger_entries where subscription_id = $1 and meter = $2 and hour = $3::timestamptz and segment_id is not null',
    [q.subscription_id, q.meter, instantText(q.hour)],
  );
  const traces: Trace[] = [];
  for (const { segment_id: segmentId } of segments) {
    const x = await explainHourOf(tx, deps, { subscriptionId: q.subscription_id, meter: q.meter, hour: q.hour, segmentId });
    if (!x) continue;
    const inIt = x.samples.some((s) => s.eventId === e.event_id && s.source === e.source);
    const mine = x.lines.filter((l) => l.segmentId === segmentId);
    const touches = mine.some((l) => (e.kind === 'gauge' ? l.from === q.at : l.to === q.at || l.from === q.at));
    // A level is set by one moment of the hour; all its samples were looked at for that.
    const level = x.terms.kind === 'max' || x.terms.kind === 'latest';
    if (inIt && !touches && segments.length > 1 && !(level && mine.length > 0)) continue;
    if (!inIt && q.hour !== hourOf(q.at)) continue;
    traces.push({
      ...base,
      state: inIt ? 'counted' : 'late',
      words: inIt ? `${level ? levelWords(touches) : ''}${countedWords(x)}` : lateWords(x, closing.closed_at),
      explanation: x,
      nextRecordId: x.record ? null : await nextRecord(tx, q.subscription_id, q.meter, segmentId, x.hour),
    });
  }
  return traces;
}

const levelWords = (sets: boolean): string =>
  sets ? 'The amount of its hour was set by it. ' : 'It was looked at; the amount of its hour was set by another moment. ';

const countedWords = (x: Explanation): string =>
  x.record
    ? `It is part of record rec_${x.record.record_id}: ${ofUnit(x.record.quantity, x.record.listed_unit)}, ${x.submission?.receipt ? `receipt ${x.submission.receipt}` : `submission ${x.submission?.state ?? 'missing'}`}.`
    : 'It is measured in this hour, of which too little came together to be sent: the amount is carried into the next record.';

const lateWords = (x: Explanation, closedAt: Date): string =>
  `It came after its hour was closed at ${closedAt.toISOString()}. ${
    x.later.some((l) => l.term === 'adjustment')
      ? 'The hour was measured again and the difference went on as a correction (see below).'
      : 'It has changed nothing so far: it waits to be absorbed, or lies where a later sample already told the same.'
  }`;

async function nextRecord(tx: Tx, subscriptionId: string, meter: string, segmentId: string, hour: Date): Promise<string | null> {
  const [row] = await tx.query<{ record_id: string }>(
    'select record_id from usage_records where subscription_id = $1 and meter = $2 and segment_id = $3 and hour > $4 order by hour limit 1',
    [subscriptionId, meter, segmentId, hour],
  );
  return row?.record_id ?? null;
}
