import { counterStream, sumStream } from './measure-counter.js';
import { gaugeStream } from './measure-gauge.js';
import { LevelHour } from './measure-level.js';
import type { HourMeasure, Measured, MeasureLine, Measuring, MeterSpan, Trace } from './measure-parts.js';
import type { HourSegment, StreamSamples, StreamState } from './types.js';
import { minOf, US_PER_HOUR } from './units.js';

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
  const hour: Measuring = { meter, segments, end, slot, onGap: (us) => (result.gapUs += us) };
  const level = meter.kind === 'max' || meter.kind === 'latest' ? new LevelHour(meter.kind, hour) : null;
  for (const stream of samples) {
    const state = opening[stream.stream] ?? null;
    // Without a listener nothing is made for it: this runs for every sample of the house.
    const tell: Trace | undefined = trace && ((line) => trace({ stream: stream.stream, ...line }));
    let last: StreamState | null = null;
    if (level) last = level.add(stream, state);
    else if (meter.kind === 'counter') last = counterStream(stream, state, hour, tell);
    else if (meter.kind === 'sum') sumStream(stream, hour, tell);
    else last = gaugeStream(stream, state, hour, tell);
    if (last) result.streams[stream.stream] = last;
    // A stream that has left the subscription hands nothing to later hours.
    if (stream.until !== null && stream.until <= end) delete result.streams[stream.stream];
  }
  level?.measure(trace && ((line) => trace({ stream: '', ...line })));
  if (behind || [...result.bySegment.values()].some((s) => s.quality === 'estimated')) result.quality = 'estimated';
  return result;
}
