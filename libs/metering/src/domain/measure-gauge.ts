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
  let known: StreamState | null = opening ?? stream.baseline;
  let since = known ? known.at : stream.from;
  const piece: Held = (from, to, value, kind) => {
    const [start, stop] = [maxOf(from, low), minOf(to, high)];
    if (start < stop) held(start, stop, value, kind);
  };
  const until = (next: bigint): void => {
    if (next <= low) return;
    const hole = meter.source === 'cell' && next - since > CARRY_LIMIT;
    const carried = hole ? since + SAMPLE_EVERY : next;
    if (known) {
      piece(since, carried, known.value, 'measured');
      if (hole) piece(carried, since + CARRY_LIMIT, known.value, 'estimated');
    }
    if (hole) piece(since + CARRY_LIMIT, next, known?.value ?? 0n, 'gap');
  };
  for (const s of inOrder(stream.samples)) {
    if (s.at < meter.hourStart || s.at >= high || s.at < stream.from) continue;
    until(s.at);
    known = s;
    since = s.at;
  }
  until(high);
  return known && { at: known.at, value: known.value, epoch: known.epoch, sequence: known.sequence };
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
