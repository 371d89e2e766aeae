import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { sha256Hex } from '#platform';
import { applyEvent } from '../src/processes/normalise-inbound.js';
import { rememberSignUp } from '../src/processes/sign-up-buyer.js';
import { sweepLostSteps } from '../src/processes/sweep-lost-steps.js';
import { Flows } from './support/flows.js';

const ACCOUNT = 'eda2a6ce-2e2d-44ff-985f-37e6c51af7d1';
const BUYER = { email: null, personId: null, directoryId: null, accountId: ACCOUNT };

/** A marketplace that approves the account of a buyer first, as Google does; its purchases tell whether that is done. */
describe('a buyer whose account the marketplace has approved by us', () => {
  let flows: Flows;
  let approved: Set<string>;
  beforeEach(async () => {
    flows = await Flows.open();
    approved = new Set();
    const { market } = flows;
    const [read, acknowledge] = [market.readTruth.bind(market), market.acknowledge.bind(market)];
    Object.assign(market, {
      approveBuyer: async (accountId: string): Promise<void> => void approved.add(accountId),
      readTruth: async (id: string) => {
        const truth = await read(id);
        return truth?.state === 'pending_fulfillment' ? { ...truth, buyerReady: approved.has(truth.beneficiary?.accountId ?? '') } : truth;
      },
      acknowledge: async (...given: Parameters<typeof acknowledge>) => {
        approved.add(given[0].beneficiary?.accountId ?? '');
        return acknowledge(...given);
      },
    });
  });
  afterEach(() => flows.close());

  /** Ordered and told of, without a landing. */
  const order = async (name: string): Promise<string> => {
    const { externalSubscriptionId } = flows.market.purchase({ name, beneficiary: BUYER });
    const truth = await flows.market.readTruth(externalSubscriptionId);
    await flows.db.ops((tx) =>
      applyEvent(
        flows.p,
        tx,
        { kind: 'purchased', marketplace: 'azure', externalSubscriptionId, occurredAt: flows.clock.now(), truth, note: 'a test' },
        null,
      ),
    );
    return externalSubscriptionId;
  };
  const states = () =>
    flows.rows<{ state: string }>('select state from subscriptions order by created_at').then((all) => all.map((s) => s.state));
  const sweep = (waitingBuyers: string[]) =>
    flows.db.ops((tx) => sweepLostSteps(flows.p, tx, { marketplace: 'azure', waitingBuyers, before: flows.clock.now() }));

  it('is served everything that he ordered before he signed up, though he opened one order only [GC-61]', async () => {
    await order('One');
    await order('Another');
    await flows.settle();
    expect(await states(), 'nobody has signed up').toEqual(['pending_fulfillment', 'pending_fulfillment']);
    await flows.serve('A third', { beneficiary: BUYER });
    expect(await states()).toEqual(['active', 'active', 'active']);
    expect(await flows.rows('select display_name from tenants')).toEqual([1, 2, 3].map(() => ({ display_name: 'A third' })));
  });

  it('is served by the sweep where that was lost, whether his account waits or was approved meanwhile [GC-61]', async () => {
    await flows.serve('First', { beneficiary: BUYER });
    for (const waiting of [[], [ACCOUNT]]) {
      approved.clear();
      await order('Later');
      await flows.settle();
      if (waiting.length === 0) approved.add(ACCOUNT);
      expect(await states()).toContain('pending_fulfillment');
      flows.clock.advance(60_000);
      await sweep(waiting);
      await flows.settle();
      expect(await states()).not.toContain('pending_fulfillment');
    }
    await flows.rows('delete from tasks returning 1');
    await order('Of somebody who never came');
    await flows.rows(`update subscriptions set buyer_account_id = 'nobody' where state = 'pending_fulfillment' returning 1`);
    flows.clock.advance(60_000);
    await sweep([]);
    expect(await flows.rows(`select 1 from tasks where handler = 'buyer.sign_up'`)).toEqual([]);
  });

  it('is named in tasks by a hash only [GC-38]', async () => {
    await flows.db.ops((tx) => rememberSignUp(flows.p, tx, { marketplace: 'azure', buyerAccountId: ACCOUNT }));
    const tasks = () => flows.rows<{ state: string; payload_ref: object }>(`select state, payload_ref, lane from tasks`);
    expect(JSON.stringify(await tasks())).not.toContain(ACCOUNT);
    await flows.settle();
    expect(approved).toEqual(new Set([ACCOUNT]));
    expect(await tasks()).toMatchObject([{ state: 'done', payload_ref: { marketplace: 'azure', buyer: sha256Hex(ACCOUNT) } }]);
  });
});
