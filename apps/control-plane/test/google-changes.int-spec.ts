import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { subscriptionIdOf } from '#entitlements';
import { requestDriftRun } from '../src/processes/check-drift.js';
import { GcpAnswers } from './events/gcp-events.js';
import { Flows } from './support/flows.js';

const WAITS = { state: 'ENTITLEMENT_PENDING_PLAN_CHANGE_APPROVAL', newPendingPlan: 'premium' };

describe('a change of plan at Google Cloud', () => {
  let flows: Flows;
  let google: GcpAnswers;
  let id: string;
  let account: string;
  beforeEach(async () => {
    flows = await Flows.open({ adapters: (clock) => [(google = new GcpAnswers(clock)).adapter] });
    [id, account] = [randomUUID(), randomUUID()];
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE' });
    await tell('ENTITLEMENT_ACTIVE');
    await flows.settle();
  });
  afterEach(() => flows.close());

  const tell = (eventType: string): Promise<string> => {
    const body = JSON.stringify({ eventId: randomUUID(), eventType, providerId: 'harbor-storage-public', entitlement: { id } });
    const message = { source: 'gcp.pubsub', naturalKey: randomUUID(), headers: {}, body, receivedAt: flows.clock.now() };
    return flows.receive('gcp', message, `subscription:${subscriptionIdOf('gcp', id)}`);
  };
  const drift = async (): Promise<string[]> => {
    flows.clock.advance(3_600_000);
    const run = await flows.db.ops((tx) => requestDriftRun(flows.p, tx, 'gcp', 'a test'));
    await flows.settle();
    const lines = await flows.rows<{ verdict: string }>('select verdict from drift_lines where drift_run_id = $1', [run]);
    return lines.map((l) => l.verdict);
  };
  const changes = () => flows.rows<{ state: string; plan: string }>('select state, to_external_plan_id as plan from change_requests');
  const approvals = () => google.posted.filter((p) => p.endsWith(':approvePlanChange')).length;
  const inForce = (): void => google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE', plan: 'premium' });

  it('whose message was lost is decided by the comparison, once [GC-64]', async () => {
    google.entitle(id, account, WAITS);
    google.onPost = inForce;
    expect(await drift()).toEqual(['applied']);
    expect([await changes(), approvals()]).toEqual([[{ state: 'applied', plan: 'premium' }], 1]);
    expect(await drift()).toEqual([]);
    expect(approvals()).toBe(1);
  });

  it('whose message came early is decided by whatever is told next [GC-64]', async () => {
    await tell('ENTITLEMENT_PLAN_CHANGE_REQUESTED');
    await flows.settle();
    expect(await changes(), 'the state does not bear it out yet').toEqual([]);
    google.entitle(id, account, WAITS);
    google.onPost = inForce;
    await tell('ENTITLEMENT_RENEWED');
    await flows.settle();
    expect([await changes(), approvals()]).toEqual([[{ state: 'applied', plan: 'premium' }], 1]);
  });

  it('that is approved and waits for the end of the cycle is not polled for, holds up nothing and is kept [GC-64]', async () => {
    google.entitle(id, account, WAITS);
    google.onPost = () => google.entitle(id, account, { state: 'ENTITLEMENT_PENDING_PLAN_CHANGE', newPendingPlan: 'premium' });
    await tell('ENTITLEMENT_PLAN_CHANGE_REQUESTED');
    await flows.settle();
    expect(await flows.rows(`select handler from tasks where state <> 'done' and handler = 'change.answer'`)).toEqual([]);
    flows.clock.advance(5 * 3_600_000);
    expect(await changes()).toEqual([{ state: 'accepted', plan: 'premium' }]);
    inForce();
    await tell('ENTITLEMENT_PLAN_CHANGED');
    await flows.settle();
    expect(await changes()).toEqual([{ state: 'applied', plan: 'premium' }]);
    expect(approvals()).toBe(1);
  });
});

