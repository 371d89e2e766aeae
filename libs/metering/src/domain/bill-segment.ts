import type { Emission, MeterTerms } from '#entitlements';
import { CARRY_LIMIT, type Measured } from './measure-parts.js';
import { emissionAt, notBilledFor, unsentOf } from './emission.js';
import { windowKey } from './term-window.js';
import type { Turn } from './window-turn.js';
import type { CarryIn, EntryDraft, HourClose, HourSegment, LossCause, MeterHour, SegmentState, WindowState } from './types.js';
import { maxOf, minOf, monthOf, quantaText, Unit, US_PER_HOUR, US_PER_SECOND } from './units.js';

export interface Bill {
  meter: MeterHour;
  close: HourClose;
  hourEnd: bigint;
  end: bigint;
  subscriptionGoesOn: boolean;
  /** The marketplace's one key of this hour and dimension is used (Azure drops a second event of an hour, contract azure §6). */
  keyTaken: boolean;
  /** The plan in force when the hour began (or first in it): the one key of the hour is its own. */
  planOfHour: string | null;
  streams: number;
  /** By segment id, where its included window turns inside its part of the hour. */
  turns: ReadonlyMap<string, Turn>;
}

/** Writes in flight when a limit is reached may exceed it a little; more than this above the entitled capacity is no usage. */
const OVERSHOOT_BYTES = 64n * 1024n * 1024n;
/** An exbibyte: no gauge or counter of one placement is larger. */
export const LARGEST_SAMPLE = 2n ** 60n;

