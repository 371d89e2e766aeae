import { describe, expect, it } from 'vitest';
import { expiryOf } from './entitlements.js';
import { legacyTruth, newLegacyRefs } from './legacy/legacy-refs.js';
import { NOTHING_KNOWN, truthOfRefs } from './refs.js';

const NOW = new Date('2026-11-20T10:00:00Z');
const granted = (...ends: (string | null)[]) => ({
  value: { quantityDimension: 'nodes', list: ends.map((expiresAt) => ({ dimension: 'nodes', value: 1, expiresAt })) },
  at: NOW.toISOString(),
});
const LICENCE = { ...NOTHING_KNOWN, licenseId: 'l-0123456789abcdef', productCode: 'p', licensed: true };

describe("the end of a contract's term", () => {
  it('is what its entitlements tell, the earliest of them, where no agreement does [AW-131]', () => {
    const entitlements = granted('2027-11-20T00:00:00.000Z', null, '2027-10-01T00:00:00.000Z');
    const end = new Date('2027-10-01T00:00:00Z');
    expect(truthOfRefs({ ...LICENCE, entitlements }, NOW)).toMatchObject({ term: { endsAt: end }, endsAt: null });
    expect(legacyTruth({ ...newLegacyRefs('p', 'c'), entitlements }, NOW)).toMatchObject({ term: { endsAt: end }, endsAt: null });
  });

  it('is that of the agreement where one tells it, and none where nothing does [AW-131]', () => {
    const endsAt = { value: '2027-01-01T00:00:00.000Z', at: NOW.toISOString() };
    const entitlements = granted('2027-11-20T00:00:00.000Z');
    expect(truthOfRefs({ ...LICENCE, endsAt, entitlements }, NOW).term.endsAt).toEqual(new Date(endsAt.value));
    expect(truthOfRefs(LICENCE, NOW).term.endsAt).toBeNull();
    for (const none of [null, granted(), granted(null), granted('soon')]) expect(expiryOf(none?.value)).toBeNull();
  });

  it('ends nothing by itself, also without renewal [AW-131]', () => {
    const autoRenew = { value: false, at: NOW.toISOString() };
    const passed = granted('2026-11-19T00:00:00.000Z');
    expect(truthOfRefs({ ...LICENCE, registered: true, autoRenew, entitlements: passed }, NOW)).toMatchObject({
      state: 'active',
      endsAt: null,
    });
  });
});
