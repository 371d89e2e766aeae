import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { Flows } from './support/flows.js';

/** A closed gate is an answer with a rule and a reason, never a purchase that hangs without a word (requirements §1.4). */
describe('a plan whose gate is closed', () => {
  let f: Flows;
  beforeEach(async () => (f = await Flows.open()));
  afterEach(() => f?.close());

  const decide = (state: 'red' | 'unknown', region = 'here'): Promise<unknown> =>
    f.db.ops((tx) =>
      f.p.engine.decideGate(tx, {
        variant: 'local_dev',
        marketplace: f.market.marketplace,
        region,
        gate: 'variant.available',
        state,
        reason: 'The racks are being moved.',
        by: 'ann',
      }),
    );
  const findings = () =>
    f.rows<{ kind: string; evidence: Record<string, unknown>; open: boolean }>(
      `select kind, evidence, settlement is null as open from findings where kind = 'not_ready'`,
    );

  it('is not built: a person is told the rule and the reason, the purchase can end meanwhile, and it is built once the gate opens', async () => {
    const bought = ['Waits', 'Leaves'].map((name) => ({ name, ...f.market.purchase({ name }) }));
    for (const { message } of bought) await f.deliver(message);
    await f.settle();
    // Both have landed when the gate is closed, and nothing is set up yet.
    for (const b of bought) await f.land(subscriptionIdOf(f.market.marketplace, b.externalSubscriptionId), b.token, b.name);
    await decide('red');
    await f.settle(60_000);
    const [waits, leaves] = bought.map((b) => b.externalSubscriptionId) as [string, string];
    expect(await f.rows('select 1 from placements')).toEqual([]);
    const told = await findings();
    expect(told.map((x) => x.open)).toEqual([true, true]);
    expect(told[0]!.evidence).toMatchObject({
      code: 'readiness.gate_closed',
      gate: 'variant.available',
      reason: 'The racks are being moved.',
    });
    // Its lane is free: the end of a purchase does not wait for a gate.
    await f.deliver(f.market.setState(leaves, 'ended'));
    await f.settle(60_000);
    expect(['closing', 'cancelled', 'voided']).toContain(await f.state(subscriptionIdOf(f.market.marketplace, leaves)));
    const lane = `subscription:${subscriptionIdOf(f.market.marketplace, leaves)}`;
    expect(await f.rows(`select 1 from tasks where state = 'parked' or (state <> 'done' and lane = '${lane}')`)).toEqual([]);
    await decide('unknown');
    await f.settle(1_200_000);
    expect(await f.rows('select subscription_id from placements')).toEqual([
      { subscription_id: subscriptionIdOf(f.market.marketplace, waits) },
    ]);
    // Built, or over: either way nobody has to look after it any more.
    expect((await findings()).map((x) => x.open)).toEqual([false, false]);
  });

  it('or for which no cluster has room is told of too, and built once the shape is large enough', async () => {
    const can = f.driver.capabilities();
    const capacity = (bytes: string): void => {
      f.driver.capabilities = () => ({ ...can, shapes: can.shapes.map((shape) => ({ ...shape, capacityBytes: bytes })) });
    };
    capacity('1');
    const bought = f.market.purchase({ name: 'Too large' });
    const id = subscriptionIdOf(f.market.marketplace, bought.externalSubscriptionId);
    await f.deliver(bought.message);
    await f.settle();
    await f.land(id, bought.token, 'Too large');
    await f.settle(60_000);
    expect((await findings()).map((x) => x.evidence['code'])).toEqual(['placement.larger_than_shape']);
    expect(await f.rows(`select 1 from tasks where state = 'parked'`)).toEqual([]);
    capacity('1000000000000');
    await f.settle(1_200_000);
    expect(await f.state(id)).toBe('active');
  });

  it('is not sold in that region: the landing page says so in the buyer’s words, and takes the details once it is open', async () => {
    const bought = f.market.purchase({ name: 'Lands' });
    const id = subscriptionIdOf(f.market.marketplace, bought.externalSubscriptionId);
    await f.deliver(bought.message);
    await f.settle();
    await decide('red', '*');
    const refused = await f.land(id, bought.token, 'Lands').catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: 'landing.not_ready', extra: { gate: 'variant.available', region: 'here' } });
    expect(String(refused)).not.toContain('racks');
    await decide('unknown', '*');
    await f.land(id, bought.token, 'Lands');
  });

  it('is a finding when it is ordered, where people will not have built it before the marketplace voids it', async () => {
    const can = f.driver.capabilities();
    const lead = (days: number): void => {
      f.driver.capabilities = () => ({ ...can, leadHours: days * 24 });
    };
    const order = async (name: string): Promise<string> => {
      const bought = f.market.purchase({ name });
      const id = subscriptionIdOf(f.market.marketplace, bought.externalSubscriptionId);
      await f.deliver(bought.message);
      await f.settle();
      await f.db.ops((tx) =>
        tx.query(`update subscriptions set activate_by = $2 where subscription_id = $1`, [id, '2030-05-31T10:00:00Z']),
      );
      await f.land(id, bought.token, name);
      await f.settle(1_000);
      return id;
    };
    lead(20);
    await order('In time');
    // The next one gets a cluster of its own.
    const [cluster] = await f.rows<{ cluster_id: string }>('select cluster_id from clusters');
    await f.db.ops((tx) => f.p.engine.cordonCluster(tx, cluster!.cluster_id));
    lead(40);
    const late = await order('Late');
    const told = await f.rows<{ subscription_id: string; evidence: object }>(
      `select subscription_id, evidence from findings where kind = 'eta_after_deadline'`,
    );
    expect(told).toMatchObject([{ subscription_id: late, evidence: { activateBy: '2030-05-31T10:00:00.000Z' } }]);
  });

  it('is no plan to change to: the marketplace gets a no with the rule and the reason', async () => {
    const { externalId } = await f.serve();
    await decide('red');
    const { changeId, message } = f.market.requestChange(externalId, { externalPlanId: 'premium' });
    await f.deliver(message);
    await f.settle(60_000);
    expect(f.market.changes.get(changeId)!.status).toBe('failed');
    const [row] = await f.rows<{ reason: string }>('select reason from change_requests');
    expect(row!.reason).toMatch(/Plan premium is not ready there \(variant\.available\): .*The racks are being moved\./);
  });
});