/** One segment's part of an hour: terms, included quantity, remainder, key of the hour, limits, and its end. */
export function billSegment(bill: Bill, segment: HourSegment, measured: Measured | null, ins: CarryIn[]): void {
  const { close, meter } = bill;
  const id = segment.segmentId;
  const add = (term: EntryDraft['term'], cause: string, quantity: bigint, ref = ''): void => {
    if (quantity !== 0n) close.entries.push({ segmentId: id, term, cause, ref, quantity });
  };
  const gross = (measured?.measured ?? 0n) + (measured?.estimated ?? 0n);
  add('measured', 'samples', measured?.measured ?? 0n);
  add('estimated', 'gap', measured?.estimated ?? 0n);

  const overlaps = segment.startsAt < bill.end && (segment.endsAt === null || segment.endsAt > meter.hourStart);
  const goesOn = bill.subscriptionGoesOn && (segment.endsAt === null || segment.endsAt > bill.hourEnd);
  const nextIsSameMonth = monthOf(meter.hourStart) === monthOf(bill.hourEnd);
  // Nothing that is not sent can be lost or over-reported at the marketplace: it only leaves the sum, under the emission's name.
  const here = emissionAt(segment, meter.hourStart);
  const unsent = unsentOf(here);
  const lost: LossCause = nextIsSameMonth || !bill.subscriptionGoesOn ? 'missed_window' : 'month_cut';
  const lose = (cause: LossCause, amount: bigint, ref = '', ofLive = unsent === null): void => {
    if (amount === 0n) return;
    if (!ofLive) return add('non_billable', `${unsent!}.${cause}`, amount, ref);
    add('loss', cause, amount, ref);
    close.losses.push({ segmentId: id, cause, amount, ref });
  };
  const overReport = (amount: bigint, ref = '', ofLive = unsent === null): void => {
    if (amount === 0n) return;
    if (!ofLive) return add('non_billable', `${unsent!}.correction`, -amount, ref);
    add('over_reported', 'correction', amount, ref);
    close.findings.push({
      kind: 'over_reported',
      segmentId: id,
      amount,
      evidence: { cause: 'a correction came after the last hour it could be netted against', ref },
    });
  };

  // Carry-ins leave `deferred` here; where they may not be used in this hour they end as a named loss or as over-reported.
  const usable: CarryIn[] = [];
  for (const c of ins) {
    close.consumed.push(c.carryInId);
    add('deferred', 'consumed', -c.amount, c.carryInId);
    const sameMonth = monthOf(c.fromHour) === monthOf(meter.hourStart);
    const then = emissionAt(segment, c.fromHour);
    if (then !== here && here !== 'none') {
      // Usage keeps the emission of its own hour: what another kit sent is not sent again, and what was ours is not theirs.
      const cause = notBilledFor(then);
      if (cause) add('non_billable', cause, c.amount, c.carryInId);
      else if (c.amount >= 0n) lose(sameMonth ? 'missed_window' : 'month_cut', c.amount, c.carryInId, true);
      else overReport(-c.amount, c.carryInId, true);
    } else if (sameMonth && (overlaps || (c.kind === 'deferred' && meter.traits.hourKey === 'one_per_hour'))) usable.push(c);
    else if (c.amount >= 0n) lose(sameMonth ? 'missed_window' : 'month_cut', c.amount, c.carryInId);
    else overReport(-c.amount, c.carryInId);
  }

  endRemainder(close, segment, meter, add, lose);
  const reason = notBillable(segment, here);
  if (reason || !segment.terms) {
    add('non_billable', reason ?? 'not_in_plan', gross + usable.reduce((sum, c) => sum + c.amount, 0n));
    return;
  }
  const terms = segment.terms;
  const unit = new Unit(BigInt(terms.basePerUnit), Math.min(terms.decimals, meter.traits.maxDecimals));
  const before: SegmentState = close.closing.segments[id] ?? { cumulative: 0n, emitted: 0n };

  let billable = usable.filter((c) => c.stage === 'billable').reduce((sum, c) => sum + c.amount, 0n);
  const turn = bill.turns.get(id);
  const draw = (at: bigint, amount: bigint): bigint => drawIncluded(close.closing.windows, segment, terms, unit, at, amount, add);
  billable += draw(maxOf(meter.hourStart, segment.startsAt), turn ? turn.before : gross);
  if (turn) billable += draw(turn.at, gross - turn.before);
  for (const c of usable) if (c.stage === 'usage') billable += draw(c.fromHour, c.amount);

  let { cumulative, emitted } = { cumulative: before.cumulative + billable, emitted: before.emitted };
  let waits = 0n;
  if (cumulative < unit.base(emitted)) {
    // More was sent than was used after all: netted against later hours, never sent as a negative (money.md "Late usage").
    const credit = cumulative - unit.base(emitted);
    cumulative -= credit;
    if (goesOn && nextIsSameMonth) {
      waits += credit;
      close.carryIns.push({
        segmentId: id,
        kind: 'credit',
        stage: 'billable',
        fromHour: meter.hourStart,
        amount: credit,
        cause: 'credit_left',
      });
    } else overReport(-credit);
  }

  // A deferral needs a later hour in this month; on a one-key marketplace the segment itself may be over by then.
  const mayDefer = nextIsSameMonth && (goesOn || (bill.subscriptionGoesOn && meter.traits.hourKey === 'one_per_hour'));
  const defer = (amount: bigint, cause: string): void => {
    waits += amount;
    cumulative -= amount;
    close.carryIns.push({ segmentId: id, kind: 'deferred', stage: 'billable', fromHour: meter.hourStart, amount, cause });
  };
  const due = unit.quanta(cumulative) - emitted;
  // The key is keyed by the hour's start: what a later plan used in it goes into the next hour under that plan (money.md
  // "One key per hour"), also where the old plan had nothing to send.
  const otherPlan = bill.planOfHour !== null && segment.externalPlanId !== bill.planOfHour && mayDefer;
  const taken = (bill.keyTaken || otherPlan) && meter.traits.hourKey === 'one_per_hour';
  let send = due;
  if (taken && due > 0n) {
    send = 0n;
    if (mayDefer) defer(cumulative - unit.base(emitted), 'hour_key_taken');
    else {
      lose(lost, unit.base(emitted + due) - unit.base(emitted));
      emitted += due;
    }
  } else if (meter.traits.maxQuantity !== null && due > meter.traits.maxQuantity) {
    send = meter.traits.maxQuantity;
    const excess = unit.base(emitted + due) - unit.base(emitted + send);
    close.findings.push({
      kind: 'int32_overflow',
      segmentId: id,
      amount: excess,
      evidence: { due: due.toString(), limit: send.toString() },
    });
    if (mayDefer) defer(excess, 'max_quantity');
    else {
      lose(lost, excess);
      cumulative -= excess;
    }
  }

  const quality = measured?.quality ?? 'measured';
  const heartbeat =
    send === 0n && !taken && meter.traits.zeroWanted && overlaps && segment.billable && quality === 'measured' && bill.streams > 0;
  if (send > 0n || heartbeat) {
    const base = unit.base(emitted + send) - unit.base(emitted);
    const implausible = gross > bound(bill, segment);
    close.records.push({
      segmentId: id,
      dimension: terms.dimension,
      listedUnit: terms.listedUnit,
      planVersionId: segment.planVersionId,
      externalPlanId: segment.externalPlanId,
      baseQuantity: base,
      quantity: quantaText(send, unit.decimals),
      decimals: unit.decimals,
      basePerUnit: BigInt(terms.basePerUnit),
      // A deferred part of an ended segment is keyed by this hour only (one-key marketplaces look at nothing else).
      startsAt: overlaps ? maxOf(meter.hourStart, segment.startsAt) : meter.hourStart,
      endsAt: overlaps ? minOf(bill.end, segment.endsAt ?? bill.end) : bill.end,
      quality,
      hold: implausible ? 'implausible' : terms.gap === 'hold' && quality === 'estimated' ? 'gap' : null,
      ...(unsent ? { unsent } : {}),
    });
    if (implausible) {
      close.findings.push({
        kind: 'held_implausible',
        segmentId: id,
        amount: base,
        evidence: { amount: gross.toString(), bound: bound(bill, segment).toString() },
      });
    }
    add('pending', 'record', base);
    emitted += send;
    bill.keyTaken = true;
  }

  for (const made of close.carryIns) if (made.segmentId === id) add('deferred', made.cause, made.amount);
  let remainder = cumulative - unit.base(emitted);
  if (!goesOn && waits === 0n) {
    // The sub-unit rest never moves to another licence, plan or term (money.md "Remainder").
    lose('residue', remainder);
    remainder = 0n;
    delete close.closing.segments[id];
  } else {
    close.closing.segments[id] = { cumulative, emitted };
  }
  add('remainder', 'carried', remainder - (before.cumulative - unit.base(before.emitted)));
}

