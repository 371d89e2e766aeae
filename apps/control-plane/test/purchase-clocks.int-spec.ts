import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { ActivationClock } from '../src/workers/activation-clock.js';
import { ServingClock } from '../src/workers/serving-clock.js';
import { SuspensionClock } from '../src/workers/suspension-clock.js';
import { findingKinds, runDrift, type DriftRun } from './support/drift-run.js';
import { Flows } from './support/flows.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TOLD_LATE = 20 * 60_000;

describe('clocks that watch over purchases', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  const drift = (): Promise<DriftRun> => runDrift(flows);
  const findings = (): Promise<string[]> => findingKinds(flows);
  const later = (ms = TOLD_LATE): void => flows.clock.advance(ms);

  it('takes in a purchase that waits for its buyer without a finding or a tenant, and a clock of its own warns before its time is up [AZ-33]', async () => {
    const { externalSubscriptionId } = flows.market.purchase({ name: 'Nobody landed' });
    later();
    await drift();
    const id = subscriptionIdOf('azure', externalSubscriptionId);
    expect(await flows.state(id)).toBe('pending_fulfillment');
    expect(await flows.rows('select 1 from tenants')).toEqual([]);
    expect(await findings()).toEqual([]);
    const clock = new ActivationClock(flows.p);
    later(22 * DAY);
    expect(await clock.tick()).toBe(0);
    later(2 * DAY);
    expect(await clock.tick()).toBe(1);
    later();
    expect(await clock.tick()).toBe(0);
    // Another process looks too.
    expect(await new ActivationClock(flows.p).tick()).toBe(0);
    expect(await findings()).toEqual(['activate_by_near']);
    const [{ deadline, subscription_id: about } = {}] = await flows.rows<{ deadline: Date; subscription_id: string }>(
      'select deadline, subscription_id from findings',
    );
    expect(about).toBe(id);
    expect(deadline!.getTime() - flows.clock.now().getTime()).toBeGreaterThan(5 * DAY);
  });

  it('tells of a purchase that is paid and not served, and of one that is served and not paid', async () => {
    const paid = await flows.serve('Paid');
    const served = await flows.serve('Served');
    const clock = new ServingClock(flows.p);
    const tick = async (): Promise<number> => {
      later(2 * HOUR);
      return clock.tick();
    };
    expect(await tick()).toBe(0);
    await flows.rows(`update placements set phase = 'failed', updated_at = $2 where subscription_id = $1`, [paid.id, flows.clock.now()]);
    flows.broken.add('access.end');
    await flows.deliver(flows.market.setState(served.externalId, 'ended'));
    await flows.runner.drain();
    expect(await clock.tick(), 'no longer than it takes').toBe(0);
    expect(await tick()).toBe(2);
    expect(await tick(), 'once').toBe(0);
    const found = await flows.rows<{ kind: string; subscription_id: string }>(
      `select kind, subscription_id from findings where kind like '%paid%' order by kind`,
    );
    expect(found).toEqual([
      { kind: 'paid_not_serving', subscription_id: paid.id },
      { kind: 'serving_not_paid', subscription_id: served.id },
    ]);
  });

  it('tells of a suspension a week before it becomes an end, once each [AZ-98]', async () => {
    const { externalId, id } = await flows.serve();
    const clock = new SuspensionClock(flows.p);
    await flows.deliver(flows.market.setState(externalId, 'suspended'));
    await flows.settle();
    const since = flows.clock.now();
    later(22 * DAY);
    expect(await clock.tick()).toBe(0);
    later(DAY + HOUR);
    expect(await clock.tick()).toBe(1);
    later(HOUR);
    expect(await new SuspensionClock(flows.p).tick()).toBe(0);
    const [{ deadline } = {}] = await flows.rows<{ deadline: Date }>(`select deadline from findings where kind = 'suspended_long'`);
    expect(Math.abs(deadline!.getTime() - since.getTime() - 30 * DAY)).toBeLessThan(HOUR);
    await flows.deliver(flows.market.setState(externalId, 'active'));
    await flows.settle();
    expect(await flows.rows('select suspended_at from subscriptions where subscription_id = $1', [id])).toEqual([{ suspended_at: null }]);
    await flows.deliver(flows.market.setState(externalId, 'suspended'));
    await flows.settle();
    later(24 * DAY);
    expect(await new SuspensionClock(flows.p).tick(), 'another suspension').toBe(1);
  });

  it('counts the days to activate from the purchase, not from when we first saw it', async () => {
    const { externalSubscriptionId } = flows.market.purchase({ name: 'Found late' });
    const createdAt = flows.clock.now();
    flows.market.patch(externalSubscriptionId, { createdAt });
    later(10 * DAY);
    await drift();
    const [row] = await flows.rows<{ activate_by: Date }>('select activate_by from subscriptions');
    expect(row!.activate_by).toEqual(new Date(createdAt.getTime() + 30 * DAY));
  });
});
