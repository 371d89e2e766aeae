import { measureHour } from './measure-hour.js';
import { windowKey } from './term-window.js';
import type { HourSegment, MeterHour, Opening, StreamSamples } from './types.js';
import { maxOf, minOf, toUs, US_PER_HOUR } from './units.js';

/** The rules by which hours are closed now. A closed hour keeps those it was closed by (`closing_steps.rules`, ADR 0022). */
export const CLOSING_RULES = 2;
/** From these rules on, usage on both sides of a turn of the included window draws on its own window. */
const TURNS_BY_TIME = 2;

/** An included window that turns inside a segment's part of an hour, and what was used before it. */
export interface Turn {
  at: bigint;
  before: bigint;
}

/**
 * The turns of an hour by segment. A gauge is cut there exactly; a counter's delta across the turn is split by time as at a cut, the
 * floor before it. What the segment measures as a whole stays as it is: what comes after the turn is the rest of it.
 */
export function turnsOf(
  meter: MeterHour,
  segments: HourSegment[],
  streams: Opening['streams'],
  samples: StreamSamples[],
): Map<string, Turn> {
  const turns = new Map<string, Turn>();
  if (meter.rules < TURNS_BY_TIME || segments.every((s) => turnIn(meter, s) === null)) return turns;
  const pieces = segments.flatMap((s) => {
    const at = turnIn(meter, s);
    if (at === null) return [s];
    turns.set(s.segmentId, { at, before: 0n });
    return [
      { ...s, segmentId: beforeOf(s), endsAt: at },
      { ...s, startsAt: at },
    ];
  });
  const { bySegment } = measureHour(meter, pieces, streams, samples);
  for (const s of segments) {
    const turn = turns.get(s.segmentId);
    const measured = bySegment.get(beforeOf(s));
    if (turn && measured) turn.before = measured.measured + measured.estimated;
  }
  return turns;
}

const hourOfDay = (at: bigint): bigint => (at / US_PER_HOUR) % 24n;
const beforeOf = (s: HourSegment): string => `${s.segmentId} before its turn`;

/** Null where none does. Months of the calendar begin on an hour's edge, those of a term at its time of day. */
function turnIn(meter: MeterHour, s: HourSegment): bigint | null {
  if (!s.terms?.included || s.terms.includedBy !== 'seller' || s.termStartsAt === null) return null;
  if (hourOfDay(s.termStartsAt) !== hourOfDay(meter.hourStart)) return null;
  const end = minOf(meter.hourStart + US_PER_HOUR, meter.endedAt ?? meter.hourStart + US_PER_HOUR);
  const [from, to] = [maxOf(meter.hourStart, s.startsAt), minOf(end, s.endsAt ?? end)];
  if (to <= from) return null;
  const { period } = s.terms.included;
  const last = windowKey(period, to - 1n, s);
  return last === windowKey(period, from, s) ? null : toUs(new Date(last));
}
