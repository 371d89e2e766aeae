import { describe, expect, it } from 'vitest';
import {
  holds,
  isEven,
  judge,
  millionths,
  owed,
  unitsText,
  type BilledItem,
  type NamedFinding,
  type Reading,
} from '../../faults/judge.mjs';

const MIB = 1_048_576;
const fromMs = Date.parse('2026-03-10T08:00:00Z');
const untilMs = fromMs + 3 * 3_600_000;
const hour = (n: number): string => new Date(fromMs + n * 3_600_000).toISOString();
const at = (minutes: number): string => new Date(fromMs + minutes * 60_000).toISOString();

/** Readings every five minutes, from the first hour's beginning up to the end of the last. */
function readings(marketplace: string, metric: string, value: (minutes: number) => number): Reading[] {
  const out: Reading[] = [];
  for (let m = 0; m <= 180; m += 5) out.push({ at: at(m), marketplace, externalId: 'p1', metric, value: String(value(m)) });
  return out;
}
const egress = (value: (minutes: number) => number, marketplace = 'gcp'): Reading[] => readings(marketplace, 'egress_bytes', value);
const GOOGLE = 'object-cells.endpoints.harbor-storage-public.cloud.goog/standard_mib_egress';
const item = (n: number, quantity: string): BilledItem => ({
  marketplace: 'gcp',
  externalId: 'p1',
  dimension: GOOGLE,
  hour: hour(n),
  quantity,
});
const due = (log: Reading[]): string[] => [...owed(log, { fromMs, untilMs }).values()].map(unitsText);

describe('what must be billed', () => {
  it('of a counter is the growth of the whole units of all so far: 0.4 + 0.4 + 0.4 is 0, 0, 1', () => {
    // What was counted up to a reading belongs to its hour: the first hour has its readings from 08:00 to 08:55.
    expect(
      due(egress((m) => (Math.floor(m / 60) + 1) * 0.4 * MIB).map((r) => ({ ...r, value: String(Math.floor(Number(r.value))) }))),
    ).toEqual(['0', '0', '1']);
  });

  it('counts a reading on the hour into the hour that begins', () => {
    expect(due(egress((m) => (m >= 60 ? 5 * MIB : 0)))).toEqual(['0', '5', '0']);
  });

  it('subtracts what the plan includes where the seller does it, and not at Google', () => {
    const log = (m: number): number => Math.min(2, Math.floor(m / 60)) * 8 * MIB;
    expect(due(egress(log, 'azure'))).toEqual(['0', '0', '6']);
    expect(due(egress(log, 'gcp'))).toEqual(['0', '8', '8']);
  });

  it('of a gauge is value times time, cut to the decimals that the listing takes', () => {
    expect(due(readings('azure', 'stored_bytes', () => 100 * MIB))).toEqual(['0.097656', '0.097656', '0.097656']);
    expect(due(readings('aws', 'stored_bytes', (m) => (m < 90 ? 100 * MIB : 50 * MIB)))).toEqual(['100', '75', '50']);
  });

  it('refuses a log with a hole in a gauge, and a quantity finer than it can compare', () => {
    const log = readings('aws', 'stored_bytes', () => MIB).filter(({ at: t }) => t !== at(60) && t !== at(65));
    expect(() => owed(log, { fromMs, untilMs })).toThrow('no reading between');
    expect(() => millionths('1.0000001')).toThrow('millionths');
    expect(millionths('1.0000000')).toBe(1_000_000n);
  });
});

describe('the judge', () => {
  const log = egress((m) => (Math.floor(m / 60) + 1) * 7 * MIB);
  const right = [item(0, '7'), item(1, '7'), item(2, '7')];
  const verdictOf = (billed: BilledItem[], findings: NamedFinding[] = []) => judge({ log, billed, findings, fromMs, untilMs });
  const finding = (units: string, kind = 'loss.expired'): NamedFinding => ({
    kind,
    externalId: 'p1',
    dimension: GOOGLE,
    hour: hour(1),
    units,
  });

  it('holds where every hour is billed as it was used', () => {
    const v = verdictOf(right);
    expect([v.hours, v.billedHours, v.owed, v.billed, isEven(v), holds(v)]).toEqual([3, 3, 21_000_000n, 21_000_000n, true, true]);
  });

  it('sees one lost unit, and that nobody names it', () => {
    const v = verdictOf([item(0, '7'), item(1, '6'), item(2, '7')]);
    expect([v.lost.map((x) => x.amount), v.silent.map((x) => x.amount), v.doubled, holds(v)]).toEqual([
      [1_000_000n],
      [1_000_000n],
      [],
      false,
    ]);
  });

  it('sees a missing record, a record that is billed twice, and one of a purchase that nobody made', () => {
    expect(verdictOf(right.slice(0, 2)).lost.map((x) => x.amount)).toEqual([7_000_000n]);
    expect(verdictOf([...right, item(1, '7')]).doubled.map((x) => x.amount)).toEqual([7_000_000n]);
    expect(holds(verdictOf([...right, { ...item(1, '1'), externalId: 'nobody' }]))).toBe(false);
    expect(holds(verdictOf([...right, item(-1, '1')]))).toBe(false);
  });

  it('calls an amount that moved to another hour both lost and doubled', () => {
    const v = verdictOf([item(0, '7'), item(1, '0'), item(2, '14')]);
    expect([v.lost.length, v.doubled.length]).toEqual([1, 1]);
  });

  it('lets a loss pass that an open finding names in full; a finding of less, of another hour or of another kind names less', () => {
    const short = [item(0, '7'), item(1, '4'), item(2, '7')];
    expect(holds(verdictOf(short, [finding('3')]))).toBe(true);
    expect(verdictOf(short, [finding('3')]).named).toMatchObject([{ amount: 3_000_000n, kind: 'loss.expired' }]);
    expect(verdictOf(short, [finding('2'), finding('2')]).silent.map((x) => x.amount)).toEqual([1_000_000n]);
    expect(holds(verdictOf(short, [{ ...finding('3'), hour: hour(2) }]))).toBe(false);
    expect(holds(verdictOf(short, [finding('3', 'gap_estimated')]))).toBe(false);
  });

  it('never lets a finding excuse a double', () => {
    expect(holds(verdictOf([...right, item(1, '7')], [finding('7')]))).toBe(false);
  });

  it('leaves hours after the judged ones alone, and of a part of the time judges only its own', () => {
    expect(isEven(verdictOf([...right, item(3, '99')]))).toBe(true);
    const wrongInTheSecond = [item(0, '7'), item(1, '6'), item(2, '7')];
    const part = (n: number) =>
      judge({
        log,
        billed: wrongInTheSecond,
        findings: [],
        fromMs,
        untilMs,
        only: { fromMs: fromMs + n * 3_600_000, untilMs: fromMs + (n + 1) * 3_600_000 },
      });
    expect([0, 1, 2].map((n) => part(n).lost.length)).toEqual([0, 1, 0]);
    expect(part(0).hours).toBe(1);
  });
});
