import { arrayText, type Tx } from '#platform';
import { CARRY_LIMIT } from '../domain/measure-parts.js';
import type { Opening, Sample, StreamSamples, StreamState } from '../domain/types.js';
import { ENGINE_SOURCE } from '../domain/usage-event.js';
import { instantText, maxOf, US_PER_HOUR } from '../domain/units.js';
import type { SeriesRow } from './series.sql.js';
import { us } from './us.js';

type Gathered = Pick<SeriesRow, 'subscriptionId' | 'meter' | 'metric' | 'source' | 'endedAt'> & Partial<Pick<SeriesRow, 'opening'>>;

export const keyOf = (subscriptionId: string, meter: string): string => `${subscriptionId}/${meter}`;

/**
 * Samples as one text, a line each: microseconds since $1 (a difference of hours is exact as a double), value, sequence, epoch.
 * An epoch is printable text (intake), so it holds no line end; it comes last since it may hold spaces.
 */
const LINES = `string_agg(concat((date_part('epoch', e.occurred_at - $1::timestamptz) * 1000000)::bigint, ' ', e.value, ' ', e.sequence, ' ', e.epoch), e'\n'
            order by e.occurred_at, e.sequence, e.event_id) as lines`;
// Stated on the partition key by itself, so that only the days that count are planned for.
const SPAN = 'e.occurred_at >= $1::timestamptz and e.occurred_at <= $2::timestamptz and ($3::timestamptz is null or e.received_at <= $3)';

/**
 * The samples of one hour for many series: one row per series and placement. The sample on the hour's end comes along: it
 * belongs to this hour if a cut lies there.
 */
export async function gatherSamples(
  tx: Tx,
  series: Gathered[],
  hour: bigint,
  /** What was known then: later samples are left out. For looking back; a closing takes what is there. */
  receivedBy: Date | null = null,
): Promise<Map<string, StreamSamples[]>> {
  const out = new Map<string, StreamSamples[]>();
  const push = (subscriptionId: string, meter: string, s: StreamSamples): void => {
    const key = keyOf(subscriptionId, meter);
    const known = out.get(key);
    if (known) known.push(s);
    else out.set(key, [s]);
  };
  const engine = series.filter((s) => s.source === 'engine');
  if (engine.length > 0) await gatherOurs(tx, engine, hour, receivedBy, push);
  const cell = series.filter((s) => s.source === 'cell');
  if (cell.length > 0) await gatherReported(tx, cell, hour, receivedBy, push);
  return out;
}

type Push = (subscriptionId: string, meter: string, s: StreamSamples) => void;

/** The last sample of an ended subscription comes a little after its end: it closes the final delta. */
function upTo(s: Gathered, hour: bigint): bigint {
  const hourEnd = hour + US_PER_HOUR;
  return s.endedAt !== null && s.endedAt <= hourEnd ? maxOf(hourEnd, s.endedAt + CARRY_LIMIT) : hourEnd;
}

/** Parameters $1 to $7: the span, what was known, and a row per series (`k`) with how far its own span goes. */
function spanOf(series: Gathered[], hour: bigint, receivedBy: Date | null): unknown[] {
  const ends = series.map((s) => upTo(s, hour));
  const last = ends.reduce(maxOf);
  return [
    instantText(hour),
    instantText(last),
    receivedBy,
    arrayText(series.map((s) => s.subscriptionId)),
    arrayText(series.map((s) => s.meter)),
    arrayText(series.map((s) => s.metric)),
    arrayText(ends.map(instantText)),
  ];
}
const K = 'unnest($4::uuid[], $5::text[], $6::text[], $7::timestamptz[]) as k(sub, meter, metric, up_to)';

async function gatherOurs(tx: Tx, series: Gathered[], hour: bigint, receivedBy: Date | null, push: Push): Promise<void> {
  const rows = await tx.query<{ subscription_id: string; meter: string; placement_id: string; lines: string }>(
    `select k.sub as subscription_id, k.meter, e.placement_id, ${LINES}
       from ${K} join usage_events e on e.subscription_id = k.sub and e.metric = k.metric and e.source = '${ENGINE_SOURCE}' and ${SPAN} and e.occurred_at <= k.up_to
      group by k.sub, k.meter, e.placement_id order by e.placement_id`,
    spanOf(series, hour, receivedBy),
  );
  for (const r of rows) {
    const samples = samplesOf(r.lines, hour);
    push(r.subscription_id, r.meter, { stream: r.placement_id, from: samples[0]!.at, until: null, baseline: null, samples });
  }
}

