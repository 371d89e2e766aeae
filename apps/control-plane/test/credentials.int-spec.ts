import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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

  it('that end on a known day are told of thirty days before, once [AZ-28]', async () => {
    const clock = new SecretClock(f.p, '2030-06-15');
    expect(await clock.tick()).toBe(0);
    f.clock.set(new Date('2030-05-16T00:00:00Z'));
    expect(await clock.tick()).toBe(1);
    // Another process, and the next hour.
    expect(await new SecretClock(f.p, '2030-06-15').tick()).toBe(0);
    f.clock.set(new Date('2030-05-16T02:00:00Z'));
    expect(await clock.tick()).toBe(0);
    expect(await findings()).toMatchObject([{ kind: 'secret_expiring', deadline: new Date('2030-06-15T00:00:00Z') }]);
    expect(await new SecretClock(f.p, null).tick()).toBe(0);
  });
});
