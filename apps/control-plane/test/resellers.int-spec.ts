import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { Flows } from './support/flows.js';

/** A reseller buys for many customers that must not hear of each other (contract azure §2, §3). */
describe('purchases of one reseller', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open();
  });
  afterEach(() => f?.close());

  const reseller = { email: 'desk@resale.example', personId: null, directoryId: null, accountId: 'puid-of-the-reseller' };
  const nameOf = async (externalId: string): Promise<string> =>
    (
      await f.rows<{ display_name: string }>(
        'select t.display_name from tenants t join subscriptions s using (tenant_id) where s.subscription_id = $1',
        [subscriptionIdOf('azure', externalId)],
      )
    )[0]!.display_name;
  const buy = async (name: string, buyerAccountId: string | null): Promise<{ id: string; token: string }> => {
    const bought = f.market.purchase({ name, state: 'active' });
    f.market.patch(bought.externalSubscriptionId, { purchaser: reseller, buyerAccountId });
    await f.deliver(bought.message);
    return { id: bought.externalSubscriptionId, token: bought.token };
  };

  it('share no name: who is served counts, not who paid [AZ-99]', async () => {
    const first = await buy('First order', 'directory:a');
    await f.settle();
    await f.land(subscriptionIdOf('azure', first.id), first.token, 'Meridian Genomics');
    const others = [await buy('Another customer', 'directory:b'), await buy('Nobody knows whose', null)];
    const again = await buy('Second order', 'directory:a');
    await f.settle();
    expect(await Promise.all(others.map((o) => nameOf(o.id)))).toEqual(['Another customer', 'Nobody knows whose']);
    expect(await nameOf(again.id), 'the same customer').toBe('Meridian Genomics');
  });
});
