import { describe, expect, it } from 'vitest';
import { type FulfillmentEvent, MarketplaceBusy, type SubscriptionTruth } from '#marketplaces/core';
import { buildUsageItem, batchKey } from '../usage-item.js';
import type { AwsSettings } from '../settings.js';
import type { Entitlements, EntitlementReader } from '../entitlements.js';
import { mergeTruth } from '../merge-truth.js';
import { NOTHING_KNOWN } from '../refs.js';
import { keyChangeOf } from './key-change.js';
import { legacyIdOf, type LegacyRefs, newLegacyRefs } from './legacy-refs.js';
import { normaliseLegacy } from './normalise-legacy.js';

const PRODUCT = '4harborlegacy000000000000';
const CUSTOMER = 'aBcDeFgHiJk';
const settings = { productCodes: [PRODUCT], legacyProducts: { [PRODUCT]: { until: null } } } as unknown as AwsSettings;
const T0 = Date.parse('2026-11-20T10:00:00.000Z');
const at = (minutes: number): string => new Date(T0 + minutes * 60_000).toISOString();

/** What the app keeps, and a service whose answer a test may change. */
class Kept {
  readonly truths = new Map<string, SubscriptionTruth>();
  granted: Entitlements | null = null;

  async tell(action: string, minutes: number, nowMinutes = minutes): Promise<FulfillmentEvent> {
    const reader = { read: () => Promise.resolve(this.granted) } as unknown as EntitlementReader;
    const told = { action, customerIdentifier: CUSTOMER, productCode: PRODUCT, offerId: null, isFreeTrial: null };
    const [event] = await normaliseLegacy(told, at(minutes), new Date(at(nowMinutes)), {
      settings,
      entitlements: reader,
      now: new Date(at(nowMinutes)),
      recall: (id) => Promise.resolve(this.truths.get(id)?.refs ?? null),
    });
    const merged = mergeTruth(this.truths.get(event!.externalSubscriptionId) ?? null, event!);
    if (merged.truth) this.truths.set(merged.externalSubscriptionId, merged.truth);
    return merged;
  }

  states(): [string, string][] {
    return [...this.truths].map(([id, truth]) => [id.slice(legacyIdOf(PRODUCT, CUSTOMER).length), truth.state]);
  }
}

describe('a customer who subscribes again', () => {
  it.each([
    ['after the hour, with unsubscribe-success between', ['unsubscribe-success', 130]],
    ['inside the hour, when no unsubscribe-success ever comes', null],
  ] as const)('%s, is a purchase of its own, which ends by its own end [AW-84]', async (_what, closing) => {
    const kept = new Kept();
    await kept.tell('subscribe-success', 0);
    expect((await kept.tell('unsubscribe-pending', 70)).kind).toBe('ended');
    if (closing) await kept.tell(closing[0], closing[1]);
    expect(await kept.tell('subscribe-success', 131)).toMatchObject({
      kind: 'purchased',
      externalSubscriptionId: legacyIdOf(PRODUCT, CUSTOMER, 2),
    });
    expect(kept.states()).toEqual([
      ['', 'ended'],
      [':2', 'pending_fulfillment'],
    ]);
    // Told again it is the same one.
    await kept.tell('subscribe-success', 140);
    await kept.tell('unsubscribe-pending', 200);
    expect(kept.states()).toEqual([
      ['', 'ended'],
      [':2', 'ended'],
    ]);
  });

  it('and whose old end is told late, keeps the new subscription [AW-84]', async () => {
    const kept = new Kept();
    await kept.tell('subscribe-success', 0);
    await kept.tell('subscribe-success', 90);
    expect(await kept.tell('unsubscribe-pending', 70, 95)).toMatchObject({
      kind: 'noted',
      note: expect.stringContaining('earlier') as string,
    });
    expect(kept.states()).toEqual([['', 'pending_fulfillment']]);
    expect((await kept.tell('unsubscribe-pending', 100)).kind).toBe('ended');
  });
});

