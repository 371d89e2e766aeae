import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PulledMessage, UsageWireItem } from '#marketplaces/core';
import type { GcpAdapter } from '../src/index.js';
import { GcpSandbox, SERVICE } from './support/sandbox-process.js';

const HOUR = 3_600_000;
const DOUBLE = `${SERVICE}/standard_mib_egress`;
const INT64 = `${SERVICE}/standard_mib_hours_stored`;

interface Plans {
  gcp: { plans: { metrics: { id: string; type: string }[] }[] };
}

describe('the live configuration and the state of the service', () => {
  let sandbox: GcpSandbox;
  beforeAll(async () => {
    sandbox = await GcpSandbox.start();
    const { plans } = (await sandbox.control<Plans>('GET', '/settings')).gcp;
    for (const metric of plans.flatMap((plan) => plan.metrics)) if (metric.id === DOUBLE) metric.type = 'DOUBLE';
    await sandbox.control('PUT', '/settings', { gcp: { plans } });
  });
  afterAll(() => sandbox?.stop());

  const active = async (): Promise<string> => {
    const { entitlementId } = await sandbox.buy();
    await sandbox.acknowledge(await sandbox.truth(entitlementId), randomUUID());
    return entitlementId;
  };
  const item = async (adapter: GcpAdapter, entitlementId: string, dimension: string, n: number): Promise<UsageWireItem> => {
    const hourStart = sandbox.closedHour(entitlementId, n);
    const endsAt = new Date(hourStart.getTime() + HOUR);
    const { refs } = await sandbox.truth(entitlementId);
    const of = { externalSubscriptionId: entitlementId, externalPlanId: 'standard', dimension, hourStart, startsAt: hourStart, endsAt };
    return adapter.buildUsageItem({ itemId: randomUUID(), ...of, quantity: '7', refs });
  };

  it('gives each metric its type: a wrong one refuses the whole request, the right one is billed [GC-45]', async () => {
    const id = await active();
    const adapter = sandbox.adapterWith({});
    await expect(item(adapter, id, DOUBLE, 1), 'before it was read').rejects.toThrow(/metric_types_unread/);
    await adapter.prepareUsage();
    const both = [await item(adapter, id, DOUBLE, 1), await item(adapter, id, INT64, 1)];
    expect(await adapter.submitUsage(both)).toMatchObject([{ outcome: 'accepted', acceptedQuantity: '7' }, { outcome: 'accepted' }]);
    // An adapter that read the configuration before the type was changed.
    const stale = await item(sandbox.adapter, id, DOUBLE, 2);
    await expect(sandbox.adapter.submitUsage([stale])).rejects.toMatchObject({
      code: 'gcp.batch_refused',
      message: expect.stringContaining('Expecting double, got int64'),
    });
    expect((await sandbox.billed(id)).map((b) => b.dimension).sort()).toEqual([DOUBLE, INT64].sort());
  });

  it('that cannot be read lets usage wait unless the type is configured, and the doctor says what is missing [GC-45]', async () => {
    await sandbox.control('PUT', '/settings', { gcp: { configReadable: false } });
    try {
      const id = await active();
      const adapter = sandbox.adapterWith({});
      await expect(adapter.prepareUsage()).rejects.toMatchObject({ code: 'gcp.unauthorised', httpStatus: 403 });
      await expect(item(adapter, id, INT64, 1), 'a guess would be stored for good').rejects.toThrow(/metric_types_unread/);
      for (const unreadMetricType of ['INT64', 'DOUBLE'] as const) {
        const told = sandbox.adapterWith({ unreadMetricType });
        await told.prepareUsage();
        expect((await item(told, id, INT64, 1)).body).toContain(unreadMetricType === 'INT64' ? '"int64Value":"7"' : '"doubleValue":7');
      }
      const listings = [
        { externalOfferId: SERVICE, plans: [{ externalPlanId: 'standard', meters: [{ dimension: INT64 }] }] },
      ] as unknown as NonNullable<NonNullable<Parameters<GcpAdapter['doctor']>[0]>['listings']>;
      const types = async () => (await adapter.doctor({ listings })).find((c) => c.check === 'gcp.metric_types');
      expect(await types()).toMatchObject({ result: 'unknown', remedy: expect.stringContaining('servicemanagement.services.get') });
      await sandbox.control('PUT', '/settings', { gcp: { configReadable: true } });
      expect(await types()).toMatchObject({ result: 'pass', detail: 'standard_mib_hours_stored INT64' });
      listings[0]!.plans[0]!.meters[0]!.dimension = `${SERVICE}/no_such_metric`;
      expect(await types()).toMatchObject({ result: 'fail', detail: expect.stringContaining('no_such_metric') });
    } finally {
      await sandbox.control('PUT', '/settings', { gcp: { configReadable: true } });
    }
  });

  it('says who may not be served, until his billing account is open again [GC-54]', async () => {
    const id = await active();
    const look = async () => sandbox.adapter.checkService({ externalSubscriptionId: id, refs: (await sandbox.truth(id)).refs });
    expect(await look()).toEqual({ serve: true });
    await sandbox.act(id, 'billing-disable');
    expect(await look()).toMatchObject({ serve: false, code: 'gcp.billing_disabled' });
    const usage = await item(sandbox.adapter, id, INT64, 1);
    expect(await sandbox.adapter.submitUsage([usage])).toMatchObject([{ outcome: 'deferred', serviceBlocked: true }]);
    await sandbox.act(id, 'billing-enable');
    expect(await look()).toEqual({ serve: true });
    for (const [code, serve] of [
      ['PROJECT_DELETED', false],
      ['SERVICE_NOT_ACTIVATED', false],
      ['BILLING_STATUS_UNAVAILABLE', 'unknown'],
      ['PERMISSION_DENIED', 'unknown'],
    ]) {
      await sandbox.act(id, 'check-error', { code });
      expect(await look(), String(code)).toMatchObject({ serve });
    }
    await sandbox.act(id, 'cancel-now');
    await sandbox.act(id, 'check-error', { code: null });
    expect(await look(), 'after the end the no of a check is no pause').toMatchObject({
      serve: 'unknown',
      detail: 'the purchase has ended',
    });
  });

  it('tells the usage reporting id late, and until then the purchase is not complete [GC-28]', async () => {
    await sandbox.control('PUT', '/settings', { gcp: { lateUsageReportingIdSeconds: 600 } });
    try {
      const { entitlementId } = await sandbox.buy();
      await sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() });
      const early = await sandbox.truth(entitlementId);
      expect(early).toMatchObject({ state: 'active', incomplete: 'usage' });
      expect(early.refs).not.toHaveProperty('usageReportingId');
      expect((await sandbox.adapter.checkService({ externalSubscriptionId: entitlementId, refs: early.refs })).serve).toBe('unknown');
      await sandbox.advance(660);
      const late = await sandbox.truth(entitlementId);
      expect(late).not.toHaveProperty('incomplete');
      expect(late.refs).toHaveProperty('usageReportingId');
      expect(late.version! > early.version!, 'a newer view').toBe(true);
    } finally {
      await sandbox.control('PUT', '/settings', { gcp: { lateUsageReportingIdSeconds: 0 } });
    }
  });

  it('knows the buyer of a second purchase, and only while his account is approved [GC-12]', async () => {
    const buyer = `Kelp Works ${randomUUID()}`;
    const first = await sandbox.buy({ buyer });
    expect(await sandbox.truth(first.entitlementId)).toMatchObject({ state: 'pending_fulfillment', buyerReady: false });
    await sandbox.adapter.acknowledge(await sandbox.truth(first.entitlementId), { tenantId: randomUUID() });
    const second = await sandbox.buy({ buyer });
    expect(second.accountId).toBe(first.accountId);
    expect(await sandbox.truth(second.entitlementId)).toMatchObject({ state: 'pending_fulfillment', buyerReady: true });
    const { stored } = await sandbox.message(second.entitlementId, 'ENTITLEMENT_CREATION_REQUESTED');
    expect(await sandbox.adapter.normalise(stored)).toMatchObject([{ kind: 'buyer_ready', truth: { buyerReady: true } }]);
    expect(await sandbox.truth(first.entitlementId), 'what is in force asks for nothing').not.toHaveProperty('buyerReady');
  });

  it('loses its account: what was bought is gone with it [GC-38]', async () => {
    const bought = await sandbox.buy();
    await sandbox.adapter.acknowledge(await sandbox.truth(bought.entitlementId), { tenantId: randomUUID() });
    await sandbox.control('POST', `/gcp/accounts/${bought.accountId}/delete`);
    const message = await sandbox.until(() =>
      sandbox.pulled.find((m) => m.naturalKey.includes(`|ACCOUNT_DELETED|`) && m.body.includes(bought.accountId)),
    );
    expect(await sandbox.adapter.normalise(sandbox.stored(message))).toMatchObject([
      { kind: 'data_deletion_due', buyerAccountId: bought.accountId, externalSubscriptionId: '', truth: null },
    ]);
    expect(await sandbox.adapter.readTruth(bought.entitlementId)).toBeNull();
  });
});

describe('a message that takes longer to store than its lease holds', () => {
  let sandbox: GcpSandbox;
  beforeAll(async () => {
    // The least that Pub/Sub takes (contract gcp §3).
    sandbox = await GcpSandbox.start({ ackDeadlineSeconds: 10 }, false);
  });
  afterAll(() => sandbox?.stop());

  it('is delivered once, because its lease is extended [GC-40]', async () => {
    const seen: PulledMessage[] = [];
    let done = 0;
    const pulling = await sandbox.adapter.pull!(async (message) => {
      seen.push(message);
      // Real time: leases are the broker's, and no clock of ours moves them.
      await new Promise((resolve) => setTimeout(resolve, 13_000));
      done += 1;
    });
    await sandbox.publish(Buffer.from('slow'));
    await sandbox.until(() => seen.length > 0);
    const waiting = performance.now();
    while (done === 0 && performance.now() - waiting < 20_000) await new Promise((resolve) => setTimeout(resolve, 50));
    await sandbox.until(async () => (await sandbox.control<{ unacknowledged: number }>('GET', '/gcp/messages')).unacknowledged === 0);
    await pulling.stop();
    expect([seen.length, done]).toEqual([1, 1]);
  }, 45_000);
});
