import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compareDecimals, equalDecimals, isDecimal, sumDecimals } from './decimal.js';

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
      fc.property(fc.array(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n })), (micros) => {
        const text = (n: bigint): string =>
          `${n < 0n ? '-' : ''}${(n < 0n ? -n : n)
            .toString()
            .padStart(7, '0')
            .replace(/(\d{6})$/, '.$1')}`;
        expect(equalDecimals(sumDecimals(micros.map(text)), text(micros.reduce((a, b) => a + b, 0n)))).toBe(true);
      }),
    );
  });
});
