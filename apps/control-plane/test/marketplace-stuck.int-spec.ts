import { randomUUID } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { MarketplaceBusy } from '#marketplaces/core';
import type { Principal } from '#tenancy';
import { subscriptionIdOf } from '#entitlements';
import { replayInbound } from '../src/processes/replay-inbound.js';
import { rememberSignUp } from '../src/processes/sign-up-buyer.js';
import { GcpAnswers } from './events/gcp-events.js';
import { Flows } from './support/flows.js';

const HOUR = 3_600_000;
const OPERATOR: Principal = { kind: 'operator', keyId: 'op-1', name: 'a person' } as Principal;

describe('what a marketplace does not take or does not show as it should', () => {
  let flows: Flows;
  afterEach(() => flows.close());
  const stuck = () =>
    flows
      .rows<{ evidence: Record<string, string> }>(`select evidence from findings where kind = 'marketplace_stuck'`)
      .then((all) => all.map((f) => f.evidence));

  it.each([
    ['has a state that nobody knows', { state: 'ENTITLEMENT_FROZEN' }],
    ['has no plan', { plan: '' }],
  ])('is kept with what was shown where an entitlement %s, and has its effect once it can be read [GC-63]', async (_, odd) => {
    let google!: GcpAnswers;
    flows = await Flows.open({ adapters: (clock) => [(google = new GcpAnswers(clock)).adapter] });
    const [id, account] = [randomUUID(), randomUUID()];
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE', ...odd });
    const body = JSON.stringify({
      eventId: 'e',
      eventType: 'ENTITLEMENT_ACTIVE',
      providerId: 'harbor-storage-public',
      entitlement: { id },
    });
    const message = { source: 'gcp.pubsub', naturalKey: 'k', headers: {}, body, receivedAt: flows.clock.now() };
    const inboxId = await flows.receive('gcp', message, `subscription:${subscriptionIdOf('gcp', id)}`);
    await flows.settle(HOUR);
    expect(await flows.rows('select state from inbox')).toEqual([{ state: 'parked' }]);
    expect(await flows.rows(`select handler from tasks where state <> 'done'`), 'the lane goes on').toEqual([]);
    expect(await stuck()).toMatchObject([{ marketplace: 'gcp', inboxId, view: expect.stringContaining(Object.values(odd)[0] || id) }]);

    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE' });
    await flows.db.ops((tx) => replayInbound(flows.p, tx, inboxId, OPERATOR));
    await flows.settle();
    expect(await flows.rows('select state, external_plan_id from subscriptions')).toEqual([
      { state: 'active', external_plan_id: 'standard' },
    ]);
  });

  it.each(['a refusal that its state does not explain', 'an activation that it does not show'])(
    'is asked for more and more slowly after %s, and a person is told after an hour [GC-63]',
    async (fault) => {
      flows = await Flows.open();
      const { market } = flows;
      let asked = 0;
      const acknowledge = market.acknowledge.bind(market);
      Object.assign(market, {
        acknowledge: () => {
          asked += 1;
          return fault.startsWith('a refusal')
            ? Promise.reject(new MarketplaceBusy('Precondition check failed.', 5_000))
            : Promise.resolve();
        },
      });
      const { id, externalId } = await flows.serve();
      await flows.settle(50 * 60_000);
      expect(asked).toBeGreaterThan(5);
      expect(asked).toBeLessThan(40);
      expect(await stuck()).toEqual([]);
      const before = asked;
      await flows.settle(2 * HOUR);
      expect(asked - before, 'every five minutes').toBeLessThanOrEqual(26);
      expect(await stuck()).toMatchObject([{ step: 'acknowledge', externalSubscriptionId: externalId }]);
      Object.assign(market, { acknowledge });
      await flows.settle(HOUR);
      expect(await flows.state(id)).toBe('active');
    },
  );

  it.each([
    ['the approval of a buyer', 'approveBuyer'],
    ['the answer to a change', 'answerChange'],
  ])(
    'is asked for more and more slowly with %s, a person is told after an hour, and it is done once it is taken [GC-63]',
    async (_, step) => {
      flows = await Flows.open();
      const { market } = flows;
      const { externalId, id } = await flows.serve();
      let asked = 0;
      let isBusy = true;
      const answer = market.answerChange.bind(market);
      const once = async (): Promise<void> => {
        asked += 1;
        if (isBusy) throw new MarketplaceBusy('Precondition check failed.', 5_000);
      };
      Object.assign(market, {
        approveBuyer: once,
        answerChange: async (...given: Parameters<typeof answer>) => {
          await once();
          return answer(...given);
        },
      });
      if (step === 'approveBuyer')
        await flows.db.ops((tx) => rememberSignUp(flows.p, tx, { marketplace: market.marketplace, buyerAccountId: 'a-buyer' }));
      else await flows.deliver(market.requestChange(externalId, { externalPlanId: 'premium' }).message);
      await flows.settle(50 * 60_000);
      expect(asked).toBeGreaterThan(5);
      expect(asked).toBeLessThan(40);
      expect(await stuck()).toEqual([]);
      const before = asked;
      await flows.settle(2 * HOUR);
      expect(asked - before, 'every five minutes').toBeLessThanOrEqual(26);
      expect(await stuck()).toMatchObject([{ step }]);
      isBusy = false;
      await flows.settle(HOUR);
      expect(await flows.rows(`select handler from tasks where state <> 'done' and handler in ('buyer.sign_up', 'change.answer')`)).toEqual(
        [],
      );
      if (step === 'answerChange')
        expect(await flows.rows('select external_plan_id from subscriptions where subscription_id = $1', [id])).toEqual([
          { external_plan_id: 'premium' },
        ]);
    },
  );

  it('is looked for more and more slowly where an accepted change is not shown, and given up after an hour [GC-63]', async () => {
    flows = await Flows.open();
    const { market } = flows;
    const { externalId } = await flows.serve();
    let reads = 0;
    const read = market.readTruth.bind(market);
    await flows.deliver(market.requestChange(externalId, { externalPlanId: 'premium' }).message);
    Object.assign(market, {
      answerChange: () => Promise.resolve(),
      readTruth: (...given: Parameters<typeof read>) => {
        reads += 1;
        return read(...given);
      },
    });
    await flows.settle(2 * HOUR);
    expect(reads).toBeLessThan(40);
    expect(await flows.rows('select state from change_requests')).toEqual([{ state: 'dropped' }]);
  });
});
