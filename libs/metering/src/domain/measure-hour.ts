import type { HourSegment, MeterHour, Quality, Sample, StreamSamples, StreamState } from './types.js';
import { maxOf, minOf, US_PER_HOUR, US_PER_MINUTE } from './units.js';

export const SAMPLE_EVERY = 5n * US_PER_MINUTE;
/** A value is carried over at most two missed samples (money.md "When it closes"). */
export const CARRY_LIMIT = 3n * SAMPLE_EVERY;
const NO_SEGMENT = '';

export interface Measured {
  measured: bigint;
  estimated: bigint;
  quality: Quality;
}
export interface HourMeasure {
  /** By segment id; '' is time outside every segment. */
  bySegment: Map<string, Measured>;
  streams: Record<string, StreamState>;
  /** Microseconds for which no value was known, over all streams. */
  gapUs: bigint;
  quality: Quality;
}

type MeterSpan = Pick<MeterHour, 'kind' | 'source' | 'hourStart' | 'endedAt' | 'watermark'>;

/** One addition of a measurement, as it was made: all of them together are the measure. */
export interface MeasureLine {
  stream: string;
  /** '' is time outside every segment. */
  segmentId: string;
  from: bigint;
  to: bigint;
  /** Gauge: the value that held. Counter: what was counted between the two samples, before it was split at cuts. */
  value: bigint;
  amount: bigint;
  kind: 'measured' | 'estimated' | 'gap';
}
type Trace = (line: Omit<MeasureLine, 'stream'>) => void;

/** The raw part of an hour: what the samples say, attributed to segments; no price rule in it. `trace` hears every addition. */
export function measureHour(
  meter: MeterSpan,
  segments: HourSegment[],
  opening: Record<string, StreamState>,
  samples: StreamSamples[],
  trace?: (line: MeasureLine) => void,
): HourMeasure {
  const hourEnd = meter.hourStart + US_PER_HOUR;
  const end = meter.endedAt === null ? hourEnd : minOf(hourEnd, meter.endedAt);
  const behind = meter.watermark !== null && meter.watermark < end;
  const result: HourMeasure = { bySegment: new Map(), streams: { ...opening }, gapUs: 0n, quality: 'measured' };
  const slot = (id: string): Measured => {
    let s = result.bySegment.get(id);
    if (!s) result.bySegment.set(id, (s = { measured: 0n, estimated: 0n, quality: behind ? 'estimated' : 'measured' }));
    return s;
  };
  for (const s of segments) if (s.startsAt < end && (s.endsAt ?? end) > meter.hourStart) slot(s.segmentId);
  for (const stream of samples) {
    const state = opening[stream.stream] ?? null;
    // Without a listener nothing is made for it: this runs for every sample of the house.
    const tell: Trace | undefined = trace && ((line) => trace({ stream: stream.stream, ...line }));
    const last =
      meter.kind === 'counter'
        ? counterStream(stream, state, segments, meter, end, slot, tell)
        : gaugeStream(stream, state, segments, meter, end, slot, tell, (us) => (result.gapUs += us));
    if (last) result.streams[stream.stream] = last;
    // A stream that has left the subscription hands nothing to later hours.
    if (stream.until !== null && stream.until <= end) delete result.streams[stream.stream];
  }
  if (behind || [...result.bySegment.values()].some((s) => s.quality === 'estimated')) result.quality = 'estimated';
  return result;
}

const inOrder = (samples: Sample[]): Sample[] =>
  [...samples].sort((a, b) => (a.at !== b.at ? (a.at < b.at ? -1 : 1) : a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0));

/**
 * Left-step integral in byte-microseconds, split at hour edges and cuts: a value holds from its sample to the next one, over
 * at most two missed samples. What is carried inside a longer hole is `estimated`, the rest of the hole is billed nothing.
 * Our own events (`engine`) are known at once: their silence means no change.
 */
function gaugeStream(
  stream: StreamSamples,
  opening: StreamState | null,
  segments: HourSegment[],
  meter: MeterSpan,
  end: bigint,
  slot: (id: string) => Measured,
  tell: Trace | undefined,
  onGap: (us: bigint) => void,
): StreamState | null {
  const low = maxOf(meter.hourStart, stream.from);
  const high = stream.until === null ? end : minOf(end, stream.until);
  // Where the placement served another purchase before, the value it had goes on.
  const known = opening ?? stream.baseline;
  const points: (StreamState & { known: boolean })[] = [
    known ? { ...known, known: true } : { at: stream.from, value: 0n, epoch: '', sequence: -1n, known: false },
  ];
  for (const s of inOrder(stream.samples))
    if (s.at >= meter.hourStart && s.at < high && s.at >= stream.from) points.push({ ...s, known: true });
  const piece = (from: bigint, to: bigint, value: bigint, kind: MeasureLine['kind'], visit: (s: Measured, us: bigint) => void): void => {
    for (const part of bySegment(maxOf(from, low), minOf(to, high), segments)) {
      visit(slot(part.segmentId), part.us);
      tell?.({
        segmentId: part.segmentId,
        from: part.from,
        to: part.from + part.us,
        value,
        amount: kind === 'gap' ? 0n : value * part.us,
        kind,
      });
    }
  };
  points.forEach((point, i) => {
    const next = i + 1 < points.length ? points[i + 1]!.at : high;
    if (next <= low) return;
    const hole = meter.source === 'cell' && next - point.at > CARRY_LIMIT;
    const carried = hole ? point.at + SAMPLE_EVERY : next;
    if (point.known) {
      piece(point.at, carried, point.value, 'measured', (s, us) => (s.measured += point.value * us));
      if (hole)
        piece(carried, point.at + CARRY_LIMIT, point.value, 'estimated', (s, us) => {
          s.estimated += point.value * us;
          s.quality = 'estimated';
        });
    }
    if (hole)
      piece(point.at + CARRY_LIMIT, next, point.value, 'gap', (s, us) => {
        s.quality = 'estimated';
        onGap(us);
      });
  });
  const last = points.at(-1)!;
  return last.known ? { at: last.at, value: last.value, epoch: last.epoch, sequence: last.sequence } : null;
}

