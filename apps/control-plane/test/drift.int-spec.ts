import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { requestDriftRun } from '../src/processes/check-drift.js';
import { DriftClock } from '../src/workers/drift-clock.js';
import { findingKinds, runDrift, type DriftRun } from './support/drift-run.js';
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

  const drift = (): Promise<DriftRun> => runDrift(flows);
  const findings = (): Promise<string[]> => findingKinds(flows);
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
});
