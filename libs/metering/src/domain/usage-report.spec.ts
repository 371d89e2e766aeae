import { describe, expect, it } from 'vitest';
import { dateOf, dateOrderOf, midnight, periodOf, proposeMapping, wholeFrom } from './usage-report.js';

describe('columns of usage reports', () => {
  it.each([
    [
      'the daily usage feed of AWS',
      [
        'valid_from',
        'delete_date',
        'usage_feed_id',
        'usage_date',
        'product_id',
        'agreement_id',
        'end_user_account_id',
        'dimension_key',
        'usage_quantity',
      ],
      {
        day: 'usage_date',
        agreement: 'agreement_id',
        dimension: 'dimension_key',
        quantity: 'usage_quantity',
        key: 'usage_feed_id',
        version: 'valid_from',
        deleted: 'delete_date',
      },
    ],
    [
      'the usage export of Partner Center',
      ['MarketplaceSubscriptionId', 'MonthStartDate', 'SKU', 'UsageDate', 'AssetId', 'MeterDimension', 'RawUsage', 'MeteredUsage'],
      { day: 'UsageDate', month: 'MonthStartDate', purchase: 'AssetId', dimension: 'MeterDimension', quantity: 'MeteredUsage' },
    ],
    [
      'charges and usage of Google',
      ['Month', 'Account ID', 'Entitlement ID', 'SKU ID', 'Usage amount', 'Charges'],
      { month: 'Month', purchase: 'Entitlement ID', account: 'Account ID', dimension: 'SKU ID', quantity: 'Usage amount' },
    ],
    ['nothing known', ['when', 'how much'], {}],
  ])('are recognised in %s', (_what, columns, mapping) => {
    expect(proposeMapping(columns)).toEqual(mapping);
  });
});

describe('days and months of a report', () => {
  it('are read as people write them, and not guessed where they could be either', () => {
    expect(dateOf('2026-03-31T00:00:00Z', 'day', null)).toEqual([2026, 3, 31]);
    expect(dateOf('202603', 'month', null)).toEqual([2026, 3, 1]);
    expect(dateOf('3/31/2026 12:00:00 AM', 'day', 'month_first')).toEqual([2026, 3, 31]);
    expect(dateOf('31.03.2026', 'day', 'day_first')).toEqual([2026, 3, 31]);
    for (const [cell, grain] of [
      ['2026-02-30', 'day'],
      ['2026-03', 'day'],
      ['03/31/2026', 'day'],
      ['total', 'month'],
    ] as const)
      expect(dateOf(cell, grain, null), cell).toBeNull();
    expect(dateOrderOf(['3/4/2026', '3/14/2026'])).toBe('month_first');
    expect(dateOrderOf(['4.3.2026', '14.3.2026'])).toBe('day_first');
    expect([dateOrderOf(['3/4/2026']), dateOrderOf(['13/1/2026', '1/13/2026']), dateOrderOf(['2026-03-04'])]).toEqual([
      'unclear',
      'unclear',
      null,
    ]);
  });

  it('begin at the midnight of their zone, also when its clocks change', () => {
    expect(midnight('UTC', 2026, 13, 1).toISOString()).toBe('2027-01-01T00:00:00.000Z');
    const hours = (day: number, month: number): number => {
      const { start, end } = periodOf('America/Los_Angeles', 'day', [2026, month, day]);
      return (+end - +start) / 3_600_000;
    };
    expect(midnight('America/Los_Angeles', 2026, 3, 8).toISOString()).toBe('2026-03-08T08:00:00.000Z');
    expect(midnight('America/Los_Angeles', 2026, 3, 9).toISOString()).toBe('2026-03-09T07:00:00.000Z');
    expect([hours(7, 3), hours(8, 3), hours(1, 11)]).toEqual([24, 23, 25]);
  });

  it('are whole in a report only some time after: a day after two, a month of Google after its tenth working day', () => {
    expect(wholeFrom('aws', 'day', new Date('2026-03-11T00:00:00Z')).toISOString()).toBe('2026-03-13T00:00:00.000Z');
    expect(wholeFrom('azure', 'month', new Date('2026-04-01T00:00:00Z')).toISOString()).toBe('2026-04-04T00:00:00.000Z');
    // 1 April 2026 is a Wednesday: the tenth working day is the 14th.
    expect(wholeFrom('gcp', 'month', new Date('2026-04-01T07:00:00Z')).toISOString()).toBe('2026-04-15T07:00:00.000Z');
  });
});