/**
 * A switch of the emission ends the sub-unit rest, as the end of a segment does: another kit has a rest of its own, and billing ours
 * on top of what it sent could not be undone.
 */
function endRemainder(
  close: HourClose,
  segment: HourSegment,
  meter: MeterHour,
  add: (term: 'remainder' | 'non_billable', cause: string, quantity: bigint) => void,
  lose: (cause: 'residue', amount: bigint, ref: string, ofLive: boolean) => void,
): void {
  const state = close.closing.segments[segment.segmentId];
  const then = emissionAt(segment, meter.hourStart - US_PER_HOUR);
  if (!state || !segment.terms || then === emissionAt(segment, meter.hourStart)) return;
  const unit = new Unit(BigInt(segment.terms.basePerUnit), Math.min(segment.terms.decimals, meter.traits.maxDecimals));
  const rest = state.cumulative - unit.base(state.emitted);
  delete close.closing.segments[segment.segmentId];
  if (rest === 0n) return;
  add('remainder', 'switched', -rest);
  const cause = notBilledFor(then);
  if (cause) add('non_billable', `${cause}.residue`, rest);
  else lose('residue', rest, '', true);
}

function notBillable(segment: HourSegment, here: Emission | null): string | null {
  if (!segment.terms) return 'not_in_plan';
  if (here === 'none') return 'emission_none';
  if (!segment.billable && !segment.terms.billableWhileSuspended) return 'suspended';
  return null;
}

/**
 * Takes usage from the included quantity of the term window that `at` lies in, and answers what is left to bill (negative
 * for a correction: usage beyond the included quantity is taken back first, then the included quantity is given back).
 */
function drawIncluded(
  windows: Record<string, WindowState>,
  segment: HourSegment,
  terms: MeterTerms,
  unit: Unit,
  at: bigint,
  amount: bigint,
  add: (term: 'included', cause: string, quantity: bigint) => void,
): bigint {
  if (amount === 0n || terms.included === null || terms.includedBy !== 'seller') return amount;
  const key = windowKey(terms.included.period, at, segment);
  const w = windows[key] ?? { consumed: 0n, overage: 0n };
  let drawn: bigint;
  if (amount > 0n) drawn = minOf(amount, maxOf(0n, unit.baseOf(terms.included.quantity) - w.consumed));
  else {
    const fromOverage = minOf(-amount, w.overage);
    drawn = -minOf(-amount - fromOverage, w.consumed);
  }
  const over = amount - drawn;
  windows[key] = { consumed: w.consumed + drawn, overage: maxOf(0n, w.overage + over) };
  add('included', key, drawn);
  // Corrections reach back over a calendar month at most: the windows before the last few are history.
  const keys = Object.keys(windows).sort();
  for (const old of keys.slice(0, Math.max(0, keys.length - 4))) if (old !== key) delete windows[old];
  return over;
}

/** Over-billing cannot be undone at the marketplaces: what is physically impossible waits for a person (money.md "Implausible"). */
function bound(bill: Bill, segment: HourSegment): bigint {
  const us = maxOf(0n, minOf(bill.end, segment.endsAt ?? bill.end) - maxOf(bill.meter.hourStart, segment.startsAt));
  const { kind, capacityBytes, lineRateBytesPerSecond } = bill.meter;
  if (kind === 'counter' || kind === 'sum') return (lineRateBytesPerSecond * (us + CARRY_LIMIT)) / US_PER_SECOND;
  // Without an entitled capacity: what intake takes as one sample at most.
  const most = capacityBytes === null ? LARGEST_SAMPLE : (capacityBytes * 5n) / 4n + OVERSHOOT_BYTES;
  return kind === 'gauge_integral' ? most * us : most;
}