describe('an accepted offer of Google Cloud that starts later', () => {
  let flows: Flows;
  let google: GcpAnswers;
  let id: string;
  let account: string;
  const START = '2030-05-03T10:00:00Z';
  const DAY = 86_400_000;
  beforeEach(async () => {
    flows = await Flows.open({ adapters: (clock) => [(google = new GcpAnswers(clock)).adapter] });
    [id, account] = [randomUUID(), randomUUID()];
    // Its buyer is known: nothing but the start holds it up.
    google.show(`accounts/${account}`, {
      name: `providers/harbor-storage-public/accounts/${account}`,
      state: 'ACCOUNT_ACTIVE',
      approvals: [{ name: 'signup', state: 'APPROVED' }],
      resellerParentBillingAccount: 'billingAccounts/010101-ABCDEF-020202',
    });
  });
  afterEach(() => flows.close());

  const tell = async (eventType: string, told: object = {}): Promise<void> => {
    const body = JSON.stringify({ eventId: randomUUID(), eventType, providerId: 'harbor-storage-public', entitlement: { id, ...told } });
    const message = { source: 'gcp.pubsub', naturalKey: randomUUID(), headers: {}, body, receivedAt: flows.clock.now() };
    await flows.receive('gcp', message, `subscription:${subscriptionIdOf('gcp', id)}`);
    await flows.settle();
  };
  const shown = () => flows.rows('select state, term_starts_at from subscriptions');
  const placements = () => flows.rows('select phase from placements');

  it.each([
    ['GET shows too', { newOfferStartTime: START }],
    ['only its message tells', {}],
  ])('which %s, is not set up before its day, whatever is told or read meanwhile, and then it is [GC-65]', async (_, view) => {
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVATION_REQUESTED', ...view });
    await tell('ENTITLEMENT_OFFER_ACCEPTED', { newOfferStartTime: START });
    const waits = [{ state: 'scheduled', term_starts_at: new Date(START) }];
    expect(await shown()).toEqual(waits);
    // Another message, one of the account, and a second look: none of them names the start.
    await tell('ENTITLEMENT_OFFER_ENDED');
    const sent = { eventId: randomUUID(), providerId: 'harbor-storage-public', eventType: 'ACCOUNT_ACTIVE', account: { id: account } };
    const message = { source: 'gcp.pubsub', naturalKey: 'a', headers: {}, body: JSON.stringify(sent), receivedAt: flows.clock.now() };
    await flows.receive('gcp', message, 'inbox:a');
    flows.clock.advance(3_600_000);
    await flows.db.ops((tx) => requestDriftRun(flows.p, tx, 'gcp', 'a test'));
    await flows.settle();
    expect(await shown()).toEqual(waits);
    expect([await placements(), google.posted]).toEqual([[], []]);
    // It is moved: the newest word holds.
    const moved = '2030-05-04T10:00:00Z';
    if (!('newOfferStartTime' in view)) {
      await tell('ENTITLEMENT_OFFER_ACCEPTED', { newOfferStartTime: moved });
      expect(await shown()).toEqual([{ state: 'scheduled', term_starts_at: new Date(moved) }]);
    }
    await flows.settle(3 * DAY);
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE' });
    await flows.settle(DAY);
    await tell('ENTITLEMENT_ACTIVE');
    expect((await shown())[0]).toMatchObject({ state: 'active' });
    expect(await placements()).toEqual([{ phase: 'active' }]);
  });

  it('shows who resold it [GC-66]', async () => {
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVATION_REQUESTED' });
    await tell('ENTITLEMENT_CREATION_REQUESTED');
    const reseller = { accountId: '010101-ABCDEF-020202', authorizationId: null };
    expect(await flows.rows('select reseller from subscriptions')).toEqual([{ reseller }]);
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE' });
    await tell('ENTITLEMENT_ACTIVE');
    expect(await flows.rows('select state, reseller from subscriptions')).toEqual([{ state: 'active', reseller }]);
  });
});
