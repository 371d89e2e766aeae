import { bySegment, CARRY_LIMIT, inOrder, segmentAt, type Measuring, type Trace } from './measure-parts.js';
import type { StreamSamples, StreamState } from './types.js';
import { maxOf } from './units.js';

/**
 * Counter deltas. A delta whose two samples lie on both sides of a cut is split by time, exactly (the parts add up to it);
 * a sample at the very instant of a cut closes the old segment. At the end of the subscription access has ended and a last
 * sample was taken: the delta it closes is split the same way, what came after the cut is outside every segment. Without this
 * the minutes before each end would be lost unseen. A new epoch starts from 0; a fall inside an epoch bills nothing and marks
 * the hour (provisioning §5.2: never a negative bill).
 */
export function counterStream(
  stream: StreamSamples,
  opening: StreamState | null,
  hour: Measuring,
  tell: Trace | undefined,
): StreamState | null {
  const { meter, segments, end, slot } = hour;
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
        hour,
        tell,
      );
    last = { at: s.at, value: s.value, epoch: s.epoch, sequence: s.sequence };
    final = ends && s.at >= end;
  }
  return last;
}

/** Splits an amount over a stretch of time at the cuts; floors, the last part takes the rest. */
function share(from: bigint, to: bigint, amount: bigint, { segments, slot }: Measuring, tell: Trace | undefined): void {
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

/**
 * Amounts that are each told once: every one belongs to the instant it is told of, and silence is nothing used. At a cut it opens the
 * new segment, as an event on the hour belongs to the hour that begins.
 */
export function sumStream(stream: StreamSamples, { meter, segments, end, slot }: Measuring, tell: Trace | undefined): void {
  for (const { at, value } of stream.samples) {
    if (at < maxOf(meter.hourStart, stream.from) || at >= end || (stream.until !== null && at >= stream.until)) continue;
    const segmentId = segmentAt(at, segments);
    slot(segmentId).measured += value;
    tell?.({ segmentId, from: at, to: at, value, amount: value, kind: 'measured' });
  }
}
