import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { MarketplaceState, SubscriptionState, SubscriptionTruth } from '#marketplaces/core';
import { eventOf, truthOf } from '../src/testing/index.js';
import { expectUnbroken, Rig } from './rig.js';

const HOUR = 3_600_000;
const BOUGHT = Date.parse('2030-05-01T00:00:00Z');

interface View {
  state: MarketplaceState;
  externalPlanId: string;
  quantity: number | null;
}

/** One purchase's life at its marketplace: pending, then active and suspended by turns with changes of plan, perhaps an end. */
const life: fc.Arbitrary<View[]> = fc
  .record({
    turns: fc.array(fc.constantFrom('toggle', 'standard', 'premium', 'seats 2', 'seats 5'), { maxLength: 5 }),
    ends: fc.boolean(),
    activates: fc.boolean(),
  })
  .map(({ turns, ends, activates }) => {
    let now: View = { state: 'pending_fulfillment', externalPlanId: 'standard', quantity: null };
    const views = [now];
    const then = (next: Partial<View>): void => void views.push((now = { ...now, ...next }));
    if (activates) {
      then({ state: 'active' });
      for (const turn of turns) {
        if (turn === 'toggle') then({ state: now.state === 'active' ? 'suspended' : 'active' });
        else then({ externalPlanId: turn.split(' ')[0]!, quantity: turn.startsWith('seats') ? Number(turn.split(' ')[1]) : null });
      }
    }
    if (ends) then({ state: 'ended' });
    return views;
  });

/** Which views arrive, in which order and how often; the last one arrives at least once, at an arbitrary place. */
const deliveries = (count: number): fc.Arbitrary<number[]> =>
  fc
    .tuple(fc.array(fc.integer({ min: 0, max: count - 1 }), { maxLength: 8 }), fc.nat({ max: 8 }))
    .map(([order, place]) => order.toSpliced(Math.min(place, order.length), 0, count - 1));

const classOf = (state: SubscriptionState): string => (['closing', 'cancelled', 'voided'].includes(state) ? 'over' : state);
const EXPECTED: Record<string, string> = {
  pending_fulfillment: 'pending_fulfillment',
  active: 'active',
  suspended: 'suspended',
  ended: 'over',
};

describe('events of one purchase in any order', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.open();
  });
  afterAll(() => rig?.close());

  async function play(views: View[], order: number[], bindAfter: number, versioned: boolean): Promise<void> {
    const id = randomUUID();
    const truth = (i: number): SubscriptionTruth =>
      truthOf({
        ...views[i]!,
        externalSubscriptionId: id,
        ...(versioned ? { version: `v${String(i).padStart(3, '0')}` } : { observedAt: new Date(BOUGHT + i * HOUR) }),
      });
    rig.clock.set(new Date(BOUGHT + views.length * HOUR));
    for (const [n, i] of order.entries()) {
      await rig.apply(eventOf(truth(i), { occurredAt: new Date(BOUGHT + i * HOUR) }));
      if (n === bindAfter) {
        // A landing that comes after the end finds it closed.
        if (classOf((await rig.get(id)).state) === 'over') await expect(rig.bind(id)).rejects.toThrow('subscription.over');
        else await rig.bind(id);
      }
      rig.clock.advance(60_000);
    }
    const last = views.at(-1)!;
    const record = await rig.get(id);
    expect(classOf(record.state)).toBe(EXPECTED[last.state]);
    if (!['ended'].includes(last.state)) expect(record).toMatchObject({ externalPlanId: last.externalPlanId, quantity: last.quantity });

    const segments = await rig.segments(id);
    expectUnbroken(segments);
    const open = segments.filter((s) => s.endsAt === null);
    if (record.state === 'active' && record.tenantId) expect(open).toHaveLength(1);
    if (classOf(record.state) === 'over') expect(open).toEqual([]);
    for (const s of open)
      expect(s).toMatchObject({ billable: record.state === 'active', externalPlanId: record.externalPlanId, quantity: record.quantity });

    const rights = await rig.rights(id);
    const live = rights.filter((r) => r.until === null);
    if (classOf(record.state) === 'over') expect(live).toEqual([]);
    if (record.state === 'active' && record.tenantId) {
      const limit = { standard: '1000', premium: '5000', seats: String(100 * (record.quantity ?? 1)) }[record.externalPlanId];
      expect(live.filter((r) => r.what === 'storage_bytes').map((r) => r.value)).toEqual([limit]);
    }
  }

  it('end in the state, plan and quantity of the newest view, with unbroken segments, wherever views carry versions', async () => {
    await fc.assert(
      fc.asyncProperty(
        life.chain((views) => fc.tuple(fc.constant(views), deliveries(views.length), fc.nat({ max: 4 }))),
        ([views, order, bindAfter]) => play(views, order, bindAfter, true),
      ),
      { numRuns: 60 },
    );
  }, 120_000);

  it('end so without versions too, as each view knows when it was asked for [AZ-96]', async () => {
    await fc.assert(
      fc.asyncProperty(
        life.chain((views) => fc.tuple(fc.constant(views), deliveries(views.length), fc.nat({ max: 4 }))),
        ([views, order, bindAfter]) => play(views, order, bindAfter, false),
      ),
      { numRuns: 40 },
    );
  }, 120_000);
});
