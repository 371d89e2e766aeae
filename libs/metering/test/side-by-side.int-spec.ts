import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createLogger, SilentNudger, TaskRunner } from '#platform';
import { eventually, gate } from '#platform/testing';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import type { MarketplaceAdapter } from '#marketplaces/core';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { registerMeteringHandlers } from '../src/index.js';
import { at, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
let database: TestDatabase;
let h: Harness;
let runner: TaskRunner;
let asked: number;
let door: ReturnType<typeof gate>;
let slow: Purchase;
let quick: Purchase;

/** A marketplace that answers nobody until the door opens. */
const hanging = (m: FakeMarketplace): MarketplaceAdapter =>
  new Proxy(m, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name === 'submitUsage')
        return async (...items: Parameters<FakeMarketplace['submitUsage']>) => {
          asked += 1;
          await door.opened;
          return target.submitUsage(...items);
        };
      return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
    },
  });

beforeEach(async () => {
  asked = 0;
  door = gate();
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START, hanging, {}, {}, ['aws']);
  slow = await h.buy(await h.fixtures.plan([STORED]), START);
  quick = await h.buy(await h.fixtures.plan([STORED], 'gold', undefined, 'aws'), START, 'gold', h.others[0]);
  runner = new TaskRunner(h.db, h.clock, new SilentNudger(), createLogger('test', 'silent'), { pollMs: 20 });
  registerMeteringHandlers(runner, h.metering);
});
afterEach(async () => {
  door.open();
  await runner.stop();
  await h.close();
  await database.drop();
});

const closeHour = async (hour: number): Promise<void> => {
  const from = at(`10T${hour}:00`);
  const to = at(`10T${hour + 1}:00`);
  h.clock.set(to);
  await h.report([slow.placementId, quick.placementId], hour === 10 ? from : new Date(from.getTime() + 300_000), to, 3n * GIB);
};
const billed = (p: Purchase): number => [h.market, ...h.others].flatMap((m) => m.billed(p.externalSubscriptionId)).length;
const closed = async (p: Purchase): Promise<number> =>
  (await h.rows('select 1 from hour_closings where subscription_id = $1', [p.subscriptionId])).length;

describe('a marketplace that does not answer', () => {
  it('delays neither the closing of hours nor another marketplace, and is asked once at a time', async () => {
    await runner.start();
    await closeHour(10);
    await eventually('the slow one is asked', () => asked === 1);
    await closeHour(11);
    await eventually('the next hour is closed for both', async () => (await closed(slow)) === 2 && (await closed(quick)) === 2);
    await eventually('the other marketplace has both hours', () => billed(quick) === 2);
    expect([asked, billed(slow)]).toEqual([1, 0]);
    expect(await h.rows(`select state, fence::text from submission_items where marketplace = 'azure' order by hour`)).toEqual([
      { state: 'in_flight', fence: '1' },
      { state: 'pending', fence: '0' },
    ]);
    // Another pass of this process joins the one that hangs, and does not send the next hour beside it.
    const again = h.metering.submitDue();
    await new Promise((resolve) => setTimeout(resolve, 250));
    expect(asked).toBe(1);
    door.open();
    await again;
    await eventually('the slow one has both hours', () => billed(slow) === 2);
    expect(await h.rows(`select distinct attempts from submission_items`)).toEqual([{ attempts: 1 }]);
    expect((await h.db.ops((tx) => h.metering.checkSumLaw(tx))).ok).toBe(true);
  });

  it('is waited for when everything due shall be done', async () => {
    await runner.start();
    await closeHour(10);
    await eventually('the slow one is asked', () => asked === 1);
    let drained: boolean | undefined;
    const drain = runner.drain().then((worked) => (drained = worked));
    await eventually('the other marketplace has its hour', () => billed(quick) === 1);
    // Long enough for a drain that does not wait to be seen.
    await new Promise((resolve) => setTimeout(resolve, 150));
    expect(drained).toBeUndefined();
    door.open();
    await drain;
    expect([drained, billed(slow), billed(quick)]).toEqual([true, 1, 1]);
    expect(await runner.drain()).toBe(false);
  });

  it('is asked again by who takes over, with the same bytes, and a late answer of the dead one changes nothing', async () => {
    await runner.start();
    await closeHour(10);
    await eventually('the slow one is asked', () => asked === 1);
    const next = h.another();
    await next.submitDue();
    expect(asked).toBe(1); // the lease holds
    await next.takeOver();
    const taken = next.submitDue();
    await eventually('the next one asks', () => asked === 2);
    door.open();
    await taken;
    await runner.drain();
    expect(billed(slow)).toBe(1);
    expect(await h.rows(`select state, attempts, fence::text from submission_items where marketplace = 'azure'`)).toEqual([
      { state: 'accepted', attempts: 2, fence: '2' },
    ]);
    expect((await h.db.ops((tx) => h.metering.checkSumLaw(tx))).ok).toBe(true);
  });

  it('sends in the same round what a reinstatement has let go', async () => {
    door.open();
    await closeHour(10);
    await h.rows(`update subscriptions set state = 'suspended' where subscription_id = $1`, [quick.subscriptionId]);
    await runner.drain();
    expect([billed(slow), billed(quick)]).toEqual([1, 0]);
    await h.rows(`update subscriptions set state = 'active' where subscription_id = $1`, [quick.subscriptionId]);
    expect(await runner.drain()).toBe(true);
    expect(billed(quick)).toBe(1);
  });
});
