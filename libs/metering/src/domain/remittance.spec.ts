import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sumDecimals } from '#platform';
import { allocate, byReference, decimalMarkOf, deductionsAsPositive, isZero, minus, moneyText, type RemittanceLine } from './remittance.js';
import { quantaText } from './units.js';

const amount = fc
  .tuple(fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }), fc.integer({ min: 0, max: 6 }))
  .map(([d, s]) => quantaText(d, s));
const wanted = fc.record({
  month: fc.constantFrom('2026-02', '2026-03'),
  externalId: fc.constantFrom('a', 'b', 'c'),
  dimension: fc.constantFrom(null, 'x'),
  invoice: fc.constantFrom(null, 'i1', 'i2'),
  amount,
});

describe('allocation', () => {
  it('always adds up to the gross, one row a target, and gives away no more than there is', () => {
    fc.assert(
      fc.property(amount, fc.array(wanted, { maxLength: 12 }), (gross, list) => {
        const rows = allocate(gross, list);
        const given = sumDecimals(list.map((w) => w.amount));
        if (rows === null) {
          expect(given).not.toBe(sumDecimals([gross]));
          return;
        }
        expect(sumDecimals(rows.map((r) => r.amount))).toBe(sumDecimals([gross]));
        expect(rows.length).toBeGreaterThan(0);
        expect(rows.filter((r) => r.kind === 'unallocated').length).toBeLessThanOrEqual(1);
        const keys = rows.map((r) => (r.kind === 'purchase' ? JSON.stringify([r.month, r.externalId, r.dimension, r.invoice]) : 'rest'));
        expect(new Set(keys).size).toBe(keys.length);
      }),
      { numRuns: 500 },
    );
  });
  it('names the rest, refuses more than there is, and needs no rest where all is given', () => {
    const w = { month: '2026-03', externalId: 'a', dimension: null, invoice: null };
    expect(allocate('10', [{ ...w, amount: '7.5' }])).toEqual([
      { kind: 'purchase', ...w, amount: '7.5' },
      { kind: 'unallocated', amount: '2.5' },
    ]);
    expect(allocate('10', [{ ...w, amount: '10.000001' }])).toBeNull();
    expect(allocate('-10', [{ ...w, amount: '-10' }])).toHaveLength(1);
    expect(allocate('0', [])).toEqual([{ kind: 'unallocated', amount: '0' }]);
  });
});

describe('amounts as people write them', () => {
  it.each([
    ['1,234.50', 'point', '1234.5'],
    ['1.234,50', 'comma', '1234.5'],
    ['$ 1,234,567.89', 'point', '1234567.89'],
    ['(12.00)', 'point', '-12'],
    ['12,00-', 'comma', '-12'],
    ['\u2212 3,5 \u20ac', 'comma', '-3.5'],
    ["1'234.5", 'point', '1234.5'],
    ['EUR 7', 'comma', '7'],
    ['1,23,4', 'point', null],
    ['12.3.4', 'point', null],
    ['abc', 'point', null],
    ['', 'point', null],
    ['1e3', 'point', null],
  ] as const)('%s with a decimal %s is %s', (cell, mark, expected) => expect(moneyText(cell, mark)).toBe(expected));
  it('tell which mark they use, and say where they do not', () => {
    expect(decimalMarkOf(['1,234', '5.10'])).toBe('point');
    expect(decimalMarkOf(['1.234', '5,10'])).toBe('comma');
    expect(decimalMarkOf(['1,234'])).toBe('unclear');
    expect(decimalMarkOf(['1,5', '1.5'])).toBe('unclear');
    expect(decimalMarkOf(['12', '7'])).toBe('point');
  });
  it('any exact amount written with either mark reads back as itself', () => {
    fc.assert(
      fc.property(amount, (text) => {
        expect(moneyText(text, 'point')).toBe(sumDecimals([text]));
        expect(moneyText(text.replace('.', ','), 'comma')).toBe(sumDecimals([text]));
        expect(isZero(sumDecimals([text, minus(text)]))).toBe(true);
      }),
    );
  });
});

describe('payouts', () => {
  const line = (over: Partial<RemittanceLine>): RemittanceLine => ({
    line: 2,
    reference: 'P1',
    month: '2026-03',
    externalId: 'a',
    dimension: null,
    invoice: null,
    currency: 'USD',
    payoutCurrency: 'USD',
    gross: '100',
    fee: '3',
    tax: '1',
    net: '96',
    fx: null,
    payout: '96',
    raw: {},
    ...over,
  });
  it('add their lines up and name what the file does not explain', () => {
    const { drafts, faults } = byReference([
      line({}),
      line({ line: 3, gross: '50', fee: '1.5', tax: '0', net: '48.49', payout: '48.49' }),
      line({ line: 4, reference: 'P2' }),
    ]);
    expect(faults).toEqual([]);
    expect(drafts.map((d) => [d.reference, d.gross, d.fee, d.net, d.unexplained])).toEqual([
      ['P1', '150', '4.5', '144.49', '0.01'],
      ['P2', '100', '3', '96', '0'],
    ]);
  });
  it('of two currencies are a fault, never a sum', () =>
    expect(byReference([line({}), line({ line: 3, currency: 'EUR' })]).faults).toHaveLength(1));
  it('with negative fees are read as deductions', () => {
    expect(deductionsAsPositive([line({ fee: '-3', tax: '-1' })])).toMatchObject({ flipped: true, lines: [{ fee: '3', tax: '1' }] });
    expect(deductionsAsPositive([line({}), line({ fee: '-1', tax: '0', net: '101' })])).toMatchObject({ flipped: false });
  });
});
