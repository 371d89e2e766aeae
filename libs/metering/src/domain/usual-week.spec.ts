import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { roundedUp, usualBound, usualFromJson, usualToJson, withHour, type UsualWeek } from './usual-week.js';
import { hour } from '../testing/hours.js';

const after = (amounts: [number, bigint][], from: UsualWeek | null = null): UsualWeek | null =>
  amounts.reduce<UsualWeek | null>((week, [n, amount]) => withHour(week, hour(n), amount) ?? week, from);

describe('what a series usually uses', () => {
  it('bounds nothing before a week of use is known, and then by its largest hour', () => {
    const week = after([
      [0, 10n],
      [50, 96n],
      [100, 20n],
    ]);
    expect(usualBound(week, hour(167), 50n, 1n)).toBeNull();
    expect(usualBound(week, hour(168), 50n, 1n)).toBe(4_800n);
    // The large hour lies on the third day: it counts to the end of the tenth.
    expect(usualBound(after([[230, 10n]], week), hour(239), 50n, 1n)).toBe(4_800n);
    expect(usualBound(after([[230, 10n]], week), hour(240), 50n, 1n)).toBe(50n * roundedUp(20n));
  });

  it('is never less than so many units, so that the beginnings of a small meter are no finding', () => {
    expect(usualBound(after([[0, 1n]]), hour(170), 50n, 1_024n)).toBe(51_200n);
    expect(usualBound(after([[0, 1n]]), hour(170), 0n, 1_024n), 'switched off').toBeNull();
  });

  it('begins anew after a week without use', () => {
    const idle = after([[0, 10n]]);
    expect(usualBound(idle, hour(24 * 9), 50n, 1n)).toBeNull();
    const again = after([[24 * 9, 7n]], idle);
    expect(again!.since).toBe(hour(24 * 9));
    expect(usualBound(again, hour(24 * 15), 50n, 1n)).toBeNull();
    expect(usualBound(again, hour(24 * 16), 50n, 1n)).toBe(350n);
  });

  it('is written only where the figure changes, and not for every little growth', () => {
    let writes = 0;
    let week: UsualWeek | null = null;
    for (let n = 0; n < 240; n++) {
      const next = withHour(week, hour(n), 1_000_000n + 1_000n * BigInt(n));
      if (next) writes += 1;
      week = next ?? week;
    }
    expect(writes).toBeLessThan(24);
    expect(Object.keys(week!.days).length).toBeLessThanOrEqual(8);
  });

  it('never lies below the largest hour and at most an eighth above, whatever came in whatever order', () => {
    fc.assert(
      fc.property(fc.array(fc.bigInt({ min: 1n, max: 1n << 100n }), { minLength: 1, maxLength: 24 }), (amounts) => {
        const most = amounts.reduce((a, b) => (a > b ? a : b));
        const week = after(amounts.map((a, i) => [i, a]));
        const figure = Object.values(week!.days)[0]!;
        expect(figure).toBe(roundedUp(most));
        expect(figure >= most && figure * 8n <= most * 9n + 8n).toBe(true);
        expect(usualFromJson(JSON.parse(JSON.stringify(usualToJson(week!))))).toEqual(week);
      }),
    );
  });
});
