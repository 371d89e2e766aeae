import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { getPublisherChange, subscriptionIdOf, type PublisherChangeRow } from '#entitlements';
import { landingView } from '../src/http/landing/landing-view.js';
import { requestRejection } from '../src/processes/reject-purchase.js';
import { GcpAnswers } from './events/gcp-events.js';
import { Flows } from './support/flows.js';

const WHY = 'We may not sell to this country.';

describe('an order of Google Cloud that an operator rejects', () => {
  let flows: Flows;
  let google: GcpAnswers;
  let id: string;
  let account: string;
  let subscriptionId: string;
  beforeEach(async () => {
    flows = await Flows.open({ adapters: (clock) => [(google = new GcpAnswers(clock)).adapter] });
    [id, account] = [randomUUID(), randomUUID()];
    subscriptionId = subscriptionIdOf('gcp', id);
    signUp('PENDING');
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVATION_REQUESTED' });
    const body = JSON.stringify({
      eventId: 'e',
      eventType: 'ENTITLEMENT_CREATION_REQUESTED',
      providerId: 'harbor-storage-public',
      entitlement: { id },
    });
    await flows.receive('gcp', { source: 'gcp.pubsub', naturalKey: 'k', headers: {}, body, receivedAt: flows.clock.now() }, 'inbox:k');
    await flows.settle();
    google.posted.length = 0;
  });
  afterEach(() => flows.close());

  const signUp = (state: string): void =>
    google.show(`accounts/${account}`, {
      name: `providers/harbor-storage-public/accounts/${account}`,
      state: 'ACCOUNT_ACTIVE',
      approvals: [{ name: 'signup', state }],
    });
  const reject = (alsoBuyer = false): Promise<PublisherChangeRow> =>
    flows.db.ops((tx) =>
      requestRejection(flows.p, tx, { subscriptionId, reason: WHY, alsoBuyer, requestedBy: 'a-key', actor: 'operator:a-key' }),
    );
  const read = (row: PublisherChangeRow) => flows.db.ops((tx) => getPublisherChange(tx, row.publisher_change_id));
  const posts = (): string[] => google.posted.filter((name) => name.endsWith(':reject')).map((name) => name.split('/')[0]!);

  it.each([
    ['is gone there', () => google.show(`entitlements/${id}`, null)],
    ['is shown as cancelled', () => google.entitle(id, account, { state: 'ENTITLEMENT_CANCELLED' })],
  ])('and that %s afterwards is voided, and its buyer reads why [GC-67]', async (_, follows) => {
    google.onPost = (name) => {
      if (name.endsWith(':reject')) follows();
    };
    const session = await flows.db.ops((tx) => flows.p.landings.open(tx, { marketplace: 'gcp', token: 'a-token', subscriptionId }));
    const row = await reject();
    await expect(reject()).rejects.toMatchObject({ code: 'change.under_way' });
    await flows.settle();
    expect([await flows.state(subscriptionId), (await read(row))?.state, posts()]).toEqual(['voided', 'succeeded', ['entitlements']]);
    const view = await flows.db.ops(async (tx) => landingView(flows.p, tx, session, await flows.p.landings.find(tx, session), false));
    expect(view.problem).toMatchObject({ code: 'purchase.rejected', detail: expect.stringContaining(WHY) as string });
    expect(await flows.rows(`select actor, detail ->> 'reason' as why from audit_events where action like '%rejection%'`)).toEqual([
      { actor: 'operator:a-key', why: WHY },
    ]);
    await expect(reject()).rejects.toMatchObject({ code: 'change.too_late' });
  });

  it('goes with its sign-up where that is said, after the order and only while it waits [GC-67]', async () => {
    google.onPost = (name) => {
      if (name.startsWith('accounts/')) signUp('REJECTED');
      else google.show(`entitlements/${id}`, null);
    };
    const row = await reject(true);
    await flows.settle();
    expect([(await read(row))?.state, posts()]).toEqual(['succeeded', ['entitlements', 'accounts']]);
    expect(await flows.state(subscriptionId)).toBe('voided');
  });

  it('is not believed to be rejected before Google shows it: it is asked again, and a person is told after an hour [GC-67]', async () => {
    const row = await reject();
    await flows.settle(2 * 3_600_000);
    expect([await flows.state(subscriptionId), (await read(row))?.state]).toEqual(['pending_fulfillment', 'requested']);
    expect(posts().length).toBeLessThan(50);
    expect(await flows.rows(`select evidence ->> 'step' as step from findings where kind = 'marketplace_stuck'`)).toEqual([
      { step: 'rejectPurchase' },
    ]);
    google.show(`entitlements/${id}`, null);
    await flows.settle(3_600_000);
    expect(await flows.state(subscriptionId)).toBe('voided');
  });

  it('and that came into force meanwhile stays in force, with the words of it [GC-67]', async () => {
    google.entitle(id, account, { state: 'ENTITLEMENT_ACTIVE' });
    const row = await reject();
    await flows.settle();
    expect(await read(row)).toMatchObject({ state: 'refused', error_code: 'gcp.entitlement_in_force' });
    expect(posts()).toEqual([]);
    expect(await flows.state(subscriptionId)).toBe('pending_fulfillment');
  });
});
