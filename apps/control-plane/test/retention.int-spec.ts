import { randomBytes, randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { AwsFlows, PRODUCT } from './support/aws-flows.js';
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
