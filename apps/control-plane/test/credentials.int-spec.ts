import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type MarketplaceAdapter, MarketplaceBusy, MarketplaceRefusal } from '#marketplaces/core';
import { subscriptionIdOf } from '#entitlements';
import { requestDriftRun } from '../src/processes/check-drift.js';
import { SecretClock } from '../src/workers/secret-clock.js';
import { Flows } from './support/flows.js';

describe('credentials at a marketplace', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open({ at: '2030-05-01T10:00:00Z' });
  });
  afterEach(() => f?.close());

  const findings = () =>
    f.rows<{ kind: string; deadline: Date; evidence: Record<string, unknown> }>(
      'select kind, deadline, evidence from findings order by raised_at',
    );

  it('that are refused park nothing: a person is told once a day, and all goes on when they are mended [AZ-28]', async () => {
    const { externalSubscriptionId, message } = f.market.purchase({ state: 'active' });
    f.market.failNext('normalise', 'unauthorised', { times: 300 });
    await f.deliver(message);
    await f.settle(25 * 3_600_000);
    expect(await f.rows(`select handler from tasks where state = 'parked'`)).toEqual([]);
    expect(await findings()).toMatchObject([
      { kind: 'secret_expiring', evidence: { marketplace: 'azure', what: 'the marketplace refuses our credentials' } },
      { kind: 'secret_expiring', evidence: { marketplace: 'azure' } },
    ]);
    expect(JSON.stringify(await findings())).toContain('berth doctor azure');
    expect(await f.state(subscriptionIdOf('azure', externalSubscriptionId))).toBe('active');
  });

  it('that are refused when a message wants to be confirmed make it wait, and it is confirmed when they are mended [AW-126]', async () => {
    let asked = 0;
    let refused = new MarketplaceRefusal('azure.denied', 'not allowed', 403);
    (f.market as MarketplaceAdapter).handshake = () => ({
      operation: 'confirmSubscription',
      intent: {},
      run: () => (++asked <= 3 ? Promise.reject(refused) : Promise.resolve({ confirmed: true })),
    });
    await f.deliver(f.market.purchase().message);
    await f.settle(3_600_000);
    expect(asked).toBe(4);
    expect(await f.rows(`select state from calls where operation = 'confirmSubscription' order by call_id`)).toMatchObject([
      { state: 'refused' },
      { state: 'refused' },
      { state: 'refused' },
      { state: 'ok' },
    ]);
    expect(await findings()).toMatchObject([{ kind: 'secret_expiring', evidence: { remedy: 'berth doctor azure' } }]);
    // A no to the message itself is one.
    [asked, refused] = [0, new MarketplaceRefusal('azure.not_pending', 'a stranger’s', 400)];
    await f.deliver(f.market.purchase().message);
    await f.settle(3_600_000);
    expect(asked).toBe(1);
  });

  it('are of no use to a channel that was closed: a person is told once [AW-127]', async () => {
    const { message } = f.market.purchase();
    const occurredAt = f.clock.now();
    const base = { kind: 'noted', marketplace: 'azure', externalSubscriptionId: '', truth: null, occurredAt } as const;
    f.market.normalise = () => Promise.resolve([{ ...base, channelLost: { channel: 'a topic' }, note: 'taken away' }]);
    for (let times = 0; times < 2; times++) await f.deliver(message);
    await f.settle();
    expect(await findings()).toMatchObject([{ kind: 'channel_lost', evidence: { marketplace: 'azure', channel: 'a topic' } }]);
  });

  it('that a sender shows and nobody can check just now are not taken, and it is recorded [GC-59]', async () => {
    const { message } = f.market.purchase();
    f.market.verifyInbound = () => Promise.reject(new MarketplaceBusy('the token names a key that is not known yet'));
    await expect(f.deliver(message)).rejects.toMatchObject({ code: 'webhook.sender_unverified' });
    expect(await f.rows('select source, code, detail from refusals')).toEqual([
      { source: 'azure.webhook', code: 'webhook.sender_unverified', detail: 'the token names a key that is not known yet' },
    ]);
    expect(await f.rows('select 1 from inbox')).toEqual([]);
  });

  it('that are refused to the comparison are told of, and so is that nothing was compared [AZ-28]', async () => {
    const { externalId } = await f.serve();
    const drift = async (): Promise<void> => {
      f.clock.advance(2 * 3_600_000);
      await f.db.ops((tx) => requestDriftRun(f.p, tx, 'azure', 'a test'));
      await f.settle();
    };
    f.market.failNext('listAll', 'unauthorised', { times: 2 });
    await drift();
    await drift();
    expect((await findings()).map((one) => one.kind).sort()).toEqual(['drift.failed', 'secret_expiring']);
    f.clock.advance(24 * 3_600_000);
    f.market.patch(externalId, { state: 'suspended' });
    f.market.failNext('readTruth', 'unauthorised');
    await drift();
    expect((await findings()).map((one) => one.kind).sort()).toEqual(['drift.failed', 'secret_expiring', 'secret_expiring']);
  });

  it('that are refused in a decision ask the sender to come again [AZ-28]', async () => {
    const { externalId } = await f.serve();
    const { message } = f.market.requestChange(externalId, { externalPlanId: 'premium' });
    f.market.failNext('normalise', 'unauthorised');
    await expect(f.deliver(message)).rejects.toMatchObject({ code: 'webhook.undecided' });
    expect((await findings()).map((one) => one.kind)).toEqual(['secret_expiring']);
    expect(await f.deliver(message)).toMatchObject({ status: 200 });
  });

  it('that end on a known day are told of thirty, seven and one days before, once each [AZ-28]', async () => {
    const ending = (expires: string | null) => [{ setting: 'AZURE_CLIENT_SECRET' as const, expires }];
    const clock = new SecretClock(f.p, ending('2030-06-15'));
    expect(await clock.tick()).toBe(0);
    f.clock.set(new Date('2030-05-16T00:00:00Z'));
    expect(await clock.tick()).toBe(1);
    // Another process, and the next hour.
    expect(await new SecretClock(f.p, ending('2030-06-15')).tick()).toBe(0);
    f.clock.set(new Date('2030-05-16T02:00:00Z'));
    expect(await clock.tick()).toBe(0);
    expect(await findings()).toMatchObject([{ kind: 'secret_expiring', deadline: new Date('2030-06-15T00:00:00Z') }]);
    for (const [at, fresh] of [
      ['2030-06-07T23:00:00Z', 0],
      ['2030-06-08T00:00:00Z', 1],
      ['2030-06-13T23:00:00Z', 0],
      ['2030-06-14T00:00:00Z', 1],
      ['2030-06-20T00:00:00Z', 0],
    ] as const) {
      f.clock.set(new Date(at));
      expect(await clock.tick(), at).toBe(fresh);
    }
    expect(await new SecretClock(f.p, ending(null)).tick()).toBe(0);
    // That of the application with which buyers sign in is one of its own, told of beside the other.
    const signIn = { setting: 'AZURE_SIGN_IN_CLIENT_SECRET' as const, expires: '2030-06-15' };
    f.clock.set(new Date('2030-06-14T12:00:00Z'));
    expect(await new SecretClock(f.p, [...ending('2030-06-15'), signIn]).tick()).toBe(1);
    expect((await findings()).at(-1)).toMatchObject({ evidence: { setting: 'AZURE_SIGN_IN_CLIENT_SECRET', daysLeft: 1 } });
  });
});
