import { arrayText, type Tx } from '#platform';
import { CARRY_LIMIT } from '../domain/measure-parts.js';
import type { Opening, Sample, StreamSamples, StreamState } from '../domain/types.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { instantText, maxOf, minOf, US_PER_HOUR } from '../domain/units.js';
import type { BindingsOf, PurchaseBinding } from './purchase-bindings.sql.js';
import type { SeriesRow } from './series.sql.js';
import { us } from './us.js';

type Gathered = Pick<SeriesRow, 'subscriptionId' | 'metric' | 'source' | 'endedAt'> & Partial<Pick<SeriesRow, 'opening'>>;

export const keyOf = (subscriptionId: string, meter: string): string => `${subscriptionId}/${meter}`;

/**
 * Samples as one text, a line each: microseconds since $1 (a difference of hours is exact as a double), value, sequence, epoch.
 * An epoch is printable text (intake), so it holds no line end; it comes last since it may hold spaces. None of them is ever null, so
 * `||` will do, which costs a third less than `concat`.
 */
const LINES = `string_agg((date_part('epoch', e.occurred_at - $1::timestamptz) * 1000000)::bigint || ' ' || e.value || ' ' || e.sequence || ' ' || e.epoch, e'\n'
            order by e.occurred_at, e.sequence, e.event_id) as lines`;
// Stated on the partition key by itself, so that only the days that count are planned for.
const SPAN = 'e.occurred_at >= $1::timestamptz and e.occurred_at <= $2::timestamptz and ($3::timestamptz is null or e.received_at <= $3)';

/**
 * The samples of one hour for many series, read as one row per series and placement. The sample on the hour's end comes along: it
 * belongs to this hour if a cut lies there. Samples are made of a row when its series is asked for: those of thousands of series
 * would otherwise live until the last of them is closed.
 */
export class SamplesOfHour {
  private readonly bySeries = new Map<Gathered, (() => StreamSamples)[]>();
  private constructor() {}

  /** `receivedBy`: what was known then; later samples are left out. For looking back; a closing takes what is there. */
  static async gather(
    tx: Tx,
    series: readonly Gathered[],
    bindings: BindingsOf,
    hour: bigint,
    receivedBy: Date | null = null,
  ): Promise<SamplesOfHour> {
    const gathered = new SamplesOfHour();
    const push: Push = (one, make) => {
      const known = gathered.bySeries.get(one);
      if (known) known.push(make);
      else gathered.bySeries.set(one, [make]);
    };
    const engine = series.filter((s) => s.source === 'engine');
    if (engine.length > 0) await gatherOurs(tx, engine, hour, receivedBy, push);
    const cell = series.filter((s) => s.source === 'cell');
    if (cell.length > 0) await gatherReported(tx, cell, bindings, hour, receivedBy, push);
    return gathered;
  }

  /** Of a series as it was given: streams by placement, then by when they began. */
  of(series: Gathered): StreamSamples[] {
    return (this.bySeries.get(series) ?? []).map((make) => make());
  }
}

type Push = (series: Gathered, make: () => StreamSamples) => void;

/** The last sample of an ended subscription comes a little after its end: it closes the final delta. */
function upTo(s: Gathered, hour: bigint): bigint {
  const hourEnd = hour + US_PER_HOUR;
  return s.endedAt !== null && s.endedAt <= hourEnd ? maxOf(hourEnd, s.endedAt + CARRY_LIMIT) : hourEnd;
}

async function gatherOurs(tx: Tx, series: Gathered[], hour: bigint, receivedBy: Date | null, push: Push): Promise<void> {
  const ends = series.map((s) => upTo(s, hour));
  const rows = await tx.query<{ n: number; placement_id: string; lines: string }>(
    `select k.n::int, e.placement_id, ${LINES}
       from unnest($4::uuid[], $5::text[], $6::timestamptz[]) with ordinality as k(sub, metric, up_to, n)
       join usage_events e on e.subscription_id = k.sub and e.metric = k.metric and e.source = '${ENGINE_SOURCE}' and ${SPAN} and e.occurred_at <= k.up_to
      group by k.n, e.placement_id order by e.placement_id`,
    [
      instantText(hour),
      instantText(ends.reduce(maxOf)),
      receivedBy,
      arrayText(series.map((s) => s.subscriptionId)),
      arrayText(series.map((s) => s.metric)),
      arrayText(ends.map(instantText)),
    ],
  );
  for (const { n, placement_id: stream, lines } of rows)
    push(series[n - 1]!, () => {
      const samples = samplesOf(lines, hour);
      return { stream, from: samples[0]!.at, until: null, baseline: null, samples };
    });
}

/** What a placement told of a series while it was bound to its purchase. */
interface Stream {
  stream: string;
  series: Gathered;
  binding: PurchaseBinding;
  from: bigint;
  /** The first and the last instant whose samples are wanted. */
  since: bigint;
  upTo: bigint;
}

