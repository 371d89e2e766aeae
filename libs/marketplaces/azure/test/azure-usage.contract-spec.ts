import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { sumDecimals } from '#platform';
import { MarketplaceRefusal, type UsageItemOutcome } from '#marketplaces/core';
import { AzureSandbox } from './support/sandbox-process.js';

const HOUR = 3_600_000;

describe('azure usage against the sandbox', () => {
  let sandbox: AzureSandbox;
  beforeAll(async () => {
    sandbox = await AzureSandbox.start({ reconDelaySeconds: 3_600 });
  });
  afterAll(() => sandbox?.stop());

  const active = async (): Promise<string> => {
    const { subscriptionId } = await sandbox.buy();
    await sandbox.adapter.acknowledge((await sandbox.adapter.readTruth(subscriptionId))!, { tenantId: randomUUID() });
    return subscriptionId;
  };
  const hour = (n: number): Date => new Date(Math.floor(sandbox.clock.now().getTime() / HOUR) * HOUR - n * HOUR);
  const send = async (
    id: string,
    change: { n?: number; dimension?: string; plan?: string; quantity?: string } = {},
  ): Promise<UsageItemOutcome> => {
    const hourStart = hour(change.n ?? 1);
    const item = sandbox.adapter.buildUsageItem({
      itemId: randomUUID(),
      externalSubscriptionId: id,
      externalPlanId: change.plan ?? 'standard',
      dimension: change.dimension ?? 'gib_hours_stored',
      hourStart,
      startsAt: hourStart,
      endsAt: new Date(hourStart.getTime() + HOUR),
      quantity: change.quantity ?? '5',
      refs: {},
    });
    return (await sandbox.adapter.submitUsage([item]))[0]!;
  };

  it('keeps digits that no float holds', async () => {
    const id = await active();
    const quantity = '123456789012345678.123456';
    expect(await send(id, { quantity })).toMatchObject({ outcome: 'accepted', acceptedQuantity: quantity });
    expect((await sandbox.billed(id)).items).toMatchObject([{ quantity }]);
    const [line] = await sandbox.adapter.readBack({ from: hour(1), to: sandbox.clock.now(), externalSubscriptionId: id });
    expect(line).toMatchObject({ quantity, provisional: true, count: 1 });
  });

  it('reads back each day by itself [AZ-40]', async () => {
    const id = await active();
    await send(id, { quantity: '1.5' });
    const from = hour(1);
    await sandbox.advance(48 * 3_600);
    await send(id, { quantity: '2' });
    await send(id, { quantity: '4', n: 2 });
    const lines = await sandbox.adapter.readBack({ from, to: sandbox.clock.now(), externalSubscriptionId: id });
    expect(lines.every((l) => l.periodEnd.getTime() - l.periodStart.getTime() === 24 * HOUR)).toBe(true);
    expect(new Set(lines.map((l) => l.periodStart.toISOString())).size).toBe(lines.length);
    expect(sumDecimals(lines.map((l) => l.quantity))).toBe('7.5');
    expect(lines.reduce((n, l) => n + (l.count ?? 0), 0)).toBe(3);
    expect(lines.find((l) => l.periodStart.getTime() <= from.getTime() && l.periodEnd.getTime() > from.getTime())).toMatchObject({
      provisional: false,
    });
  });

  it('names what the marketplace will never take', async () => {
    const id = await active();
    expect(await send(id, { dimension: 'nonsense' })).toMatchObject({ outcome: 'rejected', code: 'azure.invalid_dimension' });
    expect(await send(randomUUID())).toMatchObject({ outcome: 'rejected', code: 'azure.resource_not_found' });
    expect(await send(id, { plan: 'premium' })).toMatchObject({ outcome: 'rejected', code: 'azure.bad_argument' });
    expect(await send(id, { n: 25 })).toMatchObject({ outcome: 'expired' });
  });

  it('is held while suspended, and taken for the time before the end [AZ-39]', async () => {
    const id = await active();
    await sandbox.act(id, 'suspend');
    expect(await send(id)).toMatchObject({ outcome: 'deferred', code: 'azure.resource_not_active' });
    await sandbox.act(id, 'unsubscribe');
    expect(await send(id)).toMatchObject({ outcome: 'accepted' });
  });

  it('is in conflict where the hour went out under another plan', async () => {
    const id = await active();
    await send(id, { quantity: '3' });
    expect(await send(id, { quantity: '3.000' })).toMatchObject({ outcome: 'duplicate_equal' });
    const { change, truth } = (await sandbox.adapter.normalise((await sandbox.act(id, 'change-plan', { planId: 'premium' })).stored))[0]!;
    await sandbox.adapter.answerChange(truth!, change!, { accept: true });
    expect(await send(id, { plan: 'premium', quantity: '3' })).toMatchObject({ outcome: 'duplicate_conflict', acceptedQuantity: '3' });
  });

  it('refused as a whole is a refusal, so that the submitter can halve it [AZ-41]', async () => {
    const id = await active();
    const start = hour(1);
    const item = sandbox.adapter.buildUsageItem({
      itemId: randomUUID(),
      externalSubscriptionId: id,
      externalPlanId: 'standard',
      dimension: 'mib_egress',
      hourStart: start,
      startsAt: start,
      endsAt: start,
      quantity: '1',
      refs: {},
    });
    await expect(sandbox.adapter.submitUsage(Array(26).fill(item))).rejects.toBeInstanceOf(MarketplaceRefusal);
    await sandbox.fault('batchUsageEvent', 'status', { status: 400 });
    await expect(sandbox.adapter.submitUsage([item])).rejects.toMatchObject({ code: 'azure.batch_refused' });
    await sandbox.fault('batchUsageEvent', 'status', { status: 500 });
    expect(await sandbox.adapter.submitUsage([item])).toMatchObject([{ outcome: 'unknown' }]);
    await sandbox.fault('batchUsageEvent', 'status', { status: 403 });
    await expect(sandbox.adapter.submitUsage([item])).rejects.toMatchObject({ code: 'azure.unauthorised' });
  });
});
