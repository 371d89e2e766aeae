import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FulfillmentEvent, SubscriptionTruth } from '#marketplaces/core';
import { subscriptionIdOf } from '../src/index.js';
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

  describe('changing', () => {
    it('of plan cuts the segment and the rights at the same instant', async () => {
      await active();
      expect(await see('10:20', { state: 'active', externalPlanId: 'premium' })).toMatchObject({
        result: 'applied',
        changes: ['plan premium'],
      });
      const segments = await rig.segments(id);
      expect(told(segments)).toEqual(['10:00–10:20 activated standard', '10:20– plan_change premium']);
      expectUnbroken(segments);
      expect(await rig.rights(id)).toEqual([
        { what: 'blob_endpoint', value: 'true', from: '10:00', until: null },
        { what: 'storage_bytes', value: '1000', from: '10:00', until: '10:20' },
        { what: 'support', value: 'business-hours', from: '10:00', until: '10:20' },
        { what: 'key_rotation', value: 'true', from: '10:20', until: null },
        { what: 'storage_bytes', value: '5000', from: '10:20', until: null },
        { what: 'support', value: 'round-the-clock', from: '10:20', until: null },
      ]);
      expect((await rig.published(id)).at(-1)).toBe('changed');
    });

    it('to a plan without a limit ends the limit', async () => {
      await active();
      await see('10:20', { state: 'active', externalPlanId: 'unlimited' });
      expect((await rig.rights(id)).filter((r) => r.what === 'storage_bytes')).toEqual([
        { what: 'storage_bytes', value: '1000', from: '10:00', until: '10:20' },
      ]);
    });

    it('of quantity cuts, multiplies the limit and leaves the other rights alone', async () => {
      await active({ externalPlanId: 'seats', quantity: 2 });
      await see('10:20', { state: 'active', externalPlanId: 'seats', quantity: 7 });
      expect(told(await rig.segments(id))).toEqual(['10:00–10:20 activated seats×2', '10:20– quantity_change seats×7']);
      expect(await rig.rights(id)).toEqual([
        { what: 'blob_endpoint', value: 'true', from: '10:00', until: null },
        { what: 'storage_bytes', value: '200', from: '10:00', until: '10:20' },
        { what: 'storage_bytes', value: '700', from: '10:20', until: null },
      ]);
    });

    it('from seats to a plan without them drops the quantity', async () => {
      await active({ externalPlanId: 'seats', quantity: 2 });
      await see('10:20', { state: 'active', externalPlanId: 'standard', quantity: null });
      expect(told(await rig.segments(id)).at(-1)).toBe('10:20– plan_change standard');
    });

    it('of the term is a renewal: a cut without another right', async () => {
      const term = (month: number) => ({
        unit: 'P1M',
        startsAt: new Date(Date.UTC(2030, month - 1, 1)),
        endsAt: new Date(Date.UTC(2030, month, 1)),
      });
      await active({ term: term(4) });
      await see('10:20', { state: 'active', term: term(5) });
      const segments = await rig.segments(id);
      expect(told(segments)).toEqual(['10:00–10:20 activated standard', '10:20– renewal standard']);
      expect(segments.map((s) => s.termStartsAt)).toEqual([term(4).startsAt, term(5).startsAt]);
      expect((await rig.rights(id)).every((r) => r.until === null)).toBe(true);
      expect(await rig.published(id)).not.toContain('changed');
    });

    it('of plan and state at once is one cut', async () => {
      await active();
      await see('10:20', { state: 'suspended', externalPlanId: 'premium' });
      const segments = await rig.segments(id);
      expect(told(segments)).toEqual(['10:00–10:20 activated standard', '10:20– suspension premium !']);
      expectUnbroken(segments);
      expect(await rig.rights(id)).toContainEqual({ what: 'storage_bytes', value: '5000', from: '10:20', until: null });
    });

    it('twice within one instant leaves no empty segment', async () => {
      await active();
      await see('10:00', { state: 'active', externalPlanId: 'premium' });
      await see('10:00', { state: 'suspended', externalPlanId: 'premium' });
      const segments = await rig.segments(id);
      expect(segments).toHaveLength(3);
      expectUnbroken(segments);
    });

    it('to an unknown plan parks, keeps the rights and follows the state all the same [GC-29]', async () => {
      await active();
      const before = await rig.rights(id);
      expect(await see('10:20', { state: 'active', externalPlanId: 'mystery' })).toMatchObject({
        result: 'parked',
        code: 'unmapped_plan',
        subscriptionId: subscriptionIdOf('azure', id),
      });
      expect(await rig.rights(id)).toEqual(before);
      expect(told(await rig.segments(id))).toEqual(['10:00– activated standard']);
      await see('10:30', { state: 'suspended', externalPlanId: 'mystery' });
      expect((await rig.get(id)).state).toBe('suspended');
      await see('10:40', { state: 'active', externalPlanId: 'premium' });
      expect(told(await rig.segments(id)).at(-1)).toBe('10:40– reinstatement premium');
      expect(await rig.get(id)).toMatchObject({ externalPlanId: 'premium' });
    });

    it('that the marketplace shows marks the accepted request as applied', async () => {
      await active();
      const truth = truthOf({ externalSubscriptionId: id, state: 'active', observedAt: rig.at('10:10') });
      const decision = await rig.db.ops((tx) =>
        rig.changes.decide(
          tx,
          truth,
          {
            externalOperationId: randomUUID(),
            kind: 'plan',
            toExternalPlanId: 'premium',
            toQuantity: null,
            answerBefore: null,
            requestedByUs: false,
          },
          null,
        ),
      );
      await see('10:20', { state: 'active', externalPlanId: 'premium' });
      const [row] = await rig.db.ops((tx) =>
        tx.query('select state, effective_at from change_requests where change_request_id = $1', [decision!.changeRequestId]),
      );
      expect(row).toEqual({ state: 'applied', effective_at: new Date('2030-05-01T10:20:00Z') });
    });

    it('while it still waits for fulfilment tells those who prepare it', async () => {
      await see('10:00', { externalPlanId: 'seats', quantity: 2 });
      await rig.bind(id);
      await see('10:10', { externalPlanId: 'seats', quantity: 4 });
      expect(await rig.published(id)).toEqual(['tenant_bound', 'changed']);
      expect(await rig.segments(id)).toEqual([]);
    });
  });

  it('makes one cut when several messages show the same change at once', async () => {
    await active();
    const truth = truthOf({ externalSubscriptionId: id, state: 'active', externalPlanId: 'premium', observedAt: rig.at('10:20') });
    const outcomes = await Promise.all(Array.from({ length: 5 }, () => rig.apply(eventOf(truth))));
    expect(outcomes.map((o) => o.result).sort()).toEqual(['applied', 'unchanged', 'unchanged', 'unchanged', 'unchanged']);
    expect(told(await rig.segments(id))).toEqual(['10:00–10:20 activated standard', '10:20– plan_change premium']);
  });
});