function streamsOf(series: Gathered[], bindings: BindingsOf, hour: bigint): Stream[] {
  const streams: Stream[] = [];
  for (const s of series)
    for (const binding of bindings.get(s.subscriptionId) ?? []) {
      const [from, until] = [BigInt(binding.from), binding.until === null ? null : BigInt(binding.until)];
      if (from >= hour + US_PER_HOUR || (until !== null && until < hour)) continue;
      const end = upTo(s, hour);
      const stream = `${binding.placementId}@${binding.from}`;
      streams.push({ stream, series: s, binding, from, since: maxOf(hour, from), upTo: until === null ? end : minOf(end, until) });
    }
  return streams;
}

/**
 * What a cell reported is of the purchase that its placement was bound to at that time, whoever it was stored for: a renewal
 * that is told late takes the samples since its start with it.
 */
async function gatherReported(
  tx: Tx,
  series: Gathered[],
  bindings: BindingsOf,
  hour: bigint,
  receivedBy: Date | null,
  push: Push,
): Promise<void> {
  const streams = streamsOf(series, bindings, hour);
  if (streams.length === 0) return;
  const rows = await tx.query<{ n: number; lines: string }>(
    `select k.n::int, e.lines
       from unnest($4::uuid[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[]) with ordinality as k(placement, metric, source, since, up_to, n)
      cross join lateral (select ${LINES} from usage_events e where e.placement_id = k.placement and e.metric = k.metric and e.source = k.source and ${SPAN}
                           and e.occurred_at >= k.since and e.occurred_at <= k.up_to) e
      where e.lines is not null`,
    [
      instantText(hour),
      instantText(streams.map((s) => s.upTo).reduce(maxOf)),
      receivedBy,
      arrayText(streams.map((s) => s.binding.placementId)),
      arrayText(streams.map((s) => s.series.metric)),
      arrayText(streams.map((s) => s.binding.source)),
      arrayText(streams.map((s) => instantText(s.since))),
      arrayText(streams.map((s) => instantText(s.upTo))),
    ],
  );
  const lines = new Map(rows.map((r) => [streams[r.n - 1]!, r.lines]));
  // A stream that an opening knows goes on from there: what was before its binding is not looked for.
  const baselines = await findBaselines(
    tx,
    streams.filter((s) => !s.series.opening?.streams[s.stream]),
    receivedBy,
  );
  for (const s of streams) {
    const until = s.binding.until ?? s.binding.held;
    push(s.series, () => ({
      stream: s.stream,
      from: s.from,
      until: until === null ? null : BigInt(until),
      baseline: baselines.get(s) ?? null,
      samples: samplesOf(lines.get(s), hour),
    }));
  }
}

/** Where a placement served another purchase before: what was last reported until its binding began. */
async function findBaselines(tx: Tx, streams: readonly Stream[], receivedBy: Date | null): Promise<Map<Stream, StreamState>> {
  if (streams.length === 0) return new Map();
  const rows = await tx.query<{ n: number; at: string; value: string; epoch: string; sequence: string }>(
    `select k.n::int, ${us('p.occurred_at')} as at, p.value::text, p.epoch, p.sequence::text
       from unnest($1::uuid[], $2::text[], $3::timestamptz[]) with ordinality as k(placement, metric, since, n)
       cross join lateral (select * from usage_events e where e.placement_id = k.placement and e.metric = k.metric and e.occurred_at <= k.since and ($4::timestamptz is null or e.received_at <= $4)
                            and e.occurred_at > k.since - case e.kind when 'counter' then interval '35 days' else interval '${CARRY_LIMIT / 1_000_000n} seconds' end
                          order by e.occurred_at desc, e.sequence desc limit 1) p`,
    [
      arrayText(streams.map((s) => s.binding.placementId)),
      arrayText(streams.map((s) => s.series.metric)),
      arrayText(streams.map((s) => instantText(s.from))),
      receivedBy,
    ],
  );
  return new Map(
    rows.map((r) => [streams[r.n - 1]!, { at: BigInt(r.at), value: BigInt(r.value), epoch: r.epoch, sequence: BigInt(r.sequence) }]),
  );
}

function samplesOf(lines: string | undefined, hour: bigint): Sample[] {
  if (lines === undefined) return [];
  return lines.split('\n').map((line) => {
    const value = line.indexOf(' ');
    const sequence = line.indexOf(' ', value + 1);
    const epoch = line.indexOf(' ', sequence + 1);
    return {
      at: hour + BigInt(line.slice(0, value)),
      value: BigInt(line.slice(value + 1, sequence)),
      sequence: BigInt(line.slice(sequence + 1, epoch)),
      epoch: line.slice(epoch + 1),
    };
  });
}

/** An engine stream that was silent in this hour goes on from the opening. */
export function withSilentStreams(source: SeriesRow['source'], opening: Opening, streams: StreamSamples[]): StreamSamples[] {
  if (source !== 'engine') return streams;
  const known = new Map(streams.map((s) => [s.stream, s]));
  const all = new Set([...known.keys(), ...Object.keys(opening.streams)]);
  return [...all].sort().map((stream) => {
    const before = opening.streams[stream];
    const now = known.get(stream);
    return { stream, from: before?.at ?? now!.from, until: null, baseline: null, samples: now?.samples ?? [] };
  });
}
