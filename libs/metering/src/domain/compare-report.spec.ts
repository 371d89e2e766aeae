import { describe, expect, it } from 'vitest';
import { compareReport, sameWithin, type OurUsage, type ReportComparison, type TheirUsage } from './compare-report.js';

const DAY = new Date('2026-03-10T00:00:00Z');
const NEXT = new Date('2026-03-11T00:00:00Z');
const ours = (subscriptionId: string, quantity: string, over: Partial<OurUsage> = {}): OurUsage => ({
  subscriptionId,
  dimension: 'stored',
  hour: new Date('2026-03-10T10:00:00Z'),
  quantity,
  settledAt: new Date('2026-03-10T12:00:00Z'),
  shadow: false,
  ...over,
});
const theirs = (name: string, quantity: string, over: Partial<TheirUsage> = {}): TheirUsage => ({
  periodStart: DAY,
  periodEnd: NEXT,
  name,
  dimension: 'stored',
  quantity,
  ...over,
});
const compare = (a: OurUsage[], b: TheirUsage[], named: Record<string, string[]>, over: Partial<ReportComparison> = {}): unknown[] =>
  compareReport({
    ours: a,
    theirs: b,
    unsure: [],
    periods: [{ start: DAY, end: NEXT, asOf: new Date('2026-03-20T00:00:00Z'), wholeFrom: new Date('2026-03-13T00:00:00Z') }],
    named: new Map(Object.entries(named)),
    nameOf: new Map(a.map((o) => [o.subscriptionId, `name of ${o.subscriptionId}`])),
    roundedTo: null,
    ...over,
  }).map((l) => [l.name, l.ours, l.theirs, l.verdict, ...(l.bySum ? ['by sum'] : []), ...(l.shadow ? ['shadow'] : [])]);

describe('a usage report against our receipts', () => {
  it('is compared by day, name and dimension, whatever hours and rows make them up', () => {
    expect(
      compare(
        [ours('s1', '1.5'), ours('s1', '2', { hour: new Date('2026-03-10T23:00:00Z') }), ours('s2', '4')],
        [theirs('a', '1'), theirs('a', '2.5'), theirs('b', '5')],
        {
          a: ['s1'],
          b: ['s2'],
        },
      ),
    ).toEqual([
      ['a', '3.5', '3.5', 'equal'],
      ['b', '4', '5', 'quantity'],
    ]);
  });

  it('names what only one side has, and leaves alone what is nobody’s here', () => {
    expect(compare([ours('s1', '1')], [theirs('b', '2'), theirs('stranger', '9')], { b: ['s2'], stranger: [] })).toEqual([
      ['b', '0', '2', 'missing_here'],
      ['name of s1', '1', '0', 'missing_there'],
      ['stranger', '0', '9', 'foreign'],
    ]);
  });

  it('matches by their sum what it cannot tell apart: purchases of one account, and usage that names nobody', () => {
    expect(compare([ours('s1', '1'), ours('s2', '2')], [theirs('account', '3')], { account: ['s1', 's2'] })).toEqual([
      ['account', '3', '3', 'equal', 'by sum'],
    ]);
    expect(compare([ours('s1', '1'), ours('s2', '2')], [theirs('a', '1'), theirs('', '2')], { a: ['s1'] })).toEqual([
      ['', '3', '3', 'equal', 'by sum'],
    ]);
  });

  it('knows the agreements of one purchase as one', () => {
    expect(compare([ours('s1', '3')], [theirs('first', '1'), theirs('renewed', '2')], { first: ['s1'], renewed: ['s1'] })).toEqual([
      ['first + renewed', '3', '3', 'equal'],
    ]);
  });

  it('takes a shortfall for a matter of time while the report cannot hold all, and never an excess', () => {
    const early = {
      periods: [{ start: DAY, end: NEXT, asOf: new Date('2026-03-12T00:00:00Z'), wholeFrom: new Date('2026-03-13T00:00:00Z') }],
    };
    expect(compare([ours('s1', '3')], [theirs('a', '1')], { a: ['s1'] }, early)).toEqual([['a', '3', '1', 'not_yet_visible']]);
    expect(compare([ours('s1', '3')], [theirs('a', '4')], { a: ['s1'] }, early)).toEqual([['a', '3', '4', 'quantity']]);
    const late = [ours('s1', '3', { settledAt: new Date('2026-03-19T12:00:00Z') })];
    expect(compare(late, [theirs('a', '1')], { a: ['s1'] }), 'accepted just before it was made').toEqual([
      ['a', '3', '1', 'not_yet_visible'],
    ]);
  });

  it('looks at its own periods only, and marks what another kit sent', () => {
    expect(compare([ours('s1', '7', { hour: NEXT }), ours('s1', '3', { shadow: true })], [theirs('a', '2')], { a: ['s1'] })).toEqual([
      ['a', '3', '2', 'quantity', 'shadow'],
    ]);
  });

  it('allows half a unit of the last place a row where the report rounds, and nothing where it does not', () => {
    expect(sameWithin('1.234567', '1.23', { decimals: 2, rows: 1 })).toBe(true);
    expect(sameWithin('1.2351', '1.23', { decimals: 2, rows: 1 })).toBe(false);
    expect(sameWithin('2.4702', '2.46', { decimals: 2, rows: 2 })).toBe(false);
    expect(sameWithin('2.47', '2.46', { decimals: 2, rows: 2 })).toBe(true);
    expect(sameWithin('0.4', '0', null)).toBe(false);
  });

  it('shows more than ours as not yet visible while it may be what no answer came for, and as a difference once it is whole', () => {
    const lost = { itemId: 'i', subscriptionId: 's1', dimension: 'stored', hour: ours('s1', '1').hour, quantity: '2', lost: true };
    const look = (hardAt: string, told: string): unknown[] =>
      compare([ours('s1', '1')], [theirs('a', told)], { a: ['s1'] }, { unsure: [{ ...lost, hardAt: new Date(hardAt) }] });
    expect(look('2026-03-19T12:00:00Z', '2')).toEqual([['a', '1', '2', 'not_yet_visible']]);
    expect(look('2026-03-19T12:00:00Z', '4'), 'more than that could be').toEqual([['a', '1', '4', 'quantity']]);
    expect(look('2026-03-11T10:00:00Z', '2')).toEqual([['a', '1', '2', 'quantity']]);
  });
});