describe('a payment that failed', () => {
  it('calls the purchase off, whatever the buyer does; a success is a purchase of its own [AW-79]', async () => {
    const kept = new Kept();
    expect(await kept.tell('subscribe-fail', 0)).toMatchObject({ kind: 'ended', effectiveAt: new Date(at(0)) });
    const id = legacyIdOf(PRODUCT, CUSTOMER);
    const truth = kept.truths.get(id)!;
    const served = {
      kind: 'activated' as const,
      marketplace: 'aws' as const,
      externalSubscriptionId: id,
      occurredAt: new Date(at(1)),
      note: 'serves',
    };
    const merged = mergeTruth(truth, { ...served, truth: { ...truth, refs: { ...truth.refs, registered: true } } });
    expect(merged.kind).toBe('noted');
    kept.truths.set(id, merged.truth!);
    expect(kept.states()).toEqual([['', 'voided']]);
    for (const minutes of [2, 3]) await kept.tell('subscribe-success', minutes);
    await kept.tell('subscribe-fail', 0);
    expect(kept.states()).toEqual([
      ['', 'voided'],
      [':2', 'pending_fulfillment'],
    ]);
    await kept.tell('unsubscribe-pending', 60);
    expect(kept.states()).toEqual([
      ['', 'voided'],
      [':2', 'ended'],
    ]);
  });

  it.each([
    ['in order', ['subscribe-success', 'subscribe-fail']],
    ['turned round', ['subscribe-fail', 'subscribe-success']],
  ] as const)('after a success (told %s) takes nothing of what is paid [AW-79]', async (_order, actions) => {
    const kept = new Kept();
    const told = new Map<string, FulfillmentEvent>();
    for (const action of actions) told.set(action, await kept.tell(action, action === 'subscribe-success' ? 4 : 5));
    expect(told.get('subscribe-success')!.kind).toBe('purchased');
    expect([...kept.truths.values()].map((truth) => truth.state).filter((state) => state !== 'voided')).toEqual(['pending_fulfillment']);
    if (actions[0] === 'subscribe-success') expect(told.get('subscribe-fail')!.kind).toBe('noted');
  });
});

describe('what AWS grants', () => {
  it('is asked for again while it is empty, and is an end only after half an hour of that [AW-81]', async () => {
    const kept = new Kept();
    kept.granted = { quantityDimension: 'seats', list: [{ dimension: 'seats', value: 5, expiresAt: null }] };
    expect(await kept.tell('entitlement-updated', 0)).toMatchObject({ kind: 'purchased', truth: { quantity: 5 } });
    kept.granted = { quantityDimension: 'seats', list: [] };
    for (const minutes of [60, 75, 89]) await expect(kept.tell('entitlement-updated', 60, minutes)).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(kept.states()).toEqual([['', 'pending_fulfillment']]);
    expect(await kept.tell('entitlement-updated', 60, 90)).toMatchObject({ kind: 'ended', effectiveAt: new Date(at(60)) });
    // A contract that is bought anew is another purchase.
    kept.granted = { quantityDimension: 'seats', list: [{ dimension: 'seats', value: 2, expiresAt: null }] };
    await kept.tell('entitlement-updated', 120);
    expect(kept.states()).toEqual([
      ['', 'ended'],
      [':2', 'pending_fulfillment'],
    ]);
  });
});