/**
 * What a cell reported is of the purchase that its placement was bound to at that time, whoever it was stored for: a renewal
 * that is told late takes the samples since its start with it.
 */
async function gatherReported(tx: Tx, series: Gathered[], hour: bigint, receivedBy: Date | null, push: Push): Promise<void> {
  const rows = await tx.query<{
    n: number;
    placement_id: string;
    from_us: string;
    until_us: string | null;
    lines: string | null;
  }>(
    `select k.n::int, b.placement_id, ${us('b.valid_from')} as from_us, ${us('coalesce(b.valid_until, b.held_from)')} as until_us, e.lines
       from unnest($4::uuid[], $5::text[], $6::text[], $7::timestamptz[]) with ordinality as k(sub, meter, metric, up_to, n)
       join usage_bindings b on b.subscription_id = k.sub and b.valid_from < $8::timestamptz and coalesce(b.valid_until, 'infinity') >= $1::timestamptz
       left join lateral (select ${LINES} from usage_events e where e.placement_id = b.placement_id and e.metric = k.metric and e.source = b.source and ${SPAN}
                           and e.occurred_at >= b.valid_from and e.occurred_at <= least(k.up_to, coalesce(b.valid_until, 'infinity'))) e on true
      order by b.placement_id, b.valid_from`,
    [...spanOf(series, hour, receivedBy), instantText(hour + US_PER_HOUR)],
  );
  const streams = rows.map((r) => ({ ...r, series: series[r.n - 1]!, stream: `${r.placement_id}@${r.from_us}` }));
  // A stream that an opening knows goes on from there: what was before its binding is not looked for.
  const baselines = await findBaselines(
    tx,
    streams.filter((s) => !s.series.opening?.streams[s.stream]),
    receivedBy,
  );
  for (const s of streams)
    push(s.series.subscriptionId, s.series.meter, {
      stream: s.stream,
      from: BigInt(s.from_us),
      until: s.until_us === null ? null : BigInt(s.until_us),
      baseline: baselines.get(`${s.stream} ${s.series.metric}`) ?? null,
      samples: samplesOf(s.lines, hour),
    });
}

/** Where a placement served another purchase before: what was last reported until its binding began. */
async function findBaselines(
  tx: Tx,
  streams: { stream: string; placement_id: string; from_us: string; series: Gathered }[],
  receivedBy: Date | null,
): Promise<Map<string, StreamState>> {
  if (streams.length === 0) return new Map();
  const rows = await tx.query<{ n: number; at: string; value: string; epoch: string; sequence: string }>(
    `select k.n::int, ${us('p.occurred_at')} as at, p.value::text, p.epoch, p.sequence::text
       from unnest($1::uuid[], $2::text[], $3::timestamptz[]) with ordinality as k(placement, metric, since, n)
       cross join lateral (select * from usage_events e where e.placement_id = k.placement and e.metric = k.metric and e.occurred_at <= k.since and ($4::timestamptz is null or e.received_at <= $4)
                            and e.occurred_at > k.since - case e.kind when 'counter' then interval '35 days' else interval '${CARRY_LIMIT / 1_000_000n} seconds' end
                          order by e.occurred_at desc, e.sequence desc limit 1) p`,
    [
      arrayText(streams.map((s) => s.placement_id)),
      arrayText(streams.map((s) => s.series.metric)),
      arrayText(streams.map((s) => instantText(BigInt(s.from_us)))),
      receivedBy,
    ],
  );
  const found = new Map<string, StreamState>();
  for (const r of rows) {
    const s = streams[r.n - 1]!;
    found.set(`${s.stream} ${s.series.metric}`, { at: BigInt(r.at), value: BigInt(r.value), epoch: r.epoch, sequence: BigInt(r.sequence) });
  }
  return found;
}

function samplesOf(lines: string | null, hour: bigint): Sample[] {
  if (lines === null) return [];
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
