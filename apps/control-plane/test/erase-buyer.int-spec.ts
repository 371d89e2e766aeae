import { randomUUID } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { pseudonymOf, subscriptionIdOf } from '#entitlements';
import { PruneClock } from '../src/workers/prune-clock.js';
import { GcpAnswers } from './events/gcp-events.js';
import { Flows } from './support/flows.js';

const DAY = 86_400_000;
const PROVIDER = 'harbor-storage-public';

describe('what is kept of a buyer of Google Cloud', () => {
  let flows: Flows;
  let google: GcpAnswers;
  let account: string;
  beforeEach(async () => {
    flows = await Flows.open({ adapters: (clock) => [(google = new GcpAnswers(clock)).adapter] });
    account = randomUUID();
  });
  afterEach(() => flows.close());

  /** A message of the account, pulled or in the envelope of a push. */
  const told = (about: object, push: boolean): Promise<string> => {
    const data = JSON.stringify({ eventId: randomUUID(), providerId: PROVIDER, ...about });
    const body = push
      ? JSON.stringify({
          message: { data: Buffer.from(data).toString('base64'), messageId: '1' },
          subscription: 'projects/p/subscriptions/s',
        })
      : data;
    const headers: Record<string, string> = push ? {} : { 'pubsub-message-id': '1' };
    return flows.receive('gcp', { source: 'gcp.pubsub', naturalKey: randomUUID(), headers, body, receivedAt: flows.clock.now() });
  };
  const accountMessage = (eventType: string, push: boolean) =>
    told({ eventType, account: { id: account, updateTime: '2030-05-01T00:00:00Z' } }, push);
  const signUp = () =>
    flows.rows(`insert into buyer_sign_ups (marketplace, buyer_account_id, signed_up_at) values ('gcp', $1, $2) returning 1`, [
      account,
      flows.clock.now(),
    ]);
  const signUps = () => flows.rows('select 1 from buyer_sign_ups');
  const bodies = async (): Promise<string> => {
    const rows = await flows.rows<{ body: string }>('select body from inbox');
    return rows
      .map(({ body }) => body + [...body.matchAll(/"data":"([^"]+)"/g)].map((m) => Buffer.from(m[1]!, 'base64').toString()).join())
      .join('\n');
  };
  /** A purchase of the account that is over, and its deletion is told. */
  const buy = async (entitlementId: string): Promise<string> => {
    google.show(`accounts/${account}`, {
      name: `providers/${PROVIDER}/accounts/${account}`,
      approvals: [{ name: 'signup', state: 'PENDING' }],
    });
    google.entitle(entitlementId, account, { state: 'ENTITLEMENT_ACTIVATION_REQUESTED' });
    await told({ eventType: 'ENTITLEMENT_CREATION_REQUESTED', entitlement: { id: entitlementId } }, false);
    await flows.settle();
    return subscriptionIdOf('gcp', entitlementId);
  };
  const deleted = async (entitlementId: string): Promise<void> => {
    google.show(`entitlements/${entitlementId}`, null);
    await told({ eventType: 'ENTITLEMENT_DELETED', entitlement: { id: entitlementId } }, false);
    await flows.settle(DAY);
  };

  it('who never bought anything goes with his account, also out of pushed envelopes [GC-38]', async () => {
    await signUp();
    for (const push of [true, false]) await accountMessage('ACCOUNT_ACTIVE', push);
    expect(await bodies()).toContain(account);
    await accountMessage('ACCOUNT_DELETED', true);
    await flows.settle();
    expect(await signUps()).toEqual([]);
    expect(await bodies()).not.toContain(account);
  });

  it('stays while another purchase of his is kept, and goes with the last one [GC-38]', async () => {
    await signUp();
    const ids = [randomUUID(), randomUUID()];
    const [one, other] = [await buy(ids[0]!), await buy(ids[1]!)];
    const shared = await accountMessage('ACCOUNT_ACTIVE', true);
    await flows.settle();
    await flows.rows('update inbox set subscription_id = null where inbox_id = $1 returning 1', [shared]);

    await deleted(ids[0]!);
    const kept = () =>
      flows.rows<{ buyer_account_id: string }>('select buyer_account_id from subscriptions order by created_at, subscription_id');
    expect((await kept()).map((k) => k.buyer_account_id).sort()).toEqual([account, pseudonymOf(one)].sort());
    expect(await signUps(), 'his other purchase still needs it').toHaveLength(1);
    expect(await bodies()).toContain(account);

    await deleted(ids[1]!);
    expect((await kept()).map((k) => k.buyer_account_id).sort()).toEqual([pseudonymOf(one), pseudonymOf(other)].sort());
    expect(await signUps()).toEqual([]);
    expect(await bodies()).not.toContain(account);
  });

  it('is not in finished tasks for ever: they go after thirty days, a bounded number at once', async () => {
    await buy(randomUUID());
    const count = async (where: string): Promise<number> => (await flows.rows(`select 1 from tasks where ${where}`)).length;
    await flows.db.ops((tx) =>
      flows.tasks.enqueue(tx, { lane: 'later', handler: 'buyer.tell', payload: {}, runAt: new Date('2040-01-01') }),
    );
    await flows.rows(
      `update tasks set dedupe_key = 'once' where task_id = (select task_id from tasks where state = 'done' limit 1) returning 1`,
    );
    await flows.rows(
      `insert into tasks (task_id, lane, handler, payload_ref, next_run_at, state, created_at, finished_at)
       select gen_random_uuid(), 'old', 'x', '{}', $1, 'done', $1, $1 from generate_series(1, 1500) returning 1`,
      [flows.clock.now()],
    );
    const prune = new PruneClock(flows.p);
    flows.clock.advance(29 * DAY);
    expect(await prune.tick()).toBe(0);
    flows.clock.advance(2 * DAY);
    expect(await prune.tick()).toBe(1_000);
    expect(await prune.tick()).toBeGreaterThan(499);
    expect(await count(`state = 'done' and dedupe_key is null`)).toBe(0);
    expect([await count(`dedupe_key = 'once'`), await count(`lane = 'later'`)], 'what keeps a repeat away, and what waits').toEqual([1, 1]);
  });
});
