import { GetAgreementTermsCommand, MarketplaceAgreementClient } from '@aws-sdk/client-marketplace-agreement';
import { decodeJwt } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsBench, nameOf } from './support/aws.js';
import { type GcpWire, METRIC, startGcp } from './support/gcp-harness.js';
import { type Answer, eventually, HOUR, type Running, startSandbox } from './support/harness.js';
import { Receiver } from './support/receiver.js';

// Where the sources of a contract disagree, a setting chooses; each reading is played here.
describe('contested rules of Azure', () => {
  let sandbox: Running;
  const receiver = new Receiver();
  beforeAll(async () => {
    sandbox = await startSandbox();
    await sandbox.settings({ webhookUrl: await receiver.start() });
  });
  afterAll(async () => {
    await sandbox.stop();
    await receiver.stop();
  });
  async function changing(): Promise<{ id: string; operationId: string }> {
    const id = await sandbox.subscribed();
    const { operationId } = (await sandbox.act(id, 'change-plan', { planId: 'premium' })).json;
    await eventually(async () => (await sandbox.view(id)).webhooks[0]?.attempts.length > 0);
    return { id, operationId };
  }
  const statusOf = async (id: string): Promise<[string, string]> => {
    const { planId, operations } = await sandbox.view(id);
    return [planId, operations[0].status];
  };

  it.each([
    ['refuses', 'standard', 'Failed'],
    ['ignored', 'premium', 'Succeeded'],
  ])('PATCH Failure %s (azure §4, "Rejecting")', async (patchFailure, plan, status) => {
    await sandbox.settings({ patchFailure });
    const { id, operationId } = await changing();
    const answer = await sandbox.api(`/saas/subscriptions/${id}/operations/${operationId}`, {
      method: 'PATCH',
      body: { status: 'Failure' },
    });
    expect(answer.status).toBe(200);
    await sandbox.advance(30);
    expect(await statusOf(id)).toEqual([plan, status]);
    await sandbox.settings({ patchFailure: 'refuses' });
  });

  it.each([
    ['accepts', 'premium', 'Succeeded'],
    ['fails', 'standard', 'Failed'],
  ])('silence %s (azure §4, azure-docs#83057)', async (silence, plan, status) => {
    await sandbox.settings({ silence });
    const { id } = await changing();
    await sandbox.advance(30);
    expect(await statusOf(id)).toEqual([plan, status]);
    await sandbox.settings({ silence: 'accepts' });
  });

  it.each([
    ['dimension', [200, 200]],
    ['resource', [200, 409]],
  ])('one event of an hour per %s (azure §6, rules)', async (usageKey, statuses) => {
    await sandbox.settings({ usageKey });
    const id = await sandbox.subscribed();
    const hour = (await sandbox.now()) - HOUR;
    const sent: number[] = [];
    for (const dimension of ['gib_hours_stored', 'mib_egress'])
      sent.push((await sandbox.api('/usageEvent', { body: sandbox.usage(id, hour, { dimension }) })).status);
    expect(sent).toEqual(statuses);
    await sandbox.settings({ usageKey: 'dimension' });
  });

  it.each([
    ['v1', 'appid'],
    ['v2', 'azp'],
  ])('webhook tokens are %s only (azure §4, JWT validation)', async (webhookTokenVersion, claim) => {
    await sandbox.settings({ webhookTokenVersion });
    const before = receiver.received.length;
    for (let n = 0; n < 2; n += 1) await changing();
    const claims = receiver.received.slice(before).map((one) => decodeJwt((one.headers.authorization ?? '').replace('Bearer ', '')));
    expect(claims.length).toBeGreaterThanOrEqual(2);
    expect(claims.every((one) => claim in one)).toBe(true);
    await sandbox.settings({ webhookTokenVersion: 'alternate' });
  });
});

