import { describe, expect, it } from 'vitest';
import { claimBy, FINDING_KINDS, notASecondPerson, settlementsOf } from './finding-kinds.js';
import { effectivePrice, timesDecimal, type PriceKey, type PriceRow } from './price.js';

const day = (n: number): Date => new Date(Date.UTC(2026, 2, n));
const row = (over: Partial<PriceRow>): PriceRow => ({
  priceId: 'p',
  marketplace: 'azure',
  externalOfferId: 'cells',
  externalPlanId: 'gold',
  dimension: 'stored',
  subscriptionId: null,
  currency: 'USD',
  unitPrice: '0.02',
  effectiveFrom: day(1),
  source: 'listing',
  recordedAt: day(1),
  ...over,
});
const key: PriceKey = {
  marketplace: 'azure',
  externalOfferId: 'cells',
  externalPlanId: 'gold',
  dimension: 'stored',
  subscriptionId: 's1',
  privateOffer: false,
};

describe('the effective price', () => {
  it('is the newest in force in that hour, whatever the order in which prices were told', () => {
    const prices = [
      row({ unitPrice: '3', effectiveFrom: day(20) }),
      row({ unitPrice: '1' }),
      row({ unitPrice: '2', effectiveFrom: day(10) }),
    ];
    expect([1, 9, 10, 19, 20].map((d) => effectivePrice(prices, key, day(d))?.unitPrice)).toEqual(['1', '1', '2', '2', '3']);
    expect(effectivePrice(prices, key, new Date(day(1).getTime() - 1))).toBeNull();
  });
  it('is the purchase’s own before the list’s, also where the list’s is newer, and never another purchase’s', () => {
    const prices = [
      row({ effectiveFrom: day(5) }),
      row({ unitPrice: '0.01', subscriptionId: 's1' }),
      row({ unitPrice: '9', subscriptionId: 's2', effectiveFrom: day(6) }),
    ];
    expect(effectivePrice(prices, key, day(7))?.unitPrice).toBe('0.01');
  });
  it('of a private offer is provisional while only the list price is known', () => {
    expect(effectivePrice([row({})], { ...key, privateOffer: true }, day(2))?.provisional).toBe(true);
    expect(effectivePrice([row({ subscriptionId: 's1' })], { ...key, privateOffer: true }, day(2))?.provisional).toBe(false);
  });
  it('is corrected by a newer row of the same instant', () => {
    expect(effectivePrice([row({ unitPrice: '2', recordedAt: day(3) }), row({ unitPrice: '1' })], key, day(4))?.unitPrice).toBe('2');
  });
  it('multiplies exactly', () => {
    expect([timesDecimal('0.1', '0.2'), timesDecimal('3', '0.000001'), timesDecimal('100', '1.50'), timesDecimal('7', '0')]).toEqual([
      '0.02',
      '0.000003',
      '150',
      '0',
    ]);
  });
});

describe('settlements', () => {
  it('name at least one way for every kind, never carry a residue or another month, and never bill twice what may have been taken', () => {
    for (const kind of FINDING_KINDS) expect(settlementsOf(kind).length, kind).toBeGreaterThan(0);
    for (const kind of ['loss.residue', 'loss.month_cut', 'loss.suspended_unbillable'] as const)
      expect(settlementsOf(kind)).not.toContain('carry');
    expect(settlementsOf('unknown_outcome')).not.toContain('invoice_outside');
    expect(settlementsOf('unknown_outcome')).not.toContain('carry');
  });
  it('take two persons for two persons only', () => {
    const first = { by: { keyId: 'a', name: 'Ada Winter' }, at: day(2) };
    expect(notASecondPerson(first, { keyId: 'a', name: 'Ada Winter', keyIssuedAt: day(1) })).toMatch(/same key/);
    expect(notASecondPerson(first, { keyId: 'b', name: ' ada winter', keyIssuedAt: day(1) })).toMatch(/Ada Winter's/);
    expect(notASecondPerson(first, { keyId: 'b', name: 'Brigid Holm', keyIssuedAt: day(3) })).toMatch(/younger/);
    expect(notASecondPerson(first, { keyId: 'b', name: 'Brigid Holm', keyIssuedAt: day(1) })).toBeNull();
  });
  it('show Azure’s thirty days for a claim, and none elsewhere', () => {
    expect(claimBy('over_reported', 'azure', day(1))).toEqual(day(31));
    expect(claimBy('over_reported', 'aws', day(1))).toBeNull();
    expect(claimBy('loss.expired', 'azure', day(1))).toBeNull();
  });
});
