import { expect } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { closeHour } from '../domain/close-hour.js';
import { sumDifference, sumTerms } from '../domain/sum-terms.js';
import {
  emptyOpening,
  type CarryIn,
  type HourClose,
  type HourSegment,
  type MeterHour,
  type Opening,
  type Sample,
  type StreamSamples,
} from '../domain/types.js';
import { US_PER_HOUR, US_PER_MINUTE } from '../domain/units.js';
import { CLOSING_RULES } from '../domain/window-turn.js';

export const T0 = BigInt(Date.UTC(2026, 2, 10, 0)) * 1_000n;
export const GIB = 2n ** 30n;
export const min = (n: number | bigint): bigint => BigInt(n) * US_PER_MINUTE;
export const hour = (n: number | bigint): bigint => T0 + BigInt(n) * US_PER_HOUR;

export const gauge: MeterTerms = {
  meter: 'gib_hours_stored',
  metric: 'stored_bytes',
  kind: 'gauge_integral',
  source: 'cell',
  dimension: 'gib_hours',
  listedUnit: 'GiB-hour',
  basePerUnit: (GIB * US_PER_HOUR).toString(),
  decimals: 0,
  included: null,
  includedBy: 'seller',
  gap: 'carry',
  billableWhileSuspended: false,
  emission: 'live',
};
export const counter: MeterTerms = {
  ...gauge,
  meter: 'mib_egress',
  metric: 'egress_bytes',
  kind: 'counter',
  dimension: 'mib',
  listedUnit: 'MiB',
  basePerUnit: (2n ** 20n).toString(),
};

export const segment = (over: Partial<HourSegment> = {}): HourSegment => ({
  segmentId: 's1',
  startsAt: hour(0),
  endsAt: null,
  planVersionId: 'p1',
  externalPlanId: 'gold',
  billable: true,
  termStartsAt: hour(0),
  termEndsAt: null,
  terms: gauge,
  ...over,
});
export const meterHour = (n: number | bigint, over: Partial<MeterHour> = {}): MeterHour => ({
  meter: 'm',
  kind: 'gauge_integral',
  source: 'cell',
  hourStart: hour(n),
  endedAt: null,
  watermark: null,
  traits: { hourKey: 'one_per_hour', zeroWanted: false, maxQuantity: null, maxDecimals: 6 },
  capacityBytes: null,
  lineRateBytesPerSecond: 12_500_000_000n,
  rules: CLOSING_RULES,
  ...over,
});
export const sample = (at: bigint, value: bigint, sequence = at, epoch = 'e1'): Sample => ({ at, value, epoch, sequence });
export const every5 = (n: number, value: bigint): Sample[] => Array.from({ length: 12 }, (_, i) => sample(hour(n) + min(5 * i), value));
export const stream = (samples: Sample[], over: Partial<StreamSamples> = {}): StreamSamples => ({
  stream: 'p1',
  from: hour(0),
  until: null,
  baseline: null,
  samples,
  ...over,
});
export const term = (c: HourClose, t: string): bigint => c.entries.filter((e) => e.term === t).reduce((s, e) => s + e.quantity, 0n);
export const balanced = (c: HourClose): void => expect(sumDifference(sumTerms(c.entries))).toBe(0n);

/** Closes hours one after another, handing on openings and carry-ins as the application does. */
export function run(
  hours: number,
  meter: (n: number) => MeterHour,
  segments: HourSegment[],
  streams: StreamSamples[],
  opening: Opening = emptyOpening(),
): HourClose[] {
  let open: CarryIn[] = [];
  const closes: HourClose[] = [];
  for (let n = 0; n < hours; n++) {
    const m = meter(n);
    const end = m.hourStart + US_PER_HOUR;
    const wanted = segments.filter(
      (s) =>
        (s.startsAt < end && (s.endsAt ?? end) > m.hourStart) ||
        open.some((c) => c.segmentId === s.segmentId) ||
        s.segmentId in opening.segments,
    );
    const part = streams.map((s) => ({ ...s, samples: s.samples.filter((x) => x.at >= m.hourStart && x.at <= end) }));
    const c = closeHour(m, wanted, opening, part, open);
    balanced(c);
    open = open.filter((x) => !c.consumed.includes(x.carryInId)).concat(c.carryIns.map((x, i) => ({ ...x, carryInId: `c${n}-${i}` })));
    opening = c.closing;
    closes.push(c);
    if (m.endedAt !== null && m.endedAt <= end) break;
  }
  expect(open.length === 0 || closes.length === hours).toBe(true);
  return closes;
}
