import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { instantText, parseInstant } from './units.js';

/** As it was pinned: whole seconds by the calendar of the machine, six digits behind. */
const byTheCalendar = (us: bigint): string => {
  const second = us >= 0n || us % 1_000_000n === 0n ? us / 1_000_000n : us / 1_000_000n - 1n;
  const text = new Date(Number(second) * 1_000).toISOString();
  return `${text.slice(0, text.lastIndexOf('.'))}.${(us - second * 1_000_000n).toString().padStart(6, '0')}Z`;
};

describe('an instant as text', () => {
  it('has the pinned form at the edges of hours, years and of what a number holds', () => {
    expect(instantText(0n)).toBe('1970-01-01T00:00:00.000000Z');
    expect(instantText(-1n)).toBe('1969-12-31T23:59:59.999999Z');
    expect(instantText(1_773_100_799_999_999n)).toBe('2026-03-09T23:59:59.999999Z');
    expect(instantText(1_773_100_800_000_000n)).toBe('2026-03-10T00:00:00.000000Z');
    expect(instantText(parseInstant('9999-12-31T23:59:59.000007Z')!)).toBe('9999-12-31T23:59:59.000007Z');
    expect(instantText(parseInstant('0001-01-01T00:00:00.000007Z')!)).toBe('0001-01-01T00:00:00.000007Z');
  });

  it('is that of the calendar for any instant, whatever was written before', () => {
    const anInstant = fc.bigInt({ min: -(2n ** 55n), max: 2n ** 57n });
    fc.assert(
      fc.property(fc.array(anInstant, { minLength: 1, maxLength: 5 }), (instants) => {
        for (const us of instants) {
          expect(instantText(us)).toBe(byTheCalendar(us));
          expect(instantText(us + 1n)).toBe(byTheCalendar(us + 1n));
        }
      }),
    );
  });
});
