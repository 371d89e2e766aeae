import { describe, expect, it } from 'vitest';
import { decimal, equals, inUnits, isExactly, minus, show, sum } from '../src/support/decimal.js';

const GIB_HOUR = 3_865_470_566_400_000_000n;

describe('exact decimals', () => {
  it('adds what floats cannot', () => {
    expect(show(sum(['0.1', '0.2', '0.7'].map(decimal)))).toBe('1');
    expect(show(sum(['9007199254740993', '0.000001'].map(decimal)))).toBe('9007199254740993.000001');
    expect(show(minus(decimal('0.125'), decimal('0.125001')))).toBe('-0.000001');
  });

  it('reads the forms that numbers have in JSON', () => {
    expect(equals(decimal('1e-6'), decimal('0.000001'))).toBe(true);
    expect(equals(decimal('1.50E3'), decimal('1500'))).toBe(true);
    expect(() => decimal('NaN')).toThrow();
    expect(() => decimal('')).toThrow();
  });

  it('compares listed units with base units to the last unit', () => {
    expect(isExactly(decimal('0.125000'), GIB_HOUR, GIB_HOUR / 8n)).toBe(true);
    expect(isExactly(decimal('0.125001'), GIB_HOUR, GIB_HOUR / 8n)).toBe(false);
    expect(isExactly(decimal('0.125000'), GIB_HOUR, GIB_HOUR / 8n + 1n)).toBe(false);
  });

  it('shows base units, and says where digits were left out', () => {
    expect(inUnits(GIB_HOUR / 8n, GIB_HOUR)).toBe('0.125');
    expect(inUnits(1n, GIB_HOUR)).toBe('0…');
    expect(inUnits(-1n, GIB_HOUR)).toBe('-0…');
    expect(inUnits(-3n * 1_048_576n, 1_048_576n)).toBe('-3');
  });
});
