import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { AwsFlows, PRODUCT } from './support/aws-flows.js';
import { decideExport } from '../src/processes/purge-data.js';
import { readTimeline } from '../src/processes/read-timeline.js';
import { Flows } from './support/flows.js';

const START = new Date('2026-03-10T10:00:00Z');
const after = (hours: number): Date => new Date(START.getTime() + hours * 3_600_000);

/** Contract azure §5: data of a cancelled purchase is kept at least seven days; here for every marketplace. */
describe('the data of a purchase that has ended', () => {
  let f: AwsFlows;
  beforeEach(async () => {
    f = await AwsFlows.open(START);
  });
  afterEach(() => f?.close());

  it('is kept for seven days after access ended and its usage was settled, then purged [AZ-44]', async () => {
    const licence = `l-${randomBytes(16).toString('hex')}`;
    const agreement = `agmt-${randomUUID()}`;
    const accountId = '123456789012';
    const tell = (type: string, time: Date, detail: object): Promise<unknown> =>
      f.event({
        version: '0',
        id: randomUUID(),
        'detail-type': type,
        source: 'aws.agreement-marketplace',
        time,
        detail: { acceptor: { accountId }, offer: { id: 'offer-x' }, agreement: { id: agreement, status: 'CANCELLED' }, ...detail },
      });
    await tell('License Updated - Manufacturer', START, {
      product: { code: PRODUCT, id: 'prod-x' },
      license: { arn: `aws:license-manager:us-east-1:294400000000:${licence}` },
    });
    await f.until(START);
    await f.register(licence, accountId);
    await f.until(after(0.1));
    const placement = () => f.ops((tx) => f.engine.placementOfSubscription(tx, subscriptionIdOf('aws', licence)));
    const { placementId } = (await placement())!;
    await f.report(placementId, new Date(START.getTime() + 600_000), after(1), START);
    await tell('Purchase Agreement Ended - Proposer', after(1), {});
    await f.until(after(3));
    expect((await f.get(licence)).state).toBe('cancelled');
    expect(await placement()).toMatchObject({ phase: 'ended' });
    await f.until(after(7 * 24));
    expect(await placement()).toMatchObject({ phase: 'ended' });
    await f.until(after(7 * 24 + 3));
    expect((await placement())?.phase).toBe('purged');
    expect(await f.rows(`select handler, last_error from tasks where state = 'parked'`)).toEqual([]);
  });
});

describe('the data of a purchase that was set up and never came into force', () => {
  it('is purged seven days after it was voided: nothing is left to settle that would do it [AZ-44]', async () => {
    const f = await Flows.open();
    try {
      f.broken.add('fulfillment.complete');
      const bought = f.market.purchase({ name: 'Never activated' });
      const id = subscriptionIdOf('azure', bought.externalSubscriptionId);
      await f.deliver(bought.message);
      await f.settle();
      await f.land(id, bought.token, 'Never activated');
      await f.settle();
      await f.rows(`update tasks set state = 'done' where handler = 'fulfillment.complete'`);
      const phase = async (): Promise<string> =>
        (await f.rows<{ phase: string }>('select phase from placements where subscription_id = $1', [id]))[0]!.phase;
      expect(await phase()).toBe('active');
      await f.deliver(f.market.setState(bought.externalSubscriptionId, 'voided'));
      await f.settle();
      expect([await f.state(id), await phase()]).toEqual(['voided', 'ended']);
      f.clock.advance(6 * 86_400_000);
      await f.settle();
      expect(await phase()).toBe('ended');
      f.clock.advance(86_400_000);
      await f.settle();
      expect(await phase()).toBe('purged');
    } finally {
      await f.close();
    }
  });
});

