import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Flows } from './support/flows.js';

/** Contract azure §8: no message says that a private price applies; the plans that the buyer is shown do. */
describe('the private offers of a purchase [AZ-83]', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open();
  });
  afterEach(() => f?.close());

  const kept = async (id: string): Promise<string[] | null> =>
    (await f.rows<{ private_offers: string[] | null }>('select private_offers from subscriptions where subscription_id = $1', [id]))[0]!
      .private_offers;

  it('are read once it is in force, and again with another plan', async () => {
    const { externalId, id } = await f.serve();
    expect(await kept(id)).toEqual([]);
    f.market.privateOffers.set(externalId, ['offer-1', 'offer-2']);
    const { message } = f.market.requestChange(externalId, { externalPlanId: 'premium' });
    await f.deliver(message);
    await f.settle();
    expect(await kept(id)).toEqual(['offer-1', 'offer-2']);
  });

  it('are read again with a new term, and two days after either: a price may show up so late', async () => {
    const { externalId, id } = await f.serve();
    f.market.privateOffers.set(externalId, ['late']);
    f.clock.advance(47 * 3_600_000);
    await f.settle();
    expect(await kept(id)).toEqual([]);
    f.clock.advance(3_600_000);
    await f.settle();
    expect(await kept(id)).toEqual(['late']);
    f.market.privateOffers.set(externalId, ['of the next term']);
    const startsAt = f.clock.now();
    f.market.patch(externalId, { term: { unit: 'P1M', startsAt, endsAt: new Date(startsAt.getTime() + 30 * 86_400_000) } });
    await f.deliver(f.market.message(externalId, 'renewed'));
    await f.settle();
    expect(await kept(id)).toEqual(['of the next term']);
  });

  it('keep nothing of the purchase waiting: where they cannot be read it serves, and they are read later', async () => {
    f.broken.add('private_offers.read');
    const { id } = await f.serve();
    expect(await f.state(id)).toBe('active');
    expect(await f.rows('select phase from placements where subscription_id = $1', [id])).toEqual([{ phase: 'active' }]);
    expect(await kept(id)).toBeNull();
  });

  it('are asked for with what is known of the purchase, by which a managed application is told from a subscription', async () => {
    const given: unknown[] = [];
    f.market.readPrivateOffers = (...args: unknown[]) => {
      given.push(args);
      return Promise.resolve([]);
    };
    const bought = f.market.purchase({ name: 'Deployed', state: 'active' });
    f.market.patch(bought.externalSubscriptionId, { refs: { applicationId: '/subscriptions/s/applications/a' } });
    await f.deliver(bought.message);
    await f.settle();
    expect(given).toEqual([[bought.externalSubscriptionId, 'standard', { applicationId: '/subscriptions/s/applications/a' }]]);
  });

  it('of a plan that was left meanwhile are not kept', async () => {
    const { externalId, id } = await f.serve();
    f.market.privateOffers.set(externalId, ['of the old plan']);
    const read = f.market.readPrivateOffers.bind(f.market);
    f.market.readPrivateOffers = async (one: string) => {
      f.market.readPrivateOffers = read;
      await f.rows(`update subscriptions set external_plan_id = 'premium' where subscription_id = $1`, [id]);
      return read(one);
    };
    await f.db.ops((tx) => f.tasks.enqueue(tx, { lane: 'x', handler: 'private_offers.read', payload: { subscriptionId: id } }));
    await f.settle();
    expect(await kept(id)).toEqual([]);
  });
});