/**
 * Counter deltas. A delta whose two samples lie on both sides of a cut is split by time, exactly (the parts add up to it);
 * a sample at the very instant of a cut closes the old segment. At the end of the subscription access has ended and a last
 * sample was taken: the delta it closes is split the same way, what came after the cut is outside every segment. Without this
 * the minutes before each end would be lost unseen. A new epoch starts from 0; a fall inside an epoch bills nothing and marks
 * the hour (provisioning §5.2: never a negative bill).
 */
function counterStream(
  stream: StreamSamples,
  opening: StreamState | null,
  segments: HourSegment[],
  meter: MeterSpan,
  end: bigint,
  slot: (id: string) => Measured,
  tell: Trace | undefined,
): StreamState | null {
  let last = opening ?? stream.baseline;
  const isCut = (at: bigint): boolean => segments.some((s) => s.endsAt === at && s.startsAt < at && at > meter.hourStart);
  const ends = meter.endedAt === end;
  let final = false;
  for (const s of inOrder(stream.samples)) {
    if (final || s.at < stream.from || (stream.until !== null && s.at > stream.until)) continue;
    // The sample at the end of the hour belongs to the next one, unless a cut or the end of the subscription is there.
    const inside = s.at < end || (s.at === end && (ends || isCut(s.at)));
    if (s.at < meter.hourStart || (!inside && !(ends && s.at - end <= CARRY_LIMIT))) continue;
    if (last && (s.at < last.at || (s.at === last.at && s.sequence <= last.sequence))) continue; // counted at the cut
    if (last && s.epoch === last.epoch && s.value < last.value) slot(segmentAt(s.at, segments)).quality = 'estimated';
    else
      share(
        maxOf(last?.at ?? stream.from, meter.hourStart),
        s.at,
        last && s.epoch === last.epoch ? s.value - last.value : s.value,
        segments,
        slot,
        tell,
      );
    last = { at: s.at, value: s.value, epoch: s.epoch, sequence: s.sequence };
    final = ends && s.at >= end;
  }
  return last;
}

/** Splits an amount over a stretch of time at the cuts; floors, the last part takes the rest. */
function share(
  from: bigint,
  to: bigint,
  amount: bigint,
  segments: HourSegment[],
  slot: (id: string) => Measured,
  tell: Trace | undefined,
): void {
  // Credentials are handed out when the purchase serves: time before the first segment can have used nothing.
  const begins = segments.reduce<bigint | null>((first, x) => (first === null || x.startsAt < first ? x.startsAt : first), null);
  const parts = bySegment(begins !== null && begins < to ? maxOf(from, begins) : from, to, segments);
  if (parts.length === 0) parts.push({ segmentId: segmentAt(to, segments), from, us: 1n });
  const whole = parts.reduce((sum, p) => sum + p.us, 0n);
  let rest = amount;
  parts.forEach((p, i) => {
    const part = i === parts.length - 1 ? rest : (amount * p.us) / whole;
    rest -= part;
    slot(p.segmentId).measured += part;
    tell?.({ segmentId: p.segmentId, from: p.from, to: p.from === to ? to : p.from + p.us, value: amount, amount: part, kind: 'measured' });
  });
}

const segmentAt = (at: bigint, segments: HourSegment[]): string =>
  segments.find((s) => s.startsAt <= at && (s.endsAt === null || at < s.endsAt))?.segmentId ?? NO_SEGMENT;

/** Splits a stretch of time at the cuts; time outside all segments comes under ''. */
export function bySegment(from: bigint, to: bigint, segments: HourSegment[]): { segmentId: string; from: bigint; us: bigint }[] {
  if (to <= from) return [];
  const parts: { segmentId: string; from: bigint; us: bigint }[] = [];
  let inside = 0n;
  for (const s of segments) {
    const us = minOf(to, s.endsAt ?? to) - maxOf(from, s.startsAt);
    if (us <= 0n) continue;
    parts.push({ segmentId: s.segmentId, from: maxOf(from, s.startsAt), us });
    inside += us;
  }
  if (inside < to - from) {
    const [first, last] = [parts[0], parts.at(-1)];
    parts.push({ segmentId: NO_SEGMENT, from: !first || !last || first.from > from ? from : last.from + last.us, us: to - from - inside });
  }
  return parts;
}
