import type { HourSegment, MeterHour, Quality, Sample, StreamState } from './types.js';
import { maxOf, minOf, US_PER_MINUTE } from './units.js';

export const SAMPLE_EVERY = 5n * US_PER_MINUTE;
/** A value is carried over at most two missed samples (money.md "When it closes"). */
export const CARRY_LIMIT = 3n * SAMPLE_EVERY;
export const NO_SEGMENT = '';

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

export type MeterSpan = Pick<MeterHour, 'kind' | 'source' | 'hourStart' | 'endedAt' | 'watermark'>;

/** One addition of a measurement, as it was made: all of them together are the measure. */
export interface MeasureLine {
  stream: string;
  /** '' is time outside every segment. */
  segmentId: string;
  from: bigint;
  to: bigint;
  /**
   * Gauge: the value that held. Counter: what was counted between the two samples, before it was split at cuts. `sum`: the sample's
   * own amount. `max` and `latest`: the total of all streams (`stream` is '' then), and `amount` what it adds to the hour.
   */
  value: bigint;
  amount: bigint;
  kind: 'measured' | 'estimated' | 'gap';
}
export type Trace = (line: Omit<MeasureLine, 'stream'>) => void;
/** The hour that is measured, and where its amounts come together. */
export interface Measuring {
  meter: MeterSpan;
  segments: HourSegment[];
  /** Of the hour, or of the purchase in it. */
  end: bigint;
  slot: (segmentId: string) => Measured;
  /** Hears of time for which no value of a stream is known, in microseconds. */
  onGap: (us: bigint) => void;
}

const byTime = (a: Sample, b: Sample): number =>
  a.at !== b.at ? (a.at < b.at ? -1 : 1) : a.sequence < b.sequence ? -1 : a.sequence > b.sequence ? 1 : 0;
/** Samples by time and number. They mostly are already, and are then taken as they are. */
export const inOrder = (samples: readonly Sample[]): readonly Sample[] =>
  samples.every((s, i) => i === 0 || byTime(samples[i - 1]!, s) <= 0) ? samples : [...samples].sort(byTime);

export const segmentAt = (at: bigint, segments: HourSegment[]): string =>
  segments.find((s) => s.startsAt <= at && (s.endsAt === null || at < s.endsAt))?.segmentId ?? NO_SEGMENT;

/** Splits a stretch of time at the cuts; time outside all segments comes under ''. */
export function bySegment(from: bigint, to: bigint, segments: HourSegment[]): { segmentId: string; from: bigint; us: bigint }[] {
  if (to <= from) return [];
  const only = segments.length === 1 ? segments[0]! : null;
  if (only && only.startsAt <= from && (only.endsAt === null || to <= only.endsAt))
    return [{ segmentId: only.segmentId, from, us: to - from }];
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
