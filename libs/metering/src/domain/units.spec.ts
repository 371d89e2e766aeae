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

/** As `Date` reads it, digit by digit nothing of ours. */
function plainly(text: string): bigint | undefined {
  const m = /^(\d{4}-\d{2}-\d{2})[Tt](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2})$/.exec(text);
  if (!m) return undefined;
  const [, day, clock, fraction, zone] = m;
  const ms = Date.parse(`${day}T${clock}${zone!.toUpperCase()}`);
  if (Number.isNaN(ms) || new Date(`${day}T00:00:00Z`).toISOString().slice(0, 10) !== day) return undefined;
  return BigInt(ms) * 1_000n + BigInt((fraction ?? '').padEnd(6, '0').slice(0, 6));
}

describe('an instant', () => {
  it.each([
    ['2026-02-28T23:59:59Z', '2026-02-28T23:59:59.000000Z'],
    ['2024-02-29T00:00:00.1Z', '2024-02-29T00:00:00.100000Z'],
    ['2026-01-01T00:00:00.1234567Z', '2026-01-01T00:00:00.123456Z'],
    ['2026-01-01T00:00:00.000000999z', '2026-01-01T00:00:00.000000Z'],
    ['2026-01-01t01:30:00.5+01:30', '2026-01-01T00:00:00.500000Z'],
    ['1969-12-31T23:59:59.999999Z', '1969-12-31T23:59:59.999999Z'],
    ['9999-12-31T23:59:59.999999Z', '9999-12-31T23:59:59.999999Z'],
    ['0001-01-01T00:00:00.000001Z', '0001-01-01T00:00:00.000001Z'],
  ])('%s is %s', (text, written) => {
    expect(instantText(parseInstant(text)!)).toBe(written);
  });

  it.each([
    '2026-02-29T00:00:00Z',
    '2026-02-31T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-00-01T00:00:00Z',
    '2026-01-01T25:00:00Z',
    '2026-01-01T00:60:00Z',
    '2026-01-01T00:00:60Z',
    '2026-01-01T00:00:00',
    '2026-01-01 00:00:00Z',
    '2026-01-01T00:00:00.Z',
    '2026-01-01T00:00:00.1234567890Z',
    '',
    '2026-01-01',
  ])('%s is none', (text) => {
    expect(parseInstant(text)).toBeUndefined();
  });

  it('is what `Date` says it is, for any text that looks like one, and is written so that it reads back', () => {
    const two = (max: number) => fc.integer({ min: 0, max }).map((n) => n.toString().padStart(2, '0'));
    const text = fc
      .tuple(
        fc.integer({ min: 0, max: 9999 }).map((n) => n.toString().padStart(4, '0')),
        two(13),
        two(32),
        two(25),
        two(61),
        two(61),
        fc.oneof(fc.constant(''), fc.stringMatching(/^\.\d{0,10}$/)),
        fc.oneof({ weight: 3, arbitrary: fc.constant('Z') }, fc.constantFrom('z', '+00:00', '-12:30', '+24:00', '+05:60', '')),
      )
      .map(([y, mo, d, h, m, s, f, z]) => `${y}-${mo}-${d}T${h}:${m}:${s}${f}${z}`);
    fc.assert(
      fc.property(text, (one) => {
        const us = parseInstant(one);
        expect(us).toBe(plainly(one));
        if (us !== undefined && us > parseInstant('0001-01-01T00:00:00Z')! && us < parseInstant('9999-12-31T23:59:59Z')!)
          expect(parseInstant(instantText(us))).toBe(us);
      }),
      { numRuns: 2_000 },
    );
    fc.assert(
      fc.property(fc.bigInt({ min: -(10n ** 16n), max: 10n ** 17n }), (us) => {
        expect(parseInstant(instantText(us))).toBe(us);
      }),
      { numRuns: 2_000 },
    );
  });
});
