import { bySegment, CARRY_LIMIT, inOrder, SAMPLE_EVERY, type MeasureLine, type Measuring, type Trace } from './measure-parts.js';
import type { StreamSamples, StreamState } from './types.js';
import { maxOf, minOf } from './units.js';

/** A stretch of time inside the hour, and the value that held in it; in a `gap` none is known. */
export type Held = (from: bigint, to: bigint, value: bigint, kind: MeasureLine['kind']) => void;

/**
 * Tells the values that a stream of a gauge had in an hour, in order of time: a value holds from its sample to the next one, over
 * at most two missed samples. What is carried inside a longer hole is `estimated`, the rest of the hole a `gap`. Our own events
 * (`engine`) are known at once: their silence means no change. Answers the sample that the next hour begins with.
 */
export function eachHeld(stream: StreamSamples, opening: StreamState | null, { meter, end }: Measuring, held: Held): StreamState | null {
  const low = maxOf(meter.hourStart, stream.from);
  const high = stream.until === null ? end : minOf(end, stream.until);
  // Where the placement served another purchase before, the value it had goes on.
  const known = opening ?? stream.baseline;
  const points: (StreamState & { known: boolean })[] = [
    known ? { ...known, known: true } : { at: stream.from, value: 0n, epoch: '', sequence: -1n, known: false },
  ];
  for (const s of inOrder(stream.samples))
    if (s.at >= meter.hourStart && s.at < high && s.at >= stream.from) points.push({ ...s, known: true });
  const piece: Held = (from, to, value, kind) => {
    const [start, stop] = [maxOf(from, low), minOf(to, high)];
    if (start < stop) held(start, stop, value, kind);
  };
  points.forEach((point, i) => {
    const next = i + 1 < points.length ? points[i + 1]!.at : high;
    if (next <= low) return;
    const hole = meter.source === 'cell' && next - point.at > CARRY_LIMIT;
    const carried = hole ? point.at + SAMPLE_EVERY : next;
    if (point.known) {
      piece(point.at, carried, point.value, 'measured');
      if (hole) piece(carried, point.at + CARRY_LIMIT, point.value, 'estimated');
    }
    if (hole) piece(point.at + CARRY_LIMIT, next, point.value, 'gap');
  });
  const last = points.at(-1)!;
  return last.known ? { at: last.at, value: last.value, epoch: last.epoch, sequence: last.sequence } : null;
}

/** Left-step integral in value-microseconds, split at hour edges and cuts; a gap is billed nothing. */
export function gaugeStream(
  stream: StreamSamples,
  opening: StreamState | null,
  hour: Measuring,
  tell: Trace | undefined,
): StreamState | null {
  const { segments, slot, onGap } = hour;
  return eachHeld(stream, opening, hour, (from, to, value, kind) => {
    for (const part of bySegment(from, to, segments)) {
      const s = slot(part.segmentId);
      const amount = kind === 'gap' ? 0n : value * part.us;
      if (kind !== 'measured') s.quality = 'estimated';
      if (kind === 'measured') s.measured += amount;
      else if (kind === 'estimated') s.estimated += amount;
      else onGap(part.us);
      tell?.({ segmentId: part.segmentId, from: part.from, to: part.from + part.us, value, amount, kind });
    }
  });
}
