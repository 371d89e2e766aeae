import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { projectRoot } from '#platform';
import { subscriptionIdOf } from '#entitlements';
import { followLimits } from '../src/processes/complete-fulfillment.js';
import { judgeEtas, settlePassedEtas } from '../src/processes/late-eta.js';
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

    // One open at a time, for the day that is expected now; none where that is in time, the purchase is built or over.
    const open = async (): Promise<string[]> =>
      (
        await f.rows<{ day: string }>(
          `select left(evidence ->> 'expectedAt', 10) as day from findings where kind = 'eta_after_deadline' and settlement is null`,
        )
      ).map((row) => row.day);
    const { clusterId } = (await f.db.ops((tx) => f.p.engine.placementOfSubscription(tx, late)))!;
    await f.rows(`update placements set phase = 'requested', activated_at = null where cluster_id = $1`, [clusterId]);
    await f.rows(`update subscriptions set state = 'pending_fulfillment' where subscription_id = $1`, [late]);
    const say = async (day: string): Promise<number> => {
      f.clock.advance(1_000);
      return f.db.ops((tx) => judgeEtas(f.p, tx, clusterId, new Date(`${day}T10:00:00Z`)));
    };
    expect([await say('2030-07-01'), await open()]).toEqual([1, ['2030-07-01']]);
    expect([await say('2030-07-01'), await open()]).toEqual([0, ['2030-07-01']]);
    expect([await say('2030-05-20'), await open()]).toEqual([0, []]);
    expect([await say('2030-07-01'), await open()]).toEqual([1, ['2030-07-01']]);
    const look = () => f.db.ops((tx) => settlePassedEtas(f.p, tx));
    expect(await look()).toBe(0);
    await f.rows(`update placements set activated_at = now() where cluster_id = $1`, [clusterId]);
    expect([await look(), await open()]).toEqual([1, []]);
    await say('2030-07-02');
    await f.rows(`update placements set activated_at = null where cluster_id = $1`, [clusterId]);
    await f.rows(`update subscriptions set state = 'voided', ended_at = now() where subscription_id = $1`, [late]);
    expect([await look(), await open()]).toEqual([1, []]);
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

/** Limits go all the way: a file of the catalog, the pinned plan, the placement, the plan of the driver. */
describe('a plan that bounds what may be built', () => {
  let f: Flows;
  beforeEach(async () => (f = await Flows.open()));
  afterEach(() => f?.close());

  const LIMIT = "    build: { maxNodes: 1, maxCostPerHour: { amountPerHour: '2.00', currency: USD } }";
  /** The catalog as files say it, with one line more in the plan `standard` of Azure. */
  async function loadWith(line: string): Promise<void> {
    const folder = mkdtempSync(join(tmpdir(), 'berth-catalog-'));
    try {
      cpSync(join(projectRoot(), 'catalog'), folder, { recursive: true });
      const file = join(folder, 'azure.yaml');
      writeFileSync(
        file,
        readFileSync(file, 'utf8').replace('    name: Standard\n', (name) => `${name}${line}\n`),
      );
      const plans = f.p.catalog
        .readFolder(folder)
        .map((plan) => ({ ...plan, shape: 'small', defaultRegion: 'here', regions: [{ id: 'here', name: 'Here' }] }));
      await f.db.ops((tx) => f.p.catalog.load(tx, plans));
    } finally {
      rmSync(folder, { recursive: true });
    }
  }
  function costs(amountPerHour: string): void {
    const plan = f.driver.plan.bind(f.driver);
    f.driver.plan = async (...args) => {
      const result = await plan(...args);
      return { ...result, output: { ...result.output!, cost: { amountPerHour, currency: 'USD' } } };
    };
  }
  const cluster = async (): Promise<{ cluster_id: string; phase: string; code: string | null }> =>
    (
      await f.rows<{ cluster_id: string; phase: string; code: string | null }>(
        `select cluster_id, phase, recorded #>> '{error,code}' as code from clusters`,
      )
    )[0]!;
  const limit = (subscriptionId: string, limits: object | null): Promise<void> =>
    f.db.ops((tx) => f.p.engine.overrideLimits(tx, { subscriptionId, limits, by: 'operator:key-1', reason: 'Agreed with finance.' }));
  const retry = async (): Promise<void> => {
    const [op] = await f.rows<{ operation_id: string }>(
      `select operation_id from operations where kind = 'create_cluster' order by operation_id desc`,
    );
    await f.db.ops((tx) => f.p.engine.retryOperation(tx, op!.operation_id));
    await f.settle(60_000);
  };

  it('is not built beyond them, is built where an operator lets it, and no further once that is taken back', async () => {
    await loadWith(LIMIT);
    costs('2.01');
    const bought = f.market.purchase({ name: 'Dear' });
    const id = subscriptionIdOf(f.market.marketplace, bought.externalSubscriptionId);
    await f.deliver(bought.message);
    await f.settle();
    await f.land(id, bought.token, 'Dear');
    await f.settle(60_000);
    expect(await cluster()).toMatchObject({ phase: 'failed', code: 'limit.max_cost_per_hour' });
    expect(f.driver.clusters.size).toBe(0);
    await retry();
    expect(await cluster()).toMatchObject({ phase: 'failed', code: 'limit.max_cost_per_hour' });

    await limit(id, { maxCostPerHour: { amountPerHour: '2.01', currency: 'USD' } });
    await retry();
    expect(await cluster()).toMatchObject({ phase: 'active', code: null });
    // What the word leaves out is the plan's.
    const { cluster_id: clusterId } = await cluster();
    const grow = () => f.db.ops((tx) => f.p.engine.resizeCluster(tx, clusterId, { shape: 'large', nodes: 2, by: 'ann', reason: 'More.' }));
    await expect(grow()).rejects.toMatchObject({ code: 'limit.max_nodes' });
    await limit(id, { maxNodes: null, maxCostPerHour: null });
    await limit(id, null);
    await expect(grow()).rejects.toMatchObject({ code: 'limit.max_nodes' });
    await limit(id, { maxNodes: null, maxCostPerHour: null });
    await grow();
    await f.settle(60_000);
    expect(await f.rows(`select phase, shape from clusters`)).toEqual([{ phase: 'active', shape: 'large' }]);
  });

  it('holds for a purchase that is changed to it', async () => {
    const { id } = await f.serve('Changes');
    const [before] = await f.rows<{ n: object | null }>('select build_limits as n from placements where subscription_id = $1', [id]);
    expect(before!.n).toBeNull();
    await loadWith(LIMIT);
    await f.rows(
      `update subscriptions set plan_version_id = (select plan_version_id from plan_versions where marketplace = 'azure' and external_plan_id = 'standard'
         order by version desc limit 1) where subscription_id = $1`,
      [id],
    );
    await f.db.ops((tx) => followLimits(f.p, tx, id, f.clock.now()));
    const { cluster_id: clusterId } = await cluster();
    await f.settle(60_000);
    await expect(
      f.db.ops((tx) => f.p.engine.resizeCluster(tx, clusterId, { shape: 'large', nodes: 2, by: 'ann', reason: 'More.' })),
    ).rejects.toMatchObject({ code: 'limit.max_nodes' });
  });
});
