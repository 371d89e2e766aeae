import { addDecimals, decimalText, parseDecimal } from '#platform';
import type { CostPart } from '#marketplaces/core';
import type { MeterTerms } from '#entitlements';
import type { Step } from './explain-hour.js';
import type { Unsent } from './types.js';
import { instantText, ofUnit, quantaText, Unit } from './units.js';

/** Listed units for people; `≈` where nine decimals do not say it exactly (a GiB-hour is no round number of base units). */
export function unitsForPeople(base: bigint, basePerUnit: bigint): string {
  const decimals = Math.min(9, basePerUnit.toString().length - 1);
  const unit = new Unit(basePerUnit, decimals);
  const size = base < 0n ? -base : base;
  const quanta = unit.quanta(size);
  const text = quantaText(quanta, decimals)
    .replace(/(\.\d*?)0+$/, '$1')
    .replace(/\.$/, '');
  const exact = quanta * basePerUnit === size * 10n ** BigInt(decimals);
  return `${exact ? '' : '≈'}${base < 0n ? '-' : ''}${text}`;
}

type Counted = Pick<MeterTerms, 'kind' | 'metric'>;

/** What a metric's values are, in the plural. */
export const valueUnitOf = ({ metric }: Pick<MeterTerms, 'metric'>): string =>
  metric.endsWith('_bytes') ? 'bytes' : metric.replaceAll('_', ' ');

/** The base unit of a meter, in the plural: an integral's is its metric's unit times microseconds. */
export const baseUnitOf = (m: Counted): string =>
  m.kind !== 'gauge_integral' ? valueUnitOf(m) : m.metric.endsWith('_bytes') ? 'byte-microseconds' : `${valueUnitOf(m)} × microseconds`;

const HOW: Record<MeterTerms['kind'], string> = {
  gauge_integral: 'each value times the time it held',
  max: 'the largest that all sources had together at one moment',
  latest: 'what all sources had together at the end',
  counter: 'differences of a counter',
  sum: 'amounts that are each told once, added up',
};

export const minuteText = (us: bigint): string => `${instantText(us).slice(0, 16).replace('T', ' ')} UTC`;

export interface Told {
  hour: bigint;
  kind: MeterTerms['kind'];
  metric: string;
  meter: string;
  plan: string;
  listedUnit: string;
  basePerUnit: bigint;
  samples: number;
  streams: number;
  steps: Step[];
  quantity: string | null;
  /** How that is shared out by labels, frozen with the record; null where it is not. */
  parts: readonly CostPart[] | null;
  /** Why the record is never sent; null where it is. */
  unsent: Unsent | null;
  attempts: { number: number; outcome: string | null; code: string | null; receipt: string | null; at: string }[];
  /** What a comparison told of its end, because no answer did; null where one did. */
  late: {
    outcome: 'accepted' | 'not_taken';
    source: 'read_back' | 'usage_report';
    at: Date;
    asOf: string;
    from: string;
    words: string;
  } | null;
  marketplace: string;
  money: { amount: string; currency: string; unitPrice: string; source: string } | 'price_unknown' | null;
  sameInputs: boolean;
  differs: string[];
  corrections: number;
}

/** The hour as sentences, for people who read numbers and not rows. */
export function sentences(t: Told): string[] {
  const units = (base: bigint): string => ofUnit(unitsForPeople(base, t.basePerUnit), t.listedUnit);
  const find = (step: string): bigint => t.steps.filter((s) => s.step === step).reduce((sum, s) => sum + s.base, 0n);
  const out = [
    `In the hour from ${minuteText(t.hour)}, ${t.samples} ${t.samples === 1 ? 'sample' : 'samples'} of ${t.streams} ${t.streams === 1 ? 'source' : 'sources'} count for ${t.meter} under plan ${t.plan}.`,
    `They measure ${units(find('measured'))} (${HOW[t.kind]}; exactly ${find('measured')} ${baseUnitOf(t)}).`,
  ];
  for (const s of t.steps)
    if (!['measured', 'sent', 'remainder_out'].includes(s.step))
      out.push(`${s.base < 0n ? 'Taken off' : 'Added'}: ${units(s.base < 0n ? -s.base : s.base)}, ${s.words}.`);
  const rest = -find('remainder_out');
  out.push(
    t.quantity === null
      ? `Nothing is sent for this hour; ${units(rest)} go into the next one.`
      : `${t.unsent ? `Frozen and not sent to ${t.marketplace} (${t.unsent === 'shadow' ? 'the listing was in shadow' : 'it is invoiced outside'})` : `Sent to ${t.marketplace}`}: ${ofUnit(t.quantity, t.listedUnit)}. ${rest === 0n ? 'Nothing is left over.' : `${units(rest)} are left over and go into the next hour.`}`,
  );
  if (t.parts)
    out.push(
      `It is shared out by what the samples said of their labels: ${t.parts.map((p) => `${p.quantity} to ${labelsText(p.labels)}`).join(', ')}; together ${ofUnit(sumText(t.parts), t.listedUnit)}.`,
    );
  for (const a of t.attempts)
    out.push(
      `Attempt ${a.number} at ${a.at}: ${a.outcome ?? 'no answer yet'}${a.code ? ` (${a.code})` : ''}${a.receipt ? `, receipt ${a.receipt}` : ''}.`,
    );
  if (t.late)
    out.push(
      `No answer told how that ended. ${t.late.source === 'read_back' ? `What ${t.marketplace} says it took` : `A usage report of ${t.marketplace}`}, as of ${t.late.asOf}, told it on ${t.late.at.toISOString()}, by the sum from ${t.late.from} on: ${t.late.words}${t.late.outcome === 'accepted' ? '' : ' The amount is lost.'}`,
    );
  if (t.unsent === null && t.money === 'price_unknown')
    out.push('The price of this dimension in that hour is not known, so no amount is said.');
  else if (t.unsent === null && t.money && t.money !== 'price_unknown')
    out.push(
      `${t.quantity ?? '0'} times ${t.money.unitPrice} ${t.money.currency} (${t.money.source}) is ${t.money.amount} ${t.money.currency}, before the marketplace rounds.`,
    );
  if (t.corrections > 0)
    out.push(
      `After the hour was closed, ${t.corrections} ${t.corrections === 1 ? 'entry was' : 'entries were'} added to it: corrections and outcomes, listed below. The record did not change.`,
    );
  out.push(
    !t.sameInputs
      ? 'Calculated again just now, but not from the same samples: those at hand are not the ones this hour was closed with.'
      : t.differs.length === 0
        ? 'Calculated again just now from the same samples: every stored number is the same.'
        : `Calculated again just now from the same samples, it differs: ${t.differs.join('; ')}.`,
  );
  return out;
}

/** A set of labels as people write them. */
export const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.entries(labels)
    .map(([name, value]) => `${name}=${value}`)
    .sort()
    .join(' and ');

/** What the parts add up to: added here, so that the page shows it and nobody has to believe it. */
export const sumText = (parts: readonly CostPart[]): string =>
  decimalText(parts.map((p) => parseDecimal(p.quantity)).reduce(addDecimals, { digits: 0n, scale: 0 }));