describe('the two keys of an hour', () => {
  const until = new Date('2026-12-01T00:00:00Z');
  const one = { region: 'us-east-1', legacyProducts: { [PRODUCT]: { until } }, licenceWindow: 'hour' as const };
  const input = (refs: object, id: string, hour: string) => ({
    itemId: 'i',
    marketplace: 'aws' as const,
    externalSubscriptionId: id,
    externalPlanId: 'standard',
    dimension: 'mib_egress',
    hourStart: new Date(hour),
    startsAt: new Date(hour),
    hourEnd: new Date(Date.parse(hour) + 3_600_000),
    quantity: '3',
    refs,
  });
  const old: LegacyRefs = { ...newLegacyRefs(PRODUCT, CUSTOMER), accountId: '111122223333' };
  const LICENCE = 'l-0123456789abcdef0123456789abcdef';
  const licensed = {
    ...NOTHING_KNOWN,
    licenseId: LICENCE,
    licenseArn: `arn:aws:license-manager::294400000000:license:${LICENCE}`,
    accountId: '111122223333',
    productCode: PRODUCT,
  };
  const build = (refs: object, id: string, hour: string) => buildUsageItem(input(refs, id, hour) as never, one);

  it('are never both taken: the hour decides, per product [AW-83]', () => {
    const [before, after] = ['2026-11-30T23:00:00.000Z', '2026-12-01T00:00:00.000Z'];
    const item = build(old, legacyIdOf(PRODUCT, CUSTOMER), before);
    expect(JSON.parse(item.body)).toEqual({
      Timestamp: Date.parse(before) / 1_000,
      CustomerIdentifier: CUSTOMER,
      Dimension: 'mib_egress',
      Quantity: 3,
    });
    expect(JSON.parse(build(licensed, LICENCE, after).body)).toMatchObject({
      LicenseArn: licensed.licenseArn,
      CustomerAWSAccountId: '111122223333',
    });
    expect(() => build(old, legacyIdOf(PRODUCT, CUSTOMER), after)).toThrow(/by licence only/);
    expect(() => build(licensed, LICENCE, before)).toThrow(/by customer identifier only/);
    // Another product has no such past.
    expect(() => build({ ...licensed, productCode: '4harborobjectcells0000000' }, LICENCE, before)).not.toThrow();
    expect(batchKey(item)).not.toBe(batchKey(build(licensed, LICENCE, after)));
  });

  it('joined by a person, hours of the old purchase go by the licence from the change on, and before it as ever [AW-132]', () => {
    const { former, next } = keyChangeOf(one)!.join(old, null, licensed.licenseArn, new Date('2026-11-20T00:00:00Z'));
    const [before, after] = ['2026-11-30T23:00:00.000Z', '2026-12-01T00:00:00.000Z'];
    const id = legacyIdOf(PRODUCT, CUSTOMER);
    expect(build(former.refs, id, before)).toEqual(build(old, id, before));
    const late = build(former.refs, id, after);
    expect(late).toEqual(build(next.refs, LICENCE, after));
    expect(batchKey(late)).toBe(batchKey(build(licensed, LICENCE, after)));
    expect(next).toMatchObject({
      supersedes: { kind: 'former_key', externalId: id, wholeHoursFrom: after },
      follows: [{ kind: 'former_key', externalId: id }],
      state: 'pending_fulfillment',
    });
    expect(former.aliases).toEqual([{ kind: 'former_key', externalId: id }]);
  });

  it('are joined for one buyer and product only, and with one licence [AW-134]', () => {
    const change = keyChangeOf(one)!;
    expect(change.mayJoin(old, licensed)).toBe(true);
    for (const other of [
      { accountId: '999922223333' },
      { productCode: '4harborobjectcells0000000' },
      { endedAt: '2026-11-20T00:00:00.000Z' },
    ]) {
      expect(change.mayJoin(old, { ...licensed, ...other })).toBe(false);
      expect(() => change.join(old, { ...licensed, ...other }, null, until)).toThrow(/aws\.not_joinable/);
    }
    const { former } = change.join(old, licensed, null, until);
    const another = licensed.licenseArn.replace('l-01', 'l-ff');
    expect(() => change.join(former.refs, null, another, until)).toThrow(/aws\.joined_already/);
    expect(() => change.join({ ...old, accountId: null }, null, another, until)).toThrow(/aws\.account_missing/);
    expect(change.dueAt(old)).toEqual(until);
    for (const refs of [former.refs, licensed, { ...old, endedAt: '2026-11-20T00:00:00.000Z' }]) expect(change.dueAt(refs)).toBeNull();
    expect(keyChangeOf({ legacyProducts: { [PRODUCT]: { until: null } } })).toBeNull();
  });
});
