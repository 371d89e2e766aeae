import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';
import { getSubscription, subscriptionIdOf } from '../src/index.js';
import { eventOf, truthOf } from '../src/testing/index.js';
import { expectUnbroken, Rig, told } from './rig.js';

describe('a purchase', () => {
  let rig: Rig;
  let id: string;
  beforeAll(async () => {
    rig = await Rig.open();
  });
  afterAll(() => rig?.close());
  beforeEach(() => {
    id = randomUUID();
    rig.at('10:00');
  });

  const see = (time: string, over: Partial<SubscriptionTruth>, event?: Partial<FulfillmentEvent>) => rig.see(id, time, over, event);
  const active = (over?: Partial<SubscriptionTruth>): Promise<string> => rig.active(id, over);

  describe('beginning', () => {
    it('is created waiting for fulfilment, with the newest version of its plan pinned and 30 days to activate', async () => {
      const outcome = await see('10:00', { quantity: 3, aliases: [{ kind: 'agreement', externalId: `agr-${id}` }] });
      expect(outcome).toEqual({ result: 'applied', subscriptionId: subscriptionIdOf('azure', id), changes: ['created'] });
      const record = await rig.get(id);
      const plan = await rig.db.ops((tx) => rig.catalog.latest(tx, 'azure', 'tide-cells', 'standard'));
      expect(record).toMatchObject({
        state: 'pending_fulfillment',
        tenantId: null,
        planVersionId: plan!.planVersionId,
        quantity: 3,
        activateBy: new Date('2030-05-31T10:00:00Z'),
      });
      expect(await rig.segments(id)).toEqual([]);
      expect(
        await rig.db.ops((tx) =>
          tx.query('select kind, external_id from subscription_aliases where subscription_id = $1', [record.subscriptionId]),
        ),
      ).toEqual([{ kind: 'agreement', external_id: `agr-${id}` }]);
    });

    it('keeps who sold it where a later read does not tell, and forgets where it tells of nobody [AZ-150]', async () => {
      const reseller = { accountId: 'a partner', authorizationId: null };
      const shown = async (): Promise<unknown> => (await rig.db.ops((tx) => getSubscription(tx, subscriptionIdOf('azure', id))))!.reseller;
      await see('10:00', {});
      expect(await shown()).toBeNull();
      await see('10:01', { reseller });
      expect(await shown()).toEqual(reseller);
      await see('10:02', {});
      expect(await shown()).toEqual(reseller);
      await see('10:03', { reseller: null });
      expect(await shown()).toBeNull();
    });

    it('of an offer that is not in the catalog is journalled and left alone', async () => {
      expect(await see('10:00', { externalOfferId: 'somebody-elses' })).toMatchObject({
        result: 'parked',
        subscriptionId: null,
        code: 'foreign_offer',
      });
      await expect(rig.get(id)).rejects.toThrow(/subscription.not_found/);
      expect(
        await rig.db.ops((tx) =>
          tx.query('select subscription_id, outcome from fulfillment_events where external_subscription_id = $1', [id]),
        ),
      ).toEqual([{ subscription_id: null, outcome: expect.stringMatching(/^parked: .*not ours/) }]);
    });

    it('of an unknown plan of our offer is parked, never given a default [GC-29]', async () => {
      expect(await see('10:00', { externalPlanId: 'mystery' })).toMatchObject({
        result: 'parked',
        subscriptionId: null,
        code: 'unmapped_plan',
      });
      await expect(rig.get(id)).rejects.toThrow(/subscription.not_found/);
    });

    it('that the marketplace does not know is parked as gone and changes nothing', async () => {
      await active();
      expect(await rig.apply(eventOf(truthOf({ externalSubscriptionId: id }), { truth: null, kind: 'ended' }))).toMatchObject({
        result: 'parked',
        code: 'gone',
      });
      expect((await rig.get(id)).state).toBe('active');
    });

    it('is one row when webhook and landing race, whichever of its keys they meet at', async () => {
      for (let round = 0; round < 60; round += 1) {
        id = randomUUID();
        const truth = truthOf({ externalSubscriptionId: id });
        const outcomes = await Promise.all(Array.from({ length: 6 }, () => rig.apply(eventOf(truth))));
        expect(outcomes.every((o) => o.subscriptionId === subscriptionIdOf('azure', id))).toBe(true);
        expect(outcomes.filter((o) => o.result === 'applied')).toHaveLength(1);
      }
    });

    it('keeps the newer view when an older one races with it', async () => {
      const race = (['active', 'pending_fulfillment'] as const).map((state, i) =>
        rig.apply(eventOf(truthOf({ externalSubscriptionId: id, state, version: `v${2 - i}` }))),
      );
      await Promise.all(race);
      expect(await rig.get(id)).toMatchObject({ state: 'active', truthVersion: 'v2' });
    });
  });

  describe('activating', () => {
    it('opens the first segment and grants the rights of its plan when it happened', async () => {
      await see('10:00', {});
      await rig.bind(id);
      rig.at('10:20');
      await see('10:20', { state: 'active', observedAt: new Date('2030-05-01T10:15:00Z') });
      expect(told(await rig.segments(id))).toEqual(['10:15– activated standard']);
      expect(await rig.rights(id)).toEqual([
        { what: 'blob_endpoint', value: 'true', from: '10:15', until: null },
        { what: 'storage_bytes', value: '1000', from: '10:15', until: null },
        { what: 'support', value: 'business-hours', from: '10:15', until: null },
      ]);
      expect(await rig.published(id)).toEqual(['tenant_bound', 'activated']);
    });

    it('without a tenant asks for one and counts from the instant it has it', async () => {
      await see('10:00', { state: 'active' });
      expect(await rig.published(id)).toEqual(['needs_tenant', 'activated']);
      expect(await rig.segments(id)).toEqual([]);
      rig.at('10:30');
      await rig.bind(id);
      expect(told(await rig.segments(id))).toEqual(['10:30– activated standard']);
      expect(await rig.rights(id)).toHaveLength(3);
    });

    it('takes plan, quantity and term as they are at the activation into the first segment', async () => {
      await see('10:00', { externalPlanId: 'seats', quantity: 2 });
      await rig.bind(id);
      const term = { unit: 'P1M', startsAt: new Date('2030-05-01T10:00:00Z'), endsAt: new Date('2030-06-01T10:00:00Z') };
      await see('10:00', { externalPlanId: 'seats', quantity: 5, state: 'active', term });
      const segments = await rig.segments(id);
      expect(told(segments)).toEqual(['10:00– activated seats×5']);
      expect(segments[0]).toMatchObject({ termStartsAt: term.startsAt, termEndsAt: term.endsAt });
      expect(await rig.rights(id)).toContainEqual({ what: 'storage_bytes', value: '500', from: '10:00', until: null });
    });

    it('is not skipped when the first thing we see is a suspension', async () => {
      await see('10:00', {});
      await rig.bind(id);
      await see('10:10', { state: 'suspended' });
      expect(await rig.get(id)).toMatchObject({ state: 'suspended', suspendedSource: 'marketplace' });
      await see('10:40', { state: 'active' });
      expect(told(await rig.segments(id))).toEqual(['10:40– activated standard']);
    });

    it('begins to count a purchase that was suspended before it had a tenant', async () => {
      await see('10:00', { state: 'active' });
      await see('10:10', { state: 'suspended' });
      rig.at('10:20');
      await rig.bind(id);
      expect(await rig.segments(id)).toEqual([]);
      await see('10:30', { state: 'active' });
      expect(told(await rig.segments(id))).toEqual(['10:30– activated standard']);
      expect((await rig.rights(id)).map((r) => r.from)).toEqual(['10:30', '10:30', '10:30']);
    });

    it('asks for a tenant at the reinstatement if there is none yet', async () => {
      await see('10:10', { state: 'suspended' });
      expect(await rig.published(id)).toEqual(['activated', 'suspended']);
      await see('10:20', { state: 'active' });
      expect(await rig.published(id)).toEqual(['activated', 'suspended', 'needs_tenant', 'reinstated']);
    });
  });

  describe('suspended and reinstated', () => {
    it('is one unbroken row of segments of which the suspended one is not billable', async () => {
      await active();
      await see('10:20', { state: 'suspended' });
      await see('10:50', { state: 'active' });
      const segments = await rig.segments(id);
      expect(told(segments)).toEqual([
        '10:00–10:20 activated standard',
        '10:20–10:50 suspension standard !',
        '10:50– reinstatement standard',
      ]);
      expectUnbroken(segments);
      expect(await rig.published(id)).toEqual(['tenant_bound', 'activated', 'suspended', 'reinstated']);
      expect((await rig.get(id)).suspendedSource).toBeNull();
      expect((await rig.rights(id)).every((r) => r.until === null)).toBe(true);
    });
  });

  describe('ending', () => {
    it('closes the last segment and all rights at the cut and waits for its usage to be settled', async () => {
      await active();
      rig.at('10:45');
      await see('10:45', { state: 'ended' }, { kind: 'ended', effectiveAt: new Date('2030-05-01T10:40:00Z') });
      expect(await rig.get(id)).toMatchObject({ state: 'closing', endedAt: new Date('2030-05-01T10:40:00Z') });
      expect(told(await rig.segments(id))).toEqual(['10:00–10:40 activated standard']);
      expect((await rig.rights(id)).every((r) => r.until === '10:40')).toBe(true);
      expect(await rig.db.ops((tx) => rig.subscriptions.settle(tx, subscriptionIdOf('azure', id)))).toBe(true);
      expect((await rig.get(id)).state).toBe('cancelled');
      expect(await rig.published(id)).toEqual(['tenant_bound', 'activated', 'ended', 'cancelled']);
      expect(await rig.db.ops((tx) => rig.subscriptions.settle(tx, subscriptionIdOf('azure', id)))).toBe(false);
    });

    it('keeps plan and quantity of the last segment, whatever the ended purchase shows', async () => {
      await active({ externalPlanId: 'seats', quantity: 4 });
      await see('10:40', { state: 'ended', externalPlanId: 'premium', quantity: null });
      expect(await rig.get(id)).toMatchObject({ externalPlanId: 'seats', quantity: 4, state: 'closing' });
    });

    it('without having counted anything has nothing to settle', async () => {
      await see('10:00', { state: 'active' });
      await see('10:10', { state: 'ended' });
      expect((await rig.get(id)).state).toBe('cancelled');
    });

    it('before the activation is voided', async () => {
      await see('10:00', {});
      await see('10:10', { state: 'ended' });
      expect((await rig.get(id)).state).toBe('voided');
      expect(await rig.published(id)).toEqual(['voided']);
    });

    it('is final: a view that shows it active again revives nothing', async () => {
      await active();
      await see('10:40', { state: 'ended' });
      expect(await see('10:50', { state: 'active', externalPlanId: 'premium' })).toMatchObject({ result: 'unchanged' });
      expect(told(await rig.segments(id))).toEqual(['10:00–10:40 activated standard']);
    });
  });

  describe('late and repeated events', () => {
    it('change nothing when they repeat', async () => {
      await active();
      const before = { record: await rig.get(id), segments: await rig.segments(id), rights: await rig.rights(id) };
      expect(await see('10:05', { state: 'active' })).toMatchObject({ result: 'unchanged', why: 'nothing new' });
      expect(await rig.segments(id)).toEqual(before.segments);
      expect(await rig.rights(id)).toEqual(before.rights);
    });

    it('are ignored when they show an older view than the one applied', async () => {
      await active({ version: '2030-05-01T10:00:00Z' });
      await see('10:20', { state: 'suspended', version: '2030-05-01T10:20:00Z' });
      expect(await see('10:30', { state: 'active', version: '2030-05-01T10:10:00Z' })).toMatchObject({
        result: 'unchanged',
        why: /newer view/,
      });
      expect((await rig.get(id)).state).toBe('suspended');
    });

    it('do not lose the order when a view without a version comes in between', async () => {
      await active({ version: 'v5' });
      await see('10:10', { state: 'suspended', version: null });
      await see('10:20', { state: 'active', version: 'v4' });
      expect((await rig.get(id)).state).toBe('suspended');
    });

    it('cut neither in the future nor before the segment they end has begun', async () => {
      await active();
      await see('10:20', { state: 'suspended' }, { effectiveAt: new Date('2030-05-01T09:00:00Z') });
      await see('10:30', { state: 'active' }, { effectiveAt: new Date('2030-05-01T11:00:00Z') });
      const segments = await rig.segments(id);
      expectUnbroken(segments);
      expect(segments.map((s) => s.startsAt.toISOString().slice(11, 23))).toEqual(['10:00:00.000', '10:00:00.001', '10:30:00.000']);
    });

    it('are all in the journal, with what became of each', async () => {
      await active();
      await see('10:20', { state: 'active' });
      const rows = await rig.db.ops((tx) =>
        tx.query<{ outcome: string }>(
          'select outcome from fulfillment_events where external_subscription_id = $1 order by recorded_at, fulfillment_event_id',
          [id],
        ),
      );
      expect(rows.map((r) => r.outcome)).toEqual(
        expect.arrayContaining(['applied: created', 'applied: pending_fulfillment → active', 'unchanged: nothing new']),
      );
    });
  });

  describe('and its tenant', () => {
    it('are bound once: the same again is nothing, another is refused', async () => {
      const tenantId = await active();
      await rig.bind(id, tenantId);
      await expect(rig.bind(id)).rejects.toThrow(/subscription.tenant_bound/);
      expect((await rig.published(id)).filter((name) => name === 'tenant_bound')).toHaveLength(1);
    });
  });
});
