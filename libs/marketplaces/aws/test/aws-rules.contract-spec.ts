import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { COST_SPLIT_LIMITS, type CostPart, MarketplaceBusy, MarketplaceRefusal, type UsageWireItem } from '#marketplaces/core';
import { createLogger } from '#platform';
import { type AwsRefs, TOKEN_FIELD } from '../src/index.js';
import { Purchases } from './support/purchases.js';
import { AwsSandbox, type Bought } from './support/sandbox-process.js';

const HOUR = 3_600_000;

describe('aws rules against the sandbox', () => {
  let sandbox: AwsSandbox;
  beforeAll(async () => {
    sandbox = await AwsSandbox.start();
  });
  afterAll(() => sandbox?.stop());
  beforeEach(async () => {
    await sandbox.control('DELETE', '/faults');
  });

  const purchases = async (bought: Bought, ...types: string[]): Promise<Purchases> => {
    const kept = new Purchases(sandbox.adapter);
    const resolution = await sandbox.adapter.resolveLanding(bought.registration.fields);
    if (!resolution.ok) throw new Error(resolution.code);
    for (const type of types)
      for (const event of await sandbox.adapter.normalise((await sandbox.told(bought.agreementId, type)).stored)) kept.apply(event);
    kept.apply({
      kind: 'purchased',
      marketplace: 'aws',
      externalSubscriptionId: bought.licenseId,
      occurredAt: sandbox.clock.now(),
      truth: resolution.truth,
      note: 'landing',
    });
    await kept.serve(bought.licenseId);
    return kept;
  };
  const bought = async (): Promise<{ one: Bought; refs: AwsRefs }> => {
    const one = await sandbox.buy();
    const kept = await purchases(one, 'License Updated');
    return { one, refs: kept.truths.get(one.licenseId)!.refs as AwsRefs };
  };
  const item = (
    { one, refs }: { one: Bought; refs: AwsRefs },
    hoursAgo: number,
    quantity = '3',
    over: Partial<{ dimension: string; refs: AwsRefs; parts: CostPart[] }> = {},
  ): UsageWireItem => {
    const hourStart = new Date(Math.floor(sandbox.clock.now().getTime() / HOUR - hoursAgo) * HOUR);
    return sandbox.adapter.buildUsageItem({
      itemId: randomUUID(),
      externalSubscriptionId: one.licenseId,
      externalPlanId: 'standard',
      dimension: 'mib_egress',
      hourStart,
      startsAt: hourStart,
      endsAt: new Date(hourStart.getTime() + HOUR),
      quantity,
      refs,
      ...over,
    });
  };

  it('usage that is too old by the older look-back is told as such, and the younger goes on [AW-87]', async () => {
    const purchase = await bought();
    await sandbox.control('PUT', '/settings', { aws: { lookBackHours: 6 } });
    const old = item(purchase, 8);
    // Of the whole batch: it is halved until the old one stands alone.
    await expect(sandbox.adapter.submitUsage([old, item(purchase, 3)])).rejects.toMatchObject({ code: 'aws.timestamp_out_of_bounds' });
    expect(await sandbox.adapter.submitUsage([item(purchase, 3)])).toMatchObject([{ outcome: 'accepted' }]);
    await sandbox.control('PUT', '/settings', { aws: { lookBackHours: 24 } });
    expect(await sandbox.adapter.submitUsage([old])).toMatchObject([{ outcome: 'accepted' }]);
  });

  it('allocations are taken up to every limit, with the longest tags, and the same split again is the same record', async () => {
    const purchase = await bought();
    const { parts: most } = COST_SPLIT_LIMITS.aws!;
    const letters = 'aZ09+ -=._:/@';
    const parts = Array.from({ length: most }, (_, i) => ({
      labels:
        i === 0
          ? Object.fromEntries([1, 2, 3, 4, 5].map((n) => [`${'k'.repeat(99)}${n}`, letters.padEnd(256, 'v')]))
          : { Department: `d${i}` },
      quantity: '2',
    }));
    const split = item(purchase, 2, String(2 * most), { parts });
    for (let times = 0; times < 2; times++) expect(await sandbox.adapter.submitUsage([split])).toMatchObject([{ outcome: 'accepted' }]);
    expect(await sandbox.billed(purchase.one.licenseId)).toMatchObject([{ quantity: String(2 * most) }]);
    // Not ours to send, so it is forged: the sandbox is as strict as the service.
    const forged = { ...split, body: split.body.replace('"AllocatedUsageQuantity":2', '"AllocatedUsageQuantity":3') };
    await expect(sandbox.adapter.submitUsage([forged])).rejects.toMatchObject({ code: 'aws.invalid_usage_allocations' });
  });

  it('usage of the hour in which the licence starts is billed under the strict reading too [AW-130]', async () => {
    await sandbox.control('PUT', '/settings', { aws: { licenceWindow: 'instant' } });
    const startsAt = new Date(Math.floor(sandbox.clock.now().getTime() / HOUR - 2) * HOUR + 20 * 60_000);
    const one = await sandbox.buy({ startsAt: startsAt.toISOString() });
    const refs = (await purchases(one, 'License Updated')).truths.get(one.licenseId)!.refs as AwsRefs;
    const first = (licenceWindow: 'hour' | 'instant') => {
      const hourStart = new Date(startsAt.getTime() - 20 * 60_000);
      const hour = { hourStart, startsAt, endsAt: new Date(hourStart.getTime() + HOUR), externalPlanId: 'standard', refs };
      const whose = { itemId: randomUUID(), externalSubscriptionId: one.licenseId, dimension: 'mib_egress', quantity: '3' };
      return sandbox.adapterWith({ licenceWindow }).buildUsageItem({ ...whose, ...hour });
    };
    try {
      await expect(sandbox.adapter.submitUsage([first('hour')])).rejects.toMatchObject({ code: 'aws.invalid_license' });
      const item = first('instant');
      for (let times = 0; times < 2; times++) expect(await sandbox.adapter.submitUsage([item])).toMatchObject([{ outcome: 'accepted' }]);
      expect(await sandbox.billed(one.licenseId)).toHaveLength(1);
    } finally {
      await sandbox.control('PUT', '/settings', { aws: { licenceWindow: 'hour' } });
    }
    expect(await sandbox.adapter.submitUsage([first('hour')])).toMatchObject([{ outcome: 'duplicate_conflict' }]);
  });

  describe('a landing', () => {
    it('before the licence and after it leads to the same [AW-06]', async () => {
      const first = await sandbox.buy({ order: 'landing_first' });
      const kept = new Purchases(sandbox.adapter);
      const resolution = await sandbox.adapter.resolveLanding(first.registration.fields);
      expect(resolution).toMatchObject({
        ok: true,
        buyerAccountId: first.accountId,
        truth: { externalSubscriptionId: first.licenseId, state: 'pending_fulfillment', refs: { licenseArn: first.licenseArn } },
      });
      if (!resolution.ok) return;
      kept.apply({
        kind: 'purchased',
        marketplace: 'aws',
        externalSubscriptionId: first.licenseId,
        occurredAt: sandbox.clock.now(),
        truth: resolution.truth,
        note: 'landing',
      });
      for (const type of ['Purchase Agreement Created', 'License Updated'])
        for (const event of await sandbox.adapter.normalise((await sandbox.told(first.agreementId, type)).stored)) kept.apply(event);
      await kept.serve(first.licenseId);
      expect(kept.truths.get(first.licenseId)).toMatchObject({ state: 'active', term: { startsAt: expect.any(Date) as Date } });

      const second = await sandbox.buy();
      expect((await purchases(second, 'Purchase Agreement Created', 'License Updated')).truths.get(second.licenseId)).toMatchObject({
        state: 'active',
      });
    });

    it('says why it does not lead on [AW-07]', async () => {
      const { registration } = await sandbox.buy();
      const token = registration.fields[TOKEN_FIELD]!;
      expect(await sandbox.adapter.resolveLanding({ [TOKEN_FIELD]: 'bm90LWEtdG9rZW4' })).toMatchObject({ code: 'landing.token_invalid' });
      expect(await sandbox.adapter.resolveLanding({ [TOKEN_FIELD]: 'with\nlines' })).toMatchObject({ code: 'landing.token_invalid' });
      const other = await sandbox.buy({ productCode: '4harborother0000000000000' });
      expect(await sandbox.adapter.resolveLanding(other.registration.fields)).toMatchObject({ code: 'landing.not_for_us' });
      for (const kind of ['throttle', 'status', 'drop_before']) {
        await sandbox.fault('resolveCustomer', kind);
        expect(await sandbox.adapter.resolveLanding({ [TOKEN_FIELD]: token }), kind).toMatchObject({ code: 'landing.unavailable' });
      }
      const wrong = sandbox.adapterWith({ credentials: { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'wrong' } });
      expect(await wrong.resolveLanding({ [TOKEN_FIELD]: token })).toMatchObject({ code: 'landing.unavailable' });
      await sandbox.advance(4 * 3_600 + 1);
      expect(await sandbox.adapter.resolveLanding({ [TOKEN_FIELD]: token })).toMatchObject({ code: 'landing.token_expired' });
    });

    it('takes nothing from the fields that anybody may write [AW-08]', async () => {
      const { registration, licenseId } = await sandbox.buy();
      const answer = await sandbox.adapter.resolveLanding({
        ...registration.fields,
        'x-amzn-marketplace-agreement-id': 'agmt-someone-elses',
        'x-amzn-marketplace-offer-type': 'free-trial',
      });
      expect(answer).toMatchObject({ ok: true, truth: { externalSubscriptionId: licenseId, aliases: [], isFreeTrial: false } });
    });
  });

  describe('an end', () => {
    for (const order of ['ended_first', 'deprovisioned_first']) {
      it(`is one, and final usage is still taken (${order})`, async () => {
        const one = await sandbox.buy();
        const kept = await purchases(one, 'License Updated');
        await sandbox.act(one.agreementId, 'cancel', { order });
        await sandbox.advance(60);
        for (const type of ['License Deprovisioned', 'Purchase Agreement Ended'])
          for (const event of await sandbox.adapter.normalise((await sandbox.told(one.agreementId, type)).stored)) kept.apply(event);
        const truth = kept.truths.get(one.licenseId)!;
        expect(truth.state).toBe('ended');
        expect(await sandbox.adapter.submitUsage([item({ one, refs: truth.refs as AwsRefs }, 1)])).toMatchObject([{ outcome: 'accepted' }]);
        await sandbox.advance(3_700);
        expect(await sandbox.adapter.submitUsage([item({ one, refs: truth.refs as AwsRefs }, 3)])).toMatchObject([
          { outcome: 'rejected', code: 'aws.customer_not_subscribed' },
        ]);
      });
    }

    it('is none by a renewal, which is a purchase of its own that tells what it follows', async () => {
      const one = await sandbox.buy();
      const kept = await purchases(one, 'License Updated');
      const next = (await sandbox.act(one.agreementId, 'renew')) as Bought;
      for (const event of await sandbox.adapter.normalise((await sandbox.told(one.agreementId, 'Purchase Agreement Ended')).stored))
        kept.apply(event);
      for (const type of ['Purchase Agreement Created', 'License Updated'])
        for (const event of await sandbox.adapter.normalise((await sandbox.told(next.agreementId, type)).stored)) kept.apply(event);
      expect(kept.truths.get(one.licenseId)).toMatchObject({ state: 'active', refs: { superseded: { value: 'RENEWED' } } });
      expect(kept.truths.get(next.licenseId)).toMatchObject({
        state: 'pending_fulfillment',
        refs: { previousAgreementId: one.agreementId },
      });
    });
  });

  describe('usage', () => {
    it('left unprocessed is deferred, the rest is accepted [AW-33]', async () => {
      const buyer = await bought();
      await sandbox.fault('batchMeterUsage', 'unprocessed', { records: 1 });
      const items = [item(buyer, 1), item(buyer, 2), item(buyer, 3)];
      expect((await sandbox.adapter.submitUsage(items)).map((o) => o.outcome).sort()).toEqual(['accepted', 'accepted', 'deferred']);
      expect((await sandbox.adapter.submitUsage(items)).map((o) => o.outcome)).toEqual(['accepted', 'accepted', 'accepted']);
    });

    it('with one bad record is refused as a whole, with nothing metered [AW-33]', async () => {
      const buyer = await bought();
      const good = item(buyer, 1);
      const bad = {
        'aws.timestamp_out_of_bounds': item(buyer, 30),
        'aws.invalid_usage_dimension': item(buyer, 1, '1', { dimension: 'nobody_knows' }),
      };
      for (const [code, one] of Object.entries(bad))
        await expect(sandbox.adapter.submitUsage([good, one]), code).rejects.toMatchObject({ code, httpStatus: 400 });
      expect(await sandbox.billed(buyer.one.licenseId)).toEqual([]);
      expect(await sandbox.adapter.submitUsage([good])).toMatchObject([{ outcome: 'accepted' }]);
    });

    it('waits while its licence activates [AW-32]', async () => {
      const one = await sandbox.buy({
        order: 'landing_first',
        startsAt: new Date(sandbox.clock.now().getTime() + 24 * HOUR).toISOString(),
      });
      const kept = await purchases(one);
      const refs = kept.truths.get(one.licenseId)!.refs as AwsRefs;
      expect(await sandbox.adapter.submitUsage([item({ one, refs }, 1)])).toMatchObject([
        { outcome: 'deferred', code: 'aws.customer_not_subscribed' },
      ]);
    });

    it('may be a zero, and is unknown after a 500', async () => {
      const buyer = await bought();
      const zero = item(buyer, 1, '0');
      await sandbox.fault('batchMeterUsage', 'status');
      expect(await sandbox.adapter.submitUsage([zero])).toMatchObject([{ outcome: 'unknown' }]);
      expect(await sandbox.adapter.submitUsage([zero])).toMatchObject([{ outcome: 'accepted', acceptedQuantity: '0' }]);
    });

    it('is not tried in a region that it was not made for, nor by a wrong key [AW-29]', async () => {
      const buyer = await bought();
      const elsewhere = sandbox.adapterWith({ region: 'eu-west-1' });
      await expect(elsewhere.submitUsage([item(buyer, 1)])).rejects.toMatchObject({ code: 'aws.region_changed', httpStatus: 403 });
      const wrong = sandbox.adapterWith({ credentials: { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'wrong' } });
      await expect(wrong.submitUsage([item(buyer, 1)])).rejects.toMatchObject({ httpStatus: 403 });
      await expect(wrong.submitUsage([item(buyer, 1)])).rejects.toBeInstanceOf(MarketplaceRefusal);
      const nobody = sandbox.adapterWith({ endpoint: 'http://127.0.0.1:9' });
      await expect(nobody.submitUsage([item(buyer, 1)])).rejects.toBeInstanceOf(MarketplaceBusy);
      expect(await sandbox.billed(buyer.one.licenseId)).toEqual([]);
    });

    it('is sent once for each call, whatever is answered [AW-34]', async () => {
      const buyer = await bought();
      const calls = async (): Promise<number> =>
        (await sandbox.control<{ items: unknown[] }>('GET', '/calls?marketplace=aws&operation=batchMeterUsage&limit=2000')).items.length;
      const before = await calls();
      await sandbox.fault('batchMeterUsage', 'throttle');
      await expect(sandbox.adapter.submitUsage([item(buyer, 1)])).rejects.toBeInstanceOf(MarketplaceBusy);
      expect((await calls()) - before).toBe(1);
    });
  });

  it('is told by the doctor what is wrong with key and region', async () => {
    const wrong = await sandbox
      .adapterWith({ credentials: { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'not-the-secret' } })
      .doctor();
    expect(wrong.find((c) => c.check === 'aws.metering')).toMatchObject({ result: 'fail', remedy: expect.any(String) as string });
    expect(JSON.stringify(wrong)).not.toContain('not-the-secret');
    expect((await sandbox.adapterWith({ region: 'af-south-1' }).doctor()).find((c) => c.check === 'aws.metering')).toMatchObject({
      result: 'fail',
      remedy: expect.stringContaining('AWS_METERING_REGION') as string,
    });
    expect((await sandbox.adapterWith({ endpoint: 'http://127.0.0.1:9' }).doctor()).find((c) => c.check === 'aws.metering')?.result).toBe(
      'unknown',
    );
  });

  it('logs each call, and no token or secret [AW-36]', async () => {
    const lines: string[] = [];
    const logger = createLogger('aws', 'trace');
    for (const level of ['debug', 'info', 'warn', 'error'] as const)
      logger[level] = ((...given: unknown[]) => lines.push(JSON.stringify(given))) as never;
    const { registration } = await sandbox.buy();
    await sandbox.adapterWith({}, logger).resolveLanding(registration.fields);
    expect(lines.map((l) => (JSON.parse(l) as [{ operation: string }])[0].operation)).toEqual(['resolveCustomer']);
    for (const secret of [registration.fields[TOKEN_FIELD]!, 'sandbox-only-not-a-secret', 'right-secret'])
      expect(lines.join('\n')).not.toContain(secret);
  });
});
