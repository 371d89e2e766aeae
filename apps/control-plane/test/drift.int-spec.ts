import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { requestDriftRun } from '../src/processes/check-drift.js';
import { DriftClock } from '../src/workers/drift-clock.js';
import { ActivationClock } from '../src/workers/activation-clock.js';
import { ServingClock } from '../src/workers/serving-clock.js';
import { SuspensionClock } from '../src/workers/suspension-clock.js';
import { Flows } from './support/flows.js';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const TOLD_LATE = 20 * 60_000;

describe('comparing purchases with the marketplace', () => {
  let flows: Flows;
  beforeEach(async () => {
    flows = await Flows.open();
  });
  afterEach(() => flows.close());

  /** One run from wish to end: its verdicts by purchase. */
  async function drift(): Promise<{ state: string; error: string | null; verdicts: Record<string, string> }> {
    const id = await flows.db.ops((tx) => requestDriftRun(flows.p, tx, 'azure', 'a test'));
    await flows.settle();
    const [run] = await flows.rows<{ state: string; error: string | null }>('select state, error from drift_runs where drift_run_id = $1', [
      id,
    ]);
    const lines = await flows.rows<{ id: string; verdict: string }>(
      'select external_subscription_id as id, verdict from drift_lines where drift_run_id = $1 order by 1',
      [id],
    );
    return { ...run!, verdicts: Object.fromEntries(lines.map((l) => [l.id, l.verdict])) };
  }
  const findings = async (): Promise<string[]> =>
    (await flows.rows<{ kind: string }>('select kind from findings order by raised_at, kind')).map((f) => f.kind);
  const later = (ms = TOLD_LATE): void => flows.clock.advance(ms);
  /** All that a sweep must leave alone. */
  const world = async (): Promise<unknown> => ({
    tenants: await flows.rows('select * from tenants order by 1'),
    subscriptions: await flows.rows(
      'select subscription_id, tenant_id, state, external_plan_id, quantity, ended_at from subscriptions order by 1',
    ),
    segments: await flows.rows('select * from segments order by 1'),
    placements: await flows.rows('select placement_id, phase, desired from placements order by 1'),
    operations: await flows.rows('select operation_id, state from operations order by 1'),
    sent: await flows.rows('select call_id, operation from calls order by 1'),
    published: await flows.rows(`select task_id, handler from tasks where handler not like 'drift.%' order by 1`),
    findings: await findings(),
  });

  it('makes up for a cancellation at the end of the term, and for its reversal, of which no message came [GC-25]', async () => {
    const { externalId, id } = await flows.serve();
    const end = async (): Promise<Date | null> =>
      (await flows.rows<{ ends_at: Date | null }>('select ends_at from subscriptions where subscription_id = $1', [id]))[0]!.ends_at;
    const endsAt = new Date(flows.clock.now().getTime() + 20 * DAY);
    for (const shown of [endsAt, null]) {
      flows.market.patch(externalId, { endsAt: shown });
      later();
      expect((await drift()).verdicts).toEqual({ [externalId]: 'applied' });
      expect(await end()).toEqual(shown);
      expect(await flows.state(id)).toBe('active');
      later(HOUR);
      expect((await drift()).verdicts).toEqual({});
    }
    expect(await findings()).toEqual([]);
  });

  it('does nothing at all, twice, against a quiet marketplace that omits, lags and lists foreign things', async () => {
    const kept = await flows.serve('Tide archive');
    const omitted = await flows.serve('Left out of the list');
    const lagging = await flows.serve('Listed as it was');
    const over = await flows.serve('Cancelled long ago');
    const asOfNow = await flows.serve('Suspended since, listed as active');
    flows.market.listAs(lagging.externalId, 'as_now');
    flows.market.listAs(asOfNow.externalId, 'as_now');
    await flows.deliver(flows.market.setState(asOfNow.externalId, 'suspended'));
    await flows.deliver(flows.market.setState(lagging.externalId, 'suspended'));
    await flows.settle();
    await flows.deliver(flows.market.setState(lagging.externalId, 'active'));
    await flows.deliver(flows.market.setState(over.externalId, 'ended'));
    await flows.settle();
    flows.market.listAs(over.externalId, null);
    flows.market.listAs(omitted.externalId, null);
    const foreign = flows.market.purchase({ externalOfferId: 'somebody-elses', state: 'active' }).externalSubscriptionId;
    const unheardOf = flows.market.purchase({ state: 'ended' }).externalSubscriptionId;
    later();
    const before = await world();
    expect((before as { tenants: unknown[] }).tenants).toHaveLength(5);

    expect(await drift()).toEqual({
      state: 'completed',
      error: null,
      verdicts: {
        [omitted.externalId]: 'omitted',
        [asOfNow.externalId]: 'agrees_now',
        [foreign]: 'foreign',
        [unheardOf]: 'ended_there',
      },
    });
    later(DAY);
    expect((await drift()).verdicts, 'what is foreign is journalled once').toEqual({
      [omitted.externalId]: 'omitted',
      [asOfNow.externalId]: 'agrees_now',
    });
    expect(await world()).toEqual(before);
    expect(await flows.state(kept.id)).toBe('active');
    expect(await flows.state(omitted.id)).toBe('active');
  });

  it('never ends a purchase that is gone from list and truth: it is a finding, once', async () => {
    const { externalId, id } = await flows.serve();
    flows.market.forget(externalId);
    later();
    expect((await drift()).verdicts).toEqual({ [externalId]: 'missing_there' });
    later(DAY);
    expect((await drift()).verdicts).toEqual({ [externalId]: 'missing_there' });
    expect(await findings()).toEqual(['drift.missing_there']);
    expect(await flows.state(id)).toBe('active');
  });

  it('applies what a lost message would have told: state, plan and quantity, at the instant it happened there', async () => {
    const suspended = await flows.serve('Suspended');
    const ended = await flows.serve('Ended');
    const changed = await flows.serve('Changed');
    later();
    const when = flows.clock.now();
    flows.market.patch(suspended.externalId, { state: 'suspended' });
    flows.market.patch(ended.externalId, { state: 'ended' });
    flows.market.patch(changed.externalId, { externalPlanId: 'premium', quantity: 7 });
    later(2 * HOUR);
    expect((await drift()).verdicts).toEqual({
      [suspended.externalId]: 'applied',
      [ended.externalId]: 'applied',
      [changed.externalId]: 'applied',
    });
    expect(await Promise.all([suspended, ended, changed].map((s) => flows.state(s.id)))).toEqual(['suspended', 'closing', 'active']);
    expect((await findings()).sort()).toEqual(['drift.plan', 'drift.quantity', 'drift.state', 'drift.state']);
    const [end] = await flows.rows<{ ended_at: Date }>('select ended_at from subscriptions where subscription_id = $1', [ended.id]);
    expect(end!.ended_at).toEqual(when);
    expect((await drift()).verdicts).toEqual({});
  });

  it('sees an amendment that moved nothing but the end of the term, and a cancellation to come [AW-49]', async () => {
    const amended = await flows.serve('Amended');
    const leaving = await flows.serve('Leaving');
    const kept = flows.market.purchase({ state: 'active' }).externalSubscriptionId;
    await flows.deliver(flows.market.setState(kept, 'active'));
    await flows.settle();
    later();
    const endsAt = new Date('2031-05-01T00:00:00Z');
    flows.market.patch(amended.externalId, { term: { unit: null, startsAt: null, endsAt } });
    flows.market.patch(leaving.externalId, { endsAt });
    later(2 * HOUR);
    expect((await drift()).verdicts).toEqual({ [amended.externalId]: 'applied', [leaving.externalId]: 'applied' });
    const [row] = await flows.rows<object>('select term_ends_at, ends_at from subscriptions where subscription_id = $1', [amended.id]);
    expect(row).toEqual({ term_ends_at: endsAt, ends_at: null });
    expect(await flows.rows('select ends_at from subscriptions where subscription_id = $1', [leaving.id])).toEqual([{ ends_at: endsAt }]);
    // The same term goes on: nothing was cut, and nobody has to be told.
    expect(await flows.rows('select 1 from segments where subscription_id = $1', [amended.id])).toHaveLength(1);
    expect(await findings()).toEqual([]);
    expect((await drift()).verdicts).toEqual({});
  });

  it('takes in a purchase that nobody told of: made, provisioned, and a finding', async () => {
    const { externalSubscriptionId } = flows.market.purchase({ state: 'active', name: 'Never told' });
    later();
    expect((await drift()).verdicts).toEqual({ [externalSubscriptionId]: 'applied' });
    const id = subscriptionIdOf('azure', externalSubscriptionId);
    expect(await flows.state(id)).toBe('active');
    expect(await findings()).toEqual(['drift.missing_here']);
    expect(await flows.rows('select phase from placements where subscription_id = $1', [id])).toEqual([{ phase: 'active' }]);
  });

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

  it('leaves a young difference to the message that may be on its way', async () => {
    const { externalId, id } = await flows.serve();
    later();
    flows.market.patch(externalId, { state: 'suspended' });
    const young = flows.market.purchase({ state: 'active' }).externalSubscriptionId;
    expect((await drift()).verdicts).toEqual({ [externalId]: 'not_yet_visible', [young]: 'not_yet_visible' });
    expect(await flows.state(id)).toBe('active');
    expect(await findings()).toEqual([]);
    later();
    expect((await drift()).verdicts).toEqual({ [externalId]: 'applied', [young]: 'applied' });
  });

  it('names an ended purchase that lives on there, and does not bring it back', async () => {
    const { externalId, id } = await flows.serve();
    await flows.deliver(flows.market.setState(externalId, 'ended'));
    await flows.settle();
    flows.market.patch(externalId, { state: 'active' });
    later(2 * HOUR);
    expect((await drift()).verdicts).toEqual({ [externalId]: 'differs' });
    expect(['closing', 'cancelled']).toContain(await flows.state(id));
    expect(await findings()).toContain('drift.state');
  });

  it('judges nothing by half a list, and gives up on a marketplace that does not answer', async () => {
    await flows.serve();
    later();
    flows.market.failNext('listAll', 'unknown');
    expect(await drift()).toMatchObject({ state: 'failed', verdicts: {} });
    flows.market.failNext('listAll', 'busy', { retryAfterMs: 5_000 });
    expect(await drift(), 'a busy one is asked again').toMatchObject({ state: 'completed', verdicts: {} });
    expect(await findings()).toEqual(['drift.failed']);
  });

  it('does not park a lane over a purchase that cannot be read again', async () => {
    const { externalId, id } = await flows.serve();
    flows.market.patch(externalId, { state: 'suspended' });
    later();
    flows.market.failNext('readTruth', 'refused');
    expect((await drift()).verdicts).toEqual({ [externalId]: 'unread' });
    expect(await flows.rows(`select 1 from tasks where state = 'parked'`)).toEqual([]);
    expect((await drift()).verdicts).toEqual({ [externalId]: 'applied' });
    expect(await flows.state(id)).toBe('suspended');
  });

  it('runs one comparison at a time, and takes over from one that hangs on a parked lane', async () => {
    const { externalId } = await flows.serve();
    flows.market.patch(externalId, { state: 'suspended' });
    later();
    flows.broken.add('drift.reread');
    const request = (): Promise<string> => flows.db.ops((tx) => requestDriftRun(flows.p, tx, 'azure', 'a test'));
    const first = await request();
    expect(await request()).toBe(first);
    await flows.settle();
    later(2 * HOUR);
    flows.broken.clear();
    const second = await request();
    expect(second).not.toBe(first);
    expect(await flows.rows('select verdict from drift_lines where drift_run_id = $1', [first])).toEqual([{ verdict: 'unread' }]);
  });

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

  it('is booked by the clock as often as configured, but not more often than the list may be asked for', async () => {
    const runs = async (): Promise<number> => (await flows.rows('select 1 from drift_runs')).length;
    const eager = new DriftClock(flows.p, 1_000);
    expect(await eager.tick()).toBe(1);
    await flows.settle();
    later(30_000);
    expect(await eager.tick(), 'the floor is a minute').toBe(0);
    later(31_000);
    const another = new DriftClock(flows.p, 1_000);
    expect((await Promise.all([eager.tick(), another.tick()])).sort()).toEqual([0, 1]);
    expect(await runs()).toBe(2);
    expect(await new DriftClock(flows.p, HOUR).tick()).toBe(0);
    expect(await new DriftClock(flows.p, 0).tick()).toBe(0);
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