describe('contested rules of AWS', () => {
  let bench: AwsBench;
  beforeAll(async () => {
    bench = await AwsBench.start();
  });
  afterAll(() => bench.stop());

  it.each(['InvalidTagException', 'TooManyTagsException'])('more than five tags are %s (aws §12)', async (tooManyTags) => {
    await bench.settings({ tooManyTags });
    const bought = await bench.buy();
    const Tags = Array.from({ length: 6 }, (_, index) => ({ Key: `k${index}`, Value: 'v' }));
    const six = await bench.record(bought, 2, { UsageAllocations: [{ AllocatedUsageQuantity: 5, Tags }] });
    expect(await nameOf(bench.meter([six]))).toBe(tooManyTags);
    const odd = await bench.record(bought, 2, { UsageAllocations: [{ AllocatedUsageQuantity: 5, Tags: [{ Key: 'unit', Value: 'a#b' }] }] });
    expect(await nameOf(bench.meter([odd])), 'a tag that is wrong in itself').toBe('InvalidTagException');
    expect(await bench.billed(bought)).toEqual([]);
    await bench.settings({ tooManyTags: 'InvalidTagException' });
  });

  it.each([
    ['7-90', [7, 90], [6, 91]],
    ['5-31', [5, 31], [4, 32]],
  ])('a trial lasts %s days (aws §3, §12)', async (trialDays, sold, refused) => {
    await bench.settings({ trialDays });
    for (const days of sold) {
      const bought = await bench.buy({ freeTrial: { days } });
      const client = new MarketplaceAgreementClient({
        region: 'us-east-1',
        endpoint: `${bench.sandbox.url}/aws/agreement`,
        credentials: { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' },
      });
      const { acceptedTerms } = await client.send(new GetAgreementTermsCommand({ agreementId: bought.agreementId }));
      expect(acceptedTerms?.find((one) => one.freeTrialPricingTerm)?.freeTrialPricingTerm?.duration).toBe(`P${days}D`);
      expect(bought.registration.fields['x-amzn-marketplace-offer-type']).toBe('free-trial');
    }
    for (const days of refused) {
      const answer: Answer = await bench.sandbox.control('/aws/purchases', { body: { freeTrial: { days } } });
      expect([answer.status, answer.json.code]).toEqual([400, 'trial.length']);
    }
    await bench.settings({ trialDays: '7-90' });
  });

  it.each([
    ['first', 'ended_first', false],
    ['ended', 'ended_first', false],
    ['deprovisioned', 'ended_first', true],
    ['first', 'deprovisioned_first', false],
    ['ended', 'deprovisioned_first', true],
    ['deprovisioned', 'deprovisioned_first', false],
  ])('the final hour opens with %s, told %s (aws §4.3)', async (finalHourOpens, order, isStillOpen) => {
    await bench.settings({ finalHourOpens, endGapSeconds: 1800 });
    const bought = await bench.buy();
    await bench.act(bought.agreementId, 'cancel', { order });
    const { endedAt, deprovisionedAt, finalWindowClosesAt } = await bench.view(bought.agreementId);
    const [first, second] = [endedAt, deprovisionedAt].map((one: string) => Date.parse(one)).sort((a, b) => a - b) as [number, number];
    expect(Date.parse(finalWindowClosesAt)).toBe((isStillOpen ? second : first) + HOUR);
    // One hour and a quarter after the first of the two events.
    await bench.sandbox.advance(4500);
    const answer = await bench.meter([await bench.record(bought, 3)]);
    expect(answer.Results?.[0]?.Status).toBe(isStillOpen ? 'Success' : 'CustomerNotSubscribed');
    await bench.settings({ finalHourOpens: 'first', endGapSeconds: 5 });
  });

  it.each([
    ['hour', 'Success'],
    ['instant', 'InvalidLicenseException'],
  ])('the hour in which a licence starts may be stamped HH:00 (%s; aws §5.2)', async (licenceWindow, outcome) => {
    await bench.settings({ licenceWindow });
    const hour = Math.floor((await bench.sandbox.now()) / HOUR) - 3;
    const bought = await bench.buy({ startsAt: new Date(hour * HOUR + 60_000).toISOString() });
    const sent = bench.meter([{ ...(await bench.record(bought, 3)), Timestamp: new Date(hour * HOUR) }]);
    const got = outcome === 'Success' ? (await sent).Results?.[0]?.Status : await nameOf(sent);
    expect(got).toBe(outcome);
    await bench.settings({ licenceWindow: 'hour' });
  });
});

describe('contested rules of Google', () => {
  let gcp: GcpWire & { stop(): Promise<void> };
  beforeAll(async () => {
    gcp = await startGcp();
  });
  afterAll(() => gcp.stop());
  const refused = (answer: Answer): boolean => answer.status !== 200 || (answer.json.reportErrors ?? []).length > 0;

  it.each([
    ['required', true],
    ['lenient', false],
  ])('a report without a check before it (checkFirst %s; gcp §4)', async (checkFirst, isRefused) => {
    await gcp.settings({ checkFirst });
    const { consumerId } = await gcp.active();
    await gcp.running.advance(2 * 3600);
    const operation = gcp.operation(consumerId, ...(await gcp.lastHour()));
    expect(refused(await gcp.service('report', { operations: [operation] }))).toBe(isRefused);
    await gcp.settings({ checkFirst: 'required' });
  });

  it.each([
    ['allowed', false],
    ['refused', true],
  ])('a window that leaves time out (gaps %s; gcp §4, contiguous)', async (gaps, isRefused) => {
    await gcp.settings({ gaps });
    const { consumerId } = await gcp.active();
    await gcp.running.advance(5 * 3600);
    const [start, end] = await gcp.lastHour();
    const first = await gcp.checkAndReport(gcp.operation(consumerId, start - 2 * HOUR, end - 2 * HOUR));
    expect(refused(first), `${METRIC}: ${first.text}`).toBe(false);
    expect(refused(await gcp.checkAndReport(gcp.operation(consumerId, start, end)))).toBe(isRefused);
    await gcp.settings({ gaps: 'allowed' });
  });

  it.each([
    [true, 1],
    [false, 2],
  ])('the messages of a purchase share their event id: %s (gcp §3, Delivery)', async (sharedEventId, distinct) => {
    await gcp.settings({ sharedEventId });
    const { entitlementId } = await gcp.buy();
    const ids = (await gcp.messages(entitlementId)).map((one) => one.body.eventId as string);
    expect([ids.length, new Set(ids).size]).toEqual([2, distinct]);
    await gcp.settings({ sharedEventId: true });
  });

  it.each([
    [true, ['ENTITLEMENT_CANCELLING', 'ENTITLEMENT_CANCELLED']],
    [false, ['ENTITLEMENT_ACTIVE', 'ENTITLEMENT_CANCELLED']],
  ])('a cancellation is announced first: %s (gcp §3, table)', async (sendCancelling, last) => {
    await gcp.settings({ sendCancelling });
    const { entitlementId } = await gcp.active();
    await gcp.act(entitlementId, 'cancel-now');
    expect((await gcp.messages(entitlementId)).map((one) => one.eventType as string).slice(-2)).toEqual(last);
    await gcp.settings({ sendCancelling: false });
  });
});
