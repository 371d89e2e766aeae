import { describe, expect, it } from 'vitest';
import { foldAtRisk, leftWithin, type WaitingUsage } from './at-risk.js';

const NOW = new Date('2026-03-10T12:00:00Z');
const inHours = (hours: number): Date => new Date(NOW.getTime() + hours * 3_600_000);
const usage = (change: Partial<WaitingUsage> = {}): WaitingUsage => ({
  marketplace: 'azure',
  dimension: 'stored',
  listedUnit: 'GiB-hour',
  targetAt: inHours(1),
  hardAt: inHours(20),
  items: 1,
  units: '10',
  price: { currency: 'USD', unitPrice: '0.1', provisional: false },
  ...change,
});

describe('what is at risk', () => {
  it('stands under the time that is left, the edge itself included', () => {
    expect([-1, 0, 0.5, 1, 1.01, 4, 12, 12.01].map((h) => leftWithin(inHours(h), NOW))).toEqual([
      'missed',
      'missed',
      '1h',
      '1h',
      '4h',
      '4h',
      '12h',
      'later',
    ]);
  });

  it('adds exactly, and never across marketplaces or currencies', () => {
    const [aws, azure] = foldAtRisk(
      [
        usage({ units: '0.1', price: { currency: 'USD', unitPrice: '0.2', provisional: false } }),
        usage({ units: '0.2', price: { currency: 'USD', unitPrice: '0.1', provisional: true } }),
        usage({ units: '5', price: { currency: 'EUR', unitPrice: '2', provisional: false } }),
        usage({ marketplace: 'aws', units: '7' }),
      ],
      NOW,
    );
    expect(azure!.buckets).toEqual([
      {
        within: 'later',
        items: 3,
        dimensions: [{ dimension: 'stored', listedUnit: 'GiB-hour', units: '5.3' }],
        amounts: [
          { currency: 'EUR', amount: '10', provisional: false },
          { currency: 'USD', amount: '0.04', provisional: true },
        ],
        unpriced: [],
      },
    ]);
    expect(aws!.buckets[0]!.amounts).toEqual([{ currency: 'USD', amount: '0.7', provisional: false }]);
  });

  it('without a known price is units, never 0', () => {
    const [azure] = foldAtRisk([usage({ price: null, units: '3.50' })], NOW);
    expect(azure!.buckets[0]).toMatchObject({ amounts: [], unpriced: [{ dimension: 'stored', listedUnit: 'GiB-hour', units: '3.5' }] });
  });

  it('warns where it is late or four hours are left, and pages in the last hour and after it', () => {
    const alert = (change: Partial<WaitingUsage>): string => foldAtRisk([usage(change)], NOW)[0]!.alert;
    expect(alert({})).toBe('none');
    expect(alert({ targetAt: NOW })).toBe('warn');
    expect(alert({ hardAt: inHours(4) })).toBe('warn');
    expect(alert({ hardAt: inHours(1) })).toBe('page');
    expect(alert({ hardAt: NOW })).toBe('page');
  });

  it('names the next deadline that can still be kept', () => {
    const [azure] = foldAtRisk([usage({ hardAt: inHours(-1) }), usage({ hardAt: inHours(5), items: 3, targetAt: NOW }), usage()], NOW);
    expect(azure).toMatchObject({ nextDeadline: inHours(5), items: 5, pastTarget: 3 });
    expect(foldAtRisk([usage({ hardAt: NOW })], NOW)[0]!.nextDeadline).toBeNull();
  });
});
