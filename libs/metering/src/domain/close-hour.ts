import { billSegment, type Bill } from './bill-segment.js';
import { measureHour } from './measure-hour.js';
import type { CarryIn, EntryDraft, HourClose, HourSegment, MeterHour, Opening, StreamSamples } from './types.js';
import { minOf, US_PER_HOUR } from './units.js';
import { turnsOf } from './window-turn.js';

/**
 * All arithmetic of an hour (architecture §7, money.md): pure, exact, and balanced by itself — the entries of one call always
 * satisfy the sum law. `segments` are those that overlap the hour plus those that still have something open in `opening` or
 * in `carryIns`; `carryIns` are all unconsumed ones of earlier hours.
 */
export function closeHour(
  meter: MeterHour,
  segments: HourSegment[],
  opening: Opening,
  samples: StreamSamples[],
  carryIns: CarryIn[],
): HourClose {
  const hourEnd = meter.hourStart + US_PER_HOUR;
  const ordered = [...segments].sort((a, b) => (a.startsAt < b.startsAt ? -1 : a.startsAt > b.startsAt ? 1 : 0));
  const known = new Set(ordered.map((s) => s.segmentId));
  for (const c of carryIns)
    if (!known.has(c.segmentId)) throw new Error(`carry-in ${c.carryInId} names a segment that was not given: ${c.segmentId}`);
  for (const id of Object.keys(opening.segments))
    if (!known.has(id)) throw new Error(`the opening holds a segment that was not given: ${id}`);

  const measure = measureHour(meter, ordered, opening.streams, samples);
  const close: HourClose = {
    records: [],
    losses: [],
    entries: [],
    carryIns: [],
    consumed: [],
    findings: [],
    closing: {
      streams: measure.streams,
      segments: { ...opening.segments },
      windows: { ...opening.windows },
      capacityBytes: meter.capacityBytes,
    },
    quality: measure.quality,
  };
  const outside = measure.bySegment.get('');
  if (outside) {
    add(close, null, 'measured', 'samples', outside.measured);
    add(close, null, 'estimated', 'gap', outside.estimated);
    add(close, null, 'non_billable', 'outside_segment', outside.measured + outside.estimated);
  }
  const bill: Bill = {
    meter,
    close,
    hourEnd,
    end: meter.endedAt === null ? hourEnd : minOf(hourEnd, meter.endedAt),
    subscriptionGoesOn: meter.endedAt === null || meter.endedAt > hourEnd,
    keyTaken: false,
    planOfHour: ordered.find((s) => s.startsAt < hourEnd && (s.endsAt === null || s.endsAt > meter.hourStart))?.externalPlanId ?? null,
    streams: samples.length,
    turns: turnsOf(meter, ordered, opening.streams, samples),
  };
  for (const segment of ordered) {
    const ins = carryIns.filter((c) => c.segmentId === segment.segmentId);
    billSegment(bill, segment, measure.bySegment.get(segment.segmentId) ?? null, ins);
  }
  close.entries = merged(close.entries);
  if (measure.quality === 'estimated') {
    close.findings.push({
      kind: 'gap_estimated',
      segmentId: null,
      amount: close.entries.filter((e) => e.term === 'estimated').reduce((sum, e) => sum + e.quantity, 0n),
      evidence: {
        gapUs: measure.gapUs.toString(),
        watermark: meter.watermark === null ? 'complete' : meter.watermark.toString(),
        method: 'the last value is carried over at most two samples, then nothing is billed',
      },
    });
  }
  return close;
}

/** One row per natural key: two amounts of one kind (usage and a late sample drawing on one window) are one row. */
function merged(entries: EntryDraft[]): EntryDraft[] {
  const rows = new Map<string, EntryDraft>();
  for (const e of entries) {
    const key = `${e.segmentId ?? ''}|${e.term}|${e.cause}|${e.ref}`;
    const row = rows.get(key);
    if (row) row.quantity += e.quantity;
    else rows.set(key, { ...e });
  }
  return [...rows.values()].filter((e) => e.quantity !== 0n);
}

function add(
  close: HourClose,
  segmentId: string | null,
  term: 'measured' | 'estimated' | 'non_billable',
  cause: string,
  quantity: bigint,
): void {
  if (quantity !== 0n) close.entries.push({ segmentId, term, cause, ref: '', quantity });
}
