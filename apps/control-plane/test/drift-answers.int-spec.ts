import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { runDrift, type DriftRun } from './support/drift-run.js';
import { Flows } from './support/flows.js';

const TOLD_LATE = 20 * 60_000;

describe('a word of ours that the marketplace still waits for', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  const drift = (): Promise<DriftRun> => runDrift(flows);
  const later = (ms = TOLD_LATE): void => flows.clock.advance(ms);

  it('answers a change whose message was lost, once, and reads one again of which nothing came [AZ-97]', async () => {
    const { externalId, id } = await flows.serve();
    later();
    const { changeId } = flows.market.requestChange(externalId, { externalPlanId: 'premium' });
    await drift();
    await flows.settle();
    expect(flows.market.changes.get(changeId)!.status).toBe('succeeded');
    const planOf = async (): Promise<unknown> =>
      (await flows.rows<{ plan: string }>('select external_plan_id as plan from subscriptions where subscription_id = $1', [id]))[0]!.plan;
    expect(await planOf()).toBe('premium');

    const early = flows.market.requestChange(externalId, { externalPlanId: 'standard' });
    const told = flows.market.changes.get(early.changeId)!;
    flows.market.changes.delete(early.changeId);
    // Told before it could be read: noted, and nothing came of it.
    await flows.deliver(early.message);
    await flows.settle();
    flows.market.changes.set(early.changeId, told);
    later();
    await drift();
    await flows.settle();
    expect([told.status, await planOf()]).toEqual(['succeeded', 'standard']);
    later();
    const answers = flows.market.calls.filter((c) => c.operation === 'answerChange').length;
    await drift();
    await flows.settle();
    expect(flows.market.calls.filter((c) => c.operation === 'answerChange')).toHaveLength(answers);
  });

  it('decides and answers again what was given up here and waits there after all [AZ-94] [AZ-97]', async () => {
    const { externalId } = await flows.serve();
    later();
    const { changeId, message } = flows.market.requestChange(externalId, { externalPlanId: 'premium' });
    // Our word came before the marketplace knew the operation.
    flows.market.failNext('answerChange', 'refused');
    await flows.deliver(message);
    await flows.settle();
    expect(await flows.rows('select state from change_requests')).toEqual([{ state: 'dropped' }]);
    expect(flows.market.changes.get(changeId)!.status).toBe('pending');
    later();
    await drift();
    await flows.settle();
    expect(flows.market.changes.get(changeId)!.status).toBe('succeeded');
    expect(await flows.rows('select state from change_requests')).toEqual([{ state: 'applied' }]);
  });

  it('sweeps all purchases, a few at a time, and waits for a marketplace that throttles [AZ-97]', async () => {
    const bought = Array.from({ length: 30 }, (_, i) => flows.market.purchase({ name: `Buyer ${i}`, state: 'active' }));
    for (const { message } of bought) await flows.deliver(message);
    await flows.settle();
    const changes = bought.map((b) => flows.market.requestChange(b.externalSubscriptionId, { externalPlanId: 'premium' }).changeId);
    later();
    flows.market.failNext('pendingMessages', 'busy', { retryAfterMs: 5_000 });
    await drift();
    await flows.settle();
    expect(changes.map((id) => flows.market.changes.get(id)!.status)).toEqual(changes.map(() => 'succeeded'));
  });

  it('takes up an acknowledgement that was lost after sign-up and serving', async () => {
    flows.broken.add('fulfillment.complete');
    const bought = flows.market.purchase({ name: 'Serves, never told' });
    const id = subscriptionIdOf('azure', bought.externalSubscriptionId);
    await flows.deliver(bought.message);
    await flows.settle();
    await flows.land(id, bought.token, 'Tide archive');
    await flows.settle();
    await flows.rows(`update tasks set state = 'done' where handler = 'fulfillment.complete'`);
    flows.broken.clear();
    expect(await flows.state(id)).toBe('pending_fulfillment');
    later();
    await drift();
    await flows.settle();
    expect(await flows.state(id)).toBe('active');
  });

  it('approves a waiting buyer who has signed up, and nobody who has not', async () => {
    const account = (): { email: null; personId: null; directoryId: null; accountId: string } => ({
      email: null,
      personId: null,
      directoryId: null,
      accountId: randomUUID(),
    });
    const [signedUp, never] = [account(), account()];
    await flows.serve('Signed up', { beneficiary: signedUp });
    const auto = flows.market.purchase({ state: 'active', beneficiary: never });
    await flows.deliver(auto.message);
    await flows.settle();
    flows.market.awaitApproval(signedUp.accountId);
    flows.market.awaitApproval(never.accountId);
    later();
    await drift();
    await flows.settle();
    const waiting: string[] = [];
    for await (const { buyerAccountId } of flows.market.listWaitingBuyers()) waiting.push(buyerAccountId);
    expect(waiting).toEqual([never.accountId]);
  });
});
