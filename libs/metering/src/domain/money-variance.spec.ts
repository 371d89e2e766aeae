import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { sumDecimals } from '#platform';
import { nameVariance } from './money-variance.js';
import { minus } from './remittance.js';
import { quantaText } from './units.js';

const amount = fc.bigInt({ min: 0n, max: 10n ** 12n }).map((d) => quantaText(d, 4));

describe('the variance of a month', () => {
  it('is in named parts that add up to it, whatever the figures', () => {
    fc.assert(
      fc.property(amount, amount, amount, fc.boolean(), fc.boolean(), (expected, invoiced, credited, hasUnpriced, young) => {
        const parts = nameVariance({ expected, invoiced, credited, hasUnpriced, young });
        expect(sumDecimals(parts.map((p) => p.amount))).toBe(sumDecimals([invoiced, minus(expected)]));
      }),
    );
  });
  it.each([
    ['not yet visible while the month is young', { invoiced: '0', young: true }, [['not_yet_visible', '-10']]],
    ['missing there when it is old', { invoiced: '0' }, [['missing_there', '-10']]],
    ['less than the usage', { invoiced: '8' }, [['less_than_usage', '-2']]],
    [
      'credited, and the rest less',
      { invoiced: '7', credited: '2' },
      [
        ['credited', '-2'],
        ['less_than_usage', '-1'],
      ],
    ],
    ['more, such as a flat fee', { invoiced: '12' }, [['more_than_usage', '2']]],
    ['units whose price is unknown', { invoiced: '12', hasUnpriced: true }, [['price_unknown', '2']]],
    ['nothing', { invoiced: '10' }, []],
  ])('is %s', (_, over, expected) =>
    expect(
      nameVariance({ expected: '10', credited: '0', hasUnpriced: false, young: false, ...over } as never).map((v) => [v.name, v.amount]),
    ).toEqual(expected),
  );
});
