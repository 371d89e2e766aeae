import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addDecimals,
  compareDecimals,
  decimalText,
  digitsAt,
  equalDecimals,
  isDecimal,
  parseDecimal,
  shortText,
  sumDecimals,
} from './decimal.js';

const digits = fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n });
const decimal = fc.record({ digits, scale: fc.integer({ min: 0, max: 40 }) });

describe('decimal text', () => {
  it('compares by value, not by spelling', () => {
    for (const [a, b] of [
      ['5', '5.0'],
      ['0.1875', '0.187500'],
      ['1.5e3', '1500'],
      ['-0', '0'],
      ['05', '5'],
      ['12E-1', '1.2'],
    ])
      expect(equalDecimals(a!, b!), `${a} ${b}`).toBe(true);
    expect(equalDecimals('0.1', '0.1000000000000000055')).toBe(false);
    expect(compareDecimals('9007199254740993', '9007199254740992')).toBe(1);
    expect(compareDecimals('-1', '0.000001')).toBe(-1);
  });

  it('is not what only looks like a number', () => {
    for (const text of ['', ' ', '.5', '5.', '1,5', 'NaN', 'Infinity', '0x10', '1e9999', '+1']) expect(isDecimal(text), text).toBe(false);
    expect(() => compareDecimals('x', '1')).toThrow(RangeError);
  });

  it('adds like integers of the smallest unit', () => {
    expect(sumDecimals([])).toBe('0');
    expect(sumDecimals(['0.1', '0.2'])).toBe('0.3');
    fc.assert(
      fc.property(fc.array(digits), (micros) => {
        const text = (n: bigint): string =>
          `${n < 0n ? '-' : ''}${(n < 0n ? -n : n)
            .toString()
            .padStart(7, '0')
            .replace(/(\d{6})$/, '.$1')}`;
        expect(equalDecimals(sumDecimals(micros.map(text)), text(micros.reduce((a, b) => a + b, 0n)))).toBe(true);
      }),
    );
  });

  it('keeps the decimals as they are written, and has no exponent', () => {
    expect(parseDecimal(' -1.50 ')).toEqual({ digits: -150n, scale: 2 });
    for (const text of ['1.5e3', '1E2', '5.', 'x']) expect(() => parseDecimal(text), text).toThrow(RangeError);
    fc.assert(
      fc.property(decimal, (d) => {
        expect(parseDecimal(decimalText(d))).toEqual(d);
      }),
    );
  });

  it('has one shortest spelling of a value', () => {
    expect(['0.00', '-0.10', '100', '100.00', '-7'].map((text) => shortText(parseDecimal(text)))).toEqual([
      '0',
      '-0.1',
      '100',
      '100',
      '-7',
    ]);
    fc.assert(
      fc.property(decimal, fc.integer({ min: 0, max: 20 }), (d, more) => {
        const wider = { digits: digitsAt(d, d.scale + more), scale: d.scale + more };
        expect(shortText(wider)).toBe(shortText(d));
        expect(equalDecimals(shortText(d), decimalText(d))).toBe(true);
      }),
    );
  });

  it('is ordered and added alike at any scale', () => {
    fc.assert(
      fc.property(decimal, decimal, (a, b) => {
        const order = digitsAt(a, 40) - digitsAt(b, 40);
        expect(compareDecimals(decimalText(a), decimalText(b))).toBe(order < 0n ? -1 : order > 0n ? 1 : 0);
        const sum = addDecimals(a, b);
        expect(sum.scale).toBe(Math.max(a.scale, b.scale));
        expect(digitsAt(sum, 40)).toBe(digitsAt(a, 40) + digitsAt(b, 40));
        expect(sumDecimals([decimalText(a), decimalText(b)])).toBe(shortText(sum));
      }),
    );
  });
});
