import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type CostPart, MarketplaceRefusal, type UsageWireItem } from '#marketplaces/core';
import { GcpSandbox, SERVICE } from './support/sandbox-process.js';

const HOUR = 3_600_000;

describe('usage on Google Cloud', () => {
  let sandbox: GcpSandbox;
  beforeAll(async () => {
    sandbox = await GcpSandbox.start();
  });
  afterAll(() => sandbox?.stop());

  const active = async (): Promise<string> => {
    const { entitlementId } = await sandbox.buy();
    await sandbox.acknowledge(await sandbox.truth(entitlementId), randomUUID());
    return entitlementId;
  };
  const item = async (
    entitlementId: string,
    n: number,
    change: { metric?: string; startsAt?: Date; endsAt?: Date; parts?: CostPart[] } = {},
  ): Promise<UsageWireItem> => {
    const hourStart = sandbox.closedHour(entitlementId, n);
    return sandbox.adapter.buildUsageItem({
      itemId: randomUUID(),
      externalSubscriptionId: entitlementId,
      externalPlanId: 'standard',
      dimension: `${SERVICE}/${change.metric ?? 'standard_mib_egress'}`,
      hourStart,
      startsAt: change.startsAt ?? hourStart,
      endsAt: change.endsAt ?? new Date(hourStart.getTime() + HOUR),
      quantity: '7',
      ...(change.parts ? { parts: change.parts } : {}),
      refs: (await sandbox.truth(entitlementId)).refs,
    });
  };

  it('waits while the check says no, and goes out afterwards [GC-47]', async () => {
    const id = await active();
    const [one, other] = [await item(id, 1), await item(await active(), 1)];
    for (const [code, wanted] of [
      ['BILLING_DISABLED', 'gcp.billing_disabled'],
      ['SERVICE_NOT_ACTIVATED', 'gcp.service_not_activated'],
      ['SERVICE_STATUS_UNAVAILABLE', 'gcp.service_status_unavailable'],
    ]) {
      await sandbox.act(id, 'check-error', { code });
      expect(await sandbox.adapter.submitUsage([one])).toMatchObject([{ itemId: one.itemId, outcome: 'deferred', code: wanted }]);
    }
    const both = await sandbox.adapter.submitUsage([one, other]);
    expect(
      both.find((o) => o.itemId === other.itemId),
      'a blocked buyer holds up no other',
    ).toMatchObject({ outcome: 'accepted' });
    await sandbox.act(id, 'check-error', { code: null });
    expect(await sandbox.adapter.submitUsage([one])).toMatchObject([{ outcome: 'accepted', receipt: one.wireKey, acceptedQuantity: '7' }]);
    expect(await sandbox.billed(id)).toHaveLength(1);
  });

  it('that an answer of 200 refuses is not accepted [GC-48]', async () => {
    const id = await active();
    const [good, bad] = [await item(id, 1), await item(id, 1, { metric: 'premium_mib_egress' })];
    expect(await sandbox.adapter.submitUsage([bad, good])).toMatchObject([
      { itemId: bad.itemId, outcome: 'rejected', code: 'gcp.invalid_argument' },
      { itemId: good.itemId, outcome: 'accepted' },
    ]);
    await sandbox.act(id, 'report-errors', { times: 1 });
    const next = await item(id, 2);
    expect(await sandbox.adapter.submitUsage([next])).toMatchObject([{ outcome: 'deferred', code: 'gcp.internal' }]);
    expect(await sandbox.adapter.submitUsage([next])).toMatchObject([{ outcome: 'accepted' }]);
    expect((await sandbox.billed(id)).map((b) => b.dimension)).toEqual([good, next].map(() => `${SERVICE}/standard_mib_egress`));
  });

  it('that is split by labels is taken part by part, once, also when some parts are asked again', async () => {
    const id = await active();
    const parts: CostPart[] = [
      { labels: { team: 'tide', 'cloudmarketplace.googleapis.com/container_name': 'a'.repeat(63) }, quantity: '4' },
      { labels: { team: 'other' }, quantity: '3' },
    ];
    const split = await item(id, 1, { parts });
    await sandbox.act(id, 'report-errors', { times: 1 });
    expect(await sandbox.adapter.submitUsage([split])).toMatchObject([{ outcome: 'deferred', code: 'gcp.internal' }]);
    expect((await sandbox.billed(id)).map((b) => b.quantity)).toEqual(['3']);
    for (let times = 0; times < 2; times++)
      expect(await sandbox.adapter.submitUsage([split])).toMatchObject([
        { outcome: 'accepted', acceptedQuantity: '7', receipt: split.wireKey },
      ]);
    expect((await sandbox.billed(id)).map((b) => b.quantity).sort()).toEqual(['3', '4']);
    // The whole once more, under another id: that window is taken.
    expect(await sandbox.adapter.submitUsage([await item(id, 1)])).toMatchObject([{ outcome: 'rejected' }]);
  });

  it('of a request that is refused as a whole is left to be halved [GC-49]', async () => {
    const id = await active();
    const [one, known] = [await item(id, 1), await item(id, 1, { metric: 'standard_mib_hours_stored' })];
    // Of a metric that the live configuration lacks nothing is built; this one was withdrawn since.
    const two = { ...known, body: known.body.replace('standard_mib_hours_stored', 'no_such_metric') };
    const twice: UsageWireItem = { ...one, body: one.body.replace('"metricValueSets":[', '"metricValueSets":[{"metricName":"x"},') };
    await expect(sandbox.adapter.submitUsage([twice, two])).rejects.toMatchObject({ code: 'gcp.batch_refused', httpStatus: 400 });
    expect(await sandbox.adapter.submitUsage([one])).toMatchObject([{ outcome: 'accepted' }]);
  });

  it('is unknown after a failure of the server, and busy where nothing was reported [GC-50]', async () => {
    const id = await active();
    const one = await item(id, 1);
    await sandbox.fault('report', 'status', { status: 500 });
    expect(await sandbox.adapter.submitUsage([one])).toMatchObject([{ outcome: 'unknown' }]);
    for (const fault of ['check', 'report']) {
      await sandbox.fault(fault, 'status', { status: 503 });
      await expect(sandbox.adapter.submitUsage([one]), fault).rejects.toMatchObject({ outcome: 'refused', name: 'Error' });
    }
    expect(await sandbox.billed(id)).toEqual([]);
    await sandbox.fault('check', 'status', { status: 403 });
    await expect(sandbox.adapter.submitUsage([one])).rejects.toBeInstanceOf(MarketplaceRefusal);
    expect(await sandbox.adapter.submitUsage([one])).toMatchObject([{ outcome: 'accepted' }]);
  });

  it('from before the cancellation is taken after it, whether the item was built before or after [GC-51]', async () => {
    for (const built of ['before', 'after']) {
      const id = await active();
      const early = await item(id, 1);
      await sandbox.act(id, 'cancel-now');
      const [ended] = await sandbox.adapter.normalise((await sandbox.message(id, 'ENTITLEMENT_CANCELLED')).stored);
      // Up to the very end.
      const late = await item(id, 0, {
        metric: 'standard_mib_hours_stored',
        startsAt: new Date(ended!.effectiveAt!.getTime() - 600_000),
        endsAt: ended!.effectiveAt!,
      });
      expect(late.route['ended']).toBe('true');
      const sent = built === 'before' ? early : late;
      expect(await sandbox.adapter.submitUsage([sent]), built).toMatchObject([{ outcome: 'accepted' }]);
      await sandbox.advance(3_700);
      const missed = await item(id, 2);
      expect(await sandbox.adapter.submitUsage([missed]), 'an hour later it is too late').toMatchObject([
        { outcome: 'deferred', code: 'gcp.not_found' },
      ]);
    }
  });

  it('cannot be built while the reporting id is missing, and can once it comes [GC-30]', async () => {
    await sandbox.control('PUT', '/settings', { gcp: { lateUsageReportingIdSeconds: 600 } });
    const { entitlementId } = await sandbox.buy();
    await sandbox.adapter.acknowledge(await sandbox.truth(entitlementId), { tenantId: randomUUID() });
    const build = async () =>
      sandbox.adapter.buildUsageItem({
        itemId: 'i',
        externalSubscriptionId: entitlementId,
        externalPlanId: 'standard',
        dimension: `${SERVICE}/standard_mib_egress`,
        hourStart: new Date(0),
        startsAt: new Date(0),
        endsAt: new Date(1),
        quantity: '1',
        refs: (await sandbox.truth(entitlementId)).refs,
      });
    await expect(build()).rejects.toMatchObject({ code: 'gcp.usage_reporting_id_missing' });
    await sandbox.advance(700);
    expect((await build()).route['consumerId']).toMatch(/^project_number:/);
  });
});
