import { closeHour } from './close-hour.js';
import { measureHour } from './measure-hour.js';
import type { MeasureLine } from './measure-parts.js';
import type { CarryIn, EntryDraft, HourClose, HourSegment, MeterHour, Opening, RecordDraft, StreamSamples } from './types.js';
import { ofUnit, quantaText, Unit } from './units.js';

export interface HourInputs {
  meter: MeterHour;
  segments: HourSegment[];
  opening: Opening;
  streams: StreamSamples[];
  carryIns: CarryIn[];
}

/** One line of the calculation: what is added or taken away, and what is there after it. All in base units, exact. */
export interface Step {
  step: string;
  words: string;
  base: bigint;
  total: bigint;
}

export interface HourExplanation {
  close: HourClose;
  /** Every addition of the measurement, of all segments. */
  lines: MeasureLine[];
  /** From what was carried in to what was sent and what is carried out; the last line's total is 0. */
  steps: Step[];
  record: RecordDraft | null;
}

/** The same function that closed the hour, run again on its inputs, and its entries for one segment as a sum that ends at 0. */
export function explainHour(inputs: HourInputs, segmentId: string): HourExplanation {
  const { meter, segments, opening, streams, carryIns } = inputs;
  const close = closeHour(meter, segments, opening, streams, carryIns);
  const lines: MeasureLine[] = [];
  const ordered = [...segments].sort((a, b) => (a.startsAt < b.startsAt ? -1 : 1));
  measureHour(meter, ordered, opening.streams, streams, (line) => void lines.push(line));
  const record = close.records.find((r) => r.segmentId === segmentId) ?? null;
  const terms = segments.find((s) => s.segmentId === segmentId)?.terms ?? null;
  const unit = terms ? new Unit(BigInt(terms.basePerUnit), Math.min(terms.decimals, meter.traits.maxDecimals)) : null;
  const rest = (o: Opening): bigint => {
    const state = o.segments[segmentId];
    return state && unit ? state.cumulative - unit.base(state.emitted) : 0n;
  };

  const steps: Step[] = [];
  let total = 0n;
  const add = (step: string, words: string, base: bigint): void => {
    if (base === 0n && step !== 'sent' && step !== 'measured') return;
    total += base;
    steps.push({ step, words, base, total });
  };
  const before = rest(opening);
  add('remainder_in', 'less than the smallest unit that is sent, carried in from the hour before', before);
  const mine = close.entries.filter((e) => e.segmentId === segmentId);
  const of = (term: EntryDraft['term']): EntryDraft[] => mine.filter((e) => e.term === term);
  add('measured', 'what the samples say', sum(of('measured')));
  add('estimated', 'missing samples: the last value carried over at most two of them', sum(of('estimated')));
  for (const c of carryIns.filter((x) => close.consumed.includes(x.carryInId) && x.segmentId === segmentId))
    add('carry_in', CARRY_WORDS[c.kind], c.amount);
  for (const e of of('over_reported'))
    add('over_reported', 'more had been sent than was used, and no later hour could take it back', e.quantity);
  for (const e of of('non_billable')) add('non_billable', `not billed: ${NOT_BILLED[e.cause.split('.')[0]!] ?? e.cause}`, -e.quantity);
  for (const e of of('included')) add('included', includedWords(e, terms?.included ?? null), -e.quantity);
  for (const e of of('loss')) add('loss', LOSS_WORDS[e.cause] ?? `lost: ${e.cause}`, -e.quantity);
  for (const e of of('deferred')) if (e.cause !== 'consumed') add('deferred', DEFER_WORDS[e.cause] ?? `put off: ${e.cause}`, -e.quantity);
  const sent = sum(of('pending'));
  const how = record?.unsent ? `frozen and not sent (${NOT_BILLED[record.unsent]})` : 'sent';
  add(
    'sent',
    record ? `${how}: ${ofUnit(record.quantity, record.listedUnit)}, whole steps of ${step(unit)} only` : 'nothing is sent',
    -sent,
  );
  add('remainder_out', 'less than the smallest unit that is sent, carried into the next hour', -(before + sum(of('remainder'))));
  return { close, lines, steps, record };
}

const sum = (entries: EntryDraft[]): bigint => entries.reduce((total, e) => total + e.quantity, 0n);
const step = (unit: Unit | null): string => (unit ? quantaText(1n, unit.decimals) : '1');

const CARRY_WORDS: Record<CarryIn['kind'], string> = {
  deferred: 'put off by an earlier hour to this one',
  late: 'samples of an earlier hour that came after it was closed',
  credit: 'an earlier hour turned out smaller: taken off here',
};
const NOT_BILLED: Record<string, string> = {
  not_in_plan: 'the plan does not have this meter',
  emission_none: 'the plan records this meter and sends nothing',
  suspended: 'the purchase was suspended',
  shadow: 'the listing was in shadow: another kit sends it',
  invoiced_outside: 'it is invoiced outside the marketplace',
};
const LOSS_WORDS: Record<string, string> = {
  residue: 'lost: less than the smallest unit, and the segment ends here',
  missed_window: 'lost: no later hour of its segment could take it',
  month_cut: 'lost: usage is never moved into another calendar month',
};
const DEFER_WORDS: Record<string, string> = {
  hour_key_taken: 'put off to the next hour: the marketplace takes one amount an hour, and another plan has it',
  max_quantity: 'put off to the next hour: the marketplace takes no larger amount at once',
  credit_left: 'taken off a later hour: more had been sent than was used',
};

function includedWords(e: EntryDraft, included: { quantity: string; period: string } | null): string {
  const since = /^\d{4}-/.test(e.cause) ? ` (window of ${e.cause.slice(0, 10)})` : '';
  return e.quantity >= 0n
    ? `part of the price: ${included?.quantity ?? '?'} a ${included?.period ?? 'term'} are included${since}`
    : `given back to what is included${since}`;
}

/** Where two closings of one hour differ, in words; empty where they are the same in all that a record rests on. */
export function differences(stored: StoredHour, again: HourExplanation): string[] {
  const out: string[] = [];
  const { record } = again;
  const say = (what: string, a: string, b: string): void => {
    if (a !== b) out.push(`${what}: stored ${a}, calculated again ${b}`);
  };
  say('quantity', stored.quantity, record?.quantity ?? 'no record');
  say('base quantity', stored.baseQuantity.toString(), record?.baseQuantity.toString() ?? 'no record');
  say('quality', stored.quality, record?.quality ?? 'no record');
  const key = (e: EntryDraft): string => `${e.segmentId ?? '-'} ${e.term}/${e.cause}${e.ref ? ` of ${e.ref}` : ''}`;
  const mine = new Map(again.close.entries.map((e) => [key(e), e.quantity]));
  const theirs = new Map(stored.entries.map((e) => [key(e), e.quantity]));
  for (const k of [...new Set([...mine.keys(), ...theirs.keys()])].sort())
    say(`ledger ${k}`, (theirs.get(k) ?? 0n).toString(), (mine.get(k) ?? 0n).toString());
  return out;
}

export interface StoredHour {
  quantity: string;
  baseQuantity: bigint;
  quality: string;
  /** What the closing itself wrote, without later corrections and outcomes. */
  entries: EntryDraft[];
}
