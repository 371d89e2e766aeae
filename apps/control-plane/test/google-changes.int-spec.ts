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