describe('data that is still there when the retention is over', () => {
  const DAY = 86_400_000;
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open();
  });
  afterEach(() => f?.close());

  /** A purchase whose buyer has stored something, and that is over. */
  async function over(): Promise<{ id: string; placementId: string }> {
    f.broken.add('fulfillment.complete');
    const bought = f.market.purchase({ name: 'Left something' });
    const id = subscriptionIdOf('azure', bought.externalSubscriptionId);
    await f.deliver(bought.message);
    await f.settle();
    await f.land(id, bought.token, 'Left something');
    await f.settle();
    await f.rows(`update tasks set state = 'done' where handler = 'fulfillment.complete'`);
    const [placement] = await f.rows<{ placement_id: string; name: string }>(
      'select p.placement_id, c.name from placements p join clusters c using (cluster_id) where subscription_id = $1',
      [id],
    );
    f.driver.write(placement!.name, placement!.placement_id, 'a', 'kept');
    await f.deliver(f.market.setState(bought.externalSubscriptionId, 'voided'));
    await f.settle();
    return { id, placementId: placement!.placement_id };
  }
  const placement = (id: string) => f.db.ops((tx) => f.p.engine.getPlacement(tx, id));
  const findings = () =>
    f.rows<{ open: boolean; evidence: object; deadline: Date | null }>(
      `select settlement is null as open, evidence, deadline from findings where kind = 'export_unconfirmed'`,
    );
  const pass = async (ms: number): Promise<void> => {
    f.clock.advance(ms);
    await f.settle(10_000);
  };

  it('waits for somebody to say that it was taken along, and is asked for as a finding that settles itself', async () => {
    const { id, placementId } = await over();
    const holdUntil = new Date((await placement(placementId)).accessEndedAt!.getTime() + 7 * DAY);
    expect(await placement(placementId)).toMatchObject({ phase: 'ended', export: { state: 'open', storedBytes: '4', holdUntil } });
    await pass(6 * DAY);
    expect(await findings()).toEqual([]);
    await pass(2 * DAY);
    await pass(30 * DAY);
    expect((await placement(placementId)).phase).toBe('ended');
    expect(await findings()).toMatchObject([{ open: true, deadline: null, evidence: { placementId, storedBytes: '4' } }]);

    const said = { by: 'operator:key-1', reason: 'The buyer wrote that he has everything.' };
    await f.db.ops(async (tx) => decideExport(f.p, tx, await f.p.engine.getPlacement(tx, placementId), { ...said, state: 'confirmed' }));
    expect((await findings()).map((x) => x.open)).toEqual([false]);
    await pass(2 * 3_600_000);
    expect((await placement(placementId)).phase).toBe('purged');
    const audit = await f.rows(`select actor, action, detail from audit_events where action like 'export.%'`);
    expect(audit).toMatchObject([{ actor: said.by, action: 'export.confirmed', detail: { reason: said.reason } }]);
    const told = await f.db.ops((tx) => readTimeline(tx, id, { limit: 100, after: null }, 'operator'));
    expect(told.items.filter((e) => e.kind === 'export').map((e) => [e.facts['state'], e.facts['by']])).toEqual([
      ['open', 'control plane'],
      ['confirmed', said.by],
    ]);
    expect(await f.rows(`select handler, last_error from tasks where state = 'parked' and handler <> 'fulfillment.complete'`)).toEqual([]);
  });

  it('is kept for the whole retention also where somebody has said so before', async () => {
    const { placementId } = await over();
    await f.db.ops(async (tx) =>
      decideExport(f.p, tx, await f.p.engine.getPlacement(tx, placementId), {
        state: 'confirmed',
        by: 'tenant:key-2',
        reason: 'Not wanted.',
      }),
    );
    await pass(6 * DAY);
    expect((await placement(placementId)).phase).toBe('ended');
    await pass(DAY + 3_600_000);
    expect((await placement(placementId)).phase).toBe('purged');
    expect(await findings()).toEqual([]);
  });

  it('goes after a set number of days, with the policy as the one who decided', async () => {
    Object.assign(f.p, { exportGraceDays: 3 });
    const { placementId } = await over();
    await pass(8 * DAY);
    const [found] = await findings();
    expect(found).toMatchObject({ open: true, deadline: new Date((await placement(placementId)).accessEndedAt!.getTime() + 10 * DAY) });
    await pass(DAY);
    expect((await placement(placementId)).phase).toBe('ended');
    await pass(2 * DAY);
    expect(await placement(placementId)).toMatchObject({ phase: 'purged', export: { state: 'waived', by: 'policy', storedBytes: '4' } });
    expect((await findings()).map((x) => x.open)).toEqual([false]);
  });
});
