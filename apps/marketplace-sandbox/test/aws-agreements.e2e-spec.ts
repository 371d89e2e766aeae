import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsBench, nameOf, PRODUCT } from './support/aws.js';
import { call, eventually } from './support/harness.js';

let bench: AwsBench;
beforeAll(async () => {
  bench = await AwsBench.start();
});
afterAll(() => bench.stop());

const token = (bought: { registration: { fields: Record<string, string> } }): string =>
  bought.registration.fields['x-amzn-marketplace-token'] ?? '';

describe('registration (contract aws §2)', () => {
  it('resolves to product, buyer account and licence, without an identifier, as often as asked', async () => {
    const bought = await bench.buy();
    expect(bought.registration).toMatchObject({ url: 'http://127.0.0.1:4000/landing/aws', method: 'POST' });
    const answer = await bench.resolve(token(bought));
    expect(answer).toMatchObject({ ProductCode: PRODUCT, CustomerAWSAccountId: bought.accountId, LicenseArn: bought.licenseArn });
    expect(answer.CustomerIdentifier).toBeUndefined();
    expect((await bench.resolve(token(bought))).LicenseArn).toBe(bought.licenseArn);
    const calls = (await bench.sandbox.control('/calls?marketplace=aws&operation=resolveCustomer')).text;
    expect(calls).not.toContain(token(bought).slice(0, 40));
  });

  it('an unknown token is invalid; a used one is expired when tokens are single-use; an old one is expired and a fresh click mends it', async () => {
    const bought = await bench.buy();
    expect(await nameOf(bench.resolve('k7Qe+/=='))).toBe('InvalidTokenException');
    await bench.resolve(token(bought));
    await bench.settings({ tokenReusable: false });
    expect(await nameOf(bench.resolve(token(bought)))).toBe('ExpiredTokenException');
    await bench.settings({ tokenReusable: true });
    await bench.sandbox.advance(4 * 3600);
    expect(await nameOf(bench.resolve(token(bought)))).toBe('ExpiredTokenException');
    const again = await bench.act(bought.agreementId, 'register');
    expect([again.status, (await bench.resolve(token(again.json))).LicenseArn]).toEqual([201, bought.licenseArn]);
  });

  it('landing first: the licence event waits for ResolveCustomer', async () => {
    const bought = await bench.buy({ order: 'landing_first' });
    await bench.received(bought.agreementId, 1);
    await bench.sandbox.advance(60);
    expect(bench.types(bought.agreementId)).toEqual(['Purchase Agreement Created - Proposer']);
    await bench.resolve(token(bought));
    await bench.received(bought.agreementId, 2);
    expect(bench.types(bought.agreementId)[1]).toBe('License Updated - Manufacturer');
  });
});

describe('events (contract aws §4.1)', () => {
  it('a direct offer: Proposer agreement event without product and licence, Manufacturer licence event with both, the secret in a header', async () => {
    const bought = await bench.buy();
    const [created, licensed] = await bench.received(bought.agreementId, 2);
    expect(created?.headers['x-berth-webhook-secret']).toBe('sandbox-eventbridge-secret-0001');
    expect(created?.body).toMatchObject({
      version: '0',
      'detail-type': 'Purchase Agreement Created - Proposer',
      source: 'aws.agreement-marketplace',
      account: '999900001111',
      region: 'us-east-1',
    });
    expect(created?.body.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(created?.body.resources).toEqual([`arn:aws:aws-marketplace::aws:agreement:${bought.agreementId}`]);
    expect(created?.body.detail).toMatchObject({
      agreement: { intent: 'NEW', status: 'ACTIVE' },
      resaleAuthorization: null,
      acceptor: { accountId: bought.accountId },
    });
    expect(Object.keys(created?.body.detail)).not.toContain('product');
    expect(Object.keys(created?.body.detail.agreement)).not.toContain('endTime');
    expect(licensed?.body['detail-type']).toBe('License Updated - Manufacturer');
    expect(licensed?.body.detail).toMatchObject({
      product: { code: PRODUCT, id: 'prod-harborobjectc' },
      license: { arn: `aws:license-manager:us-east-1:294400000000:${bought.licenseId}` },
    });
    expect(licensed?.body.detail.license.arn).not.toBe(bought.licenseArn);
  });

  it('a renewal is a new agreement with a new licence, and the old one ends RENEWED (§0.5)', async () => {
    const bought = await bench.buy();
    const renewed = (await bench.act(bought.agreementId, 'renew')).json;
    expect(renewed.licenseId).not.toBe(bought.licenseId);
    const [created] = await bench.received(renewed.agreementId, 2);
    expect(created?.body.detail.agreement).toMatchObject({ intent: 'RENEW', previousAgreementId: bought.agreementId });
    const old = await bench.received(bought.agreementId, 3);
    expect(old[2]?.body).toMatchObject({
      'detail-type': 'Purchase Agreement Ended - Proposer',
      detail: { agreement: { status: 'RENEWED' } },
    });
    expect(old[2]?.body.detail.agreement.intent).toBeUndefined();
    expect((await bench.view(renewed.agreementId)).initialAgreementId).toBe(bought.agreementId);
  });

  it('a renewal is told in the documented order, and in others when asked (§4.3)', async () => {
    const orderOf = async (order: string): Promise<string[]> => {
      const bought = await bench.buy();
      await bench.received(bought.agreementId, 2);
      const next = (await bench.act(bought.agreementId, 'replace', { order, deprovision: true, namesPrevious: true })).json;
      const told = async (id: string, who: string): Promise<{ at: number; what: string }[]> =>
        (await bench.view(id)).deliveries.map((d: { sequence: number; detailType: string }) => ({
          at: d.sequence,
          what: `${who} ${d.detailType.replace(/ - .*/, '')}`,
        }));
      const all = [...(await told(bought.agreementId, 'old')).slice(2), ...(await told(next.agreementId, 'new'))];
      return all.sort((a, b) => a.at - b.at).map((one) => one.what);
    };
    const [created, licensed] = ['new Purchase Agreement Created', 'new License Updated'];
    const [ended, gone] = ['old Purchase Agreement Ended', 'old License Deprovisioned'];
    expect(await orderOf('documented')).toEqual([created, licensed, ended, gone]);
    expect(await orderOf('licence_first')).toEqual([licensed, ended, gone, created]);
    expect(await orderOf('old_first')).toEqual([ended, gone, created, licensed]);
  });

  it('a renewal with a later start is signed now; on the day it is licensed and the old one ends for it, also where its own time is up (§7)', async () => {
    const now = Date.parse((await bench.sandbox.control('/clock')).json.now as string);
    const day = new Date(now + 24 * 3_600_000).toISOString();
    const bought = await bench.buy({ endsAt: day });
    const next = (await bench.act(bought.agreementId, 'renew', { startsAt: day, deprovision: true })).json;
    const [created] = await bench.received(next.agreementId, 1);
    expect(created?.body.detail.agreement).toMatchObject({ intent: 'RENEW', previousAgreementId: bought.agreementId });
    expect(await bench.view(bought.agreementId)).toMatchObject({ status: 'ACTIVE' });
    expect(await bench.view(next.agreementId)).toMatchObject({ licensedAt: null });
    await bench.sandbox.control('/clock/advance', { method: 'POST', body: { seconds: 24 * 3_600 + 120 } });
    expect(await bench.view(bought.agreementId)).toMatchObject({ status: 'RENEWED' });
    expect((await bench.view(next.agreementId)).licensedAt).not.toBeNull();
  });

  it("amendments, advisories and a reseller's offer", async () => {
    const bought = await bench.buy({ cppo: true });
    await bench.act(bought.agreementId, 'amend', { autoRenewalEnabled: false });
    await bench.act(bought.agreementId, 'advisory');
    const events = await bench.received(bought.agreementId, 4);
    expect(events.map((one) => one.body['detail-type'])).toEqual([
      'Purchase Agreement Created - Manufacturer',
      'License Updated - Manufacturer',
      'Purchase Agreement Amended - Manufacturer',
      'Purchase Agreement Advisory Issued - Manufacturer',
    ]);
    expect(events[0]?.body.detail.resaleAuthorization.id).toMatch(/^resaleauthz-/);
    expect(events[2]?.body.detail).toMatchObject({
      agreement: { intent: 'AMEND', autoRenewalEnabled: false },
      renewalSummary: { disabledBy: 'ACCEPTOR' },
    });
  });

  it('any event can be sent, with the right, a wrong or no secret', async () => {
    for (const [secret, seen] of [
      ['right', 'sandbox-eventbridge-secret-0001'],
      ['wrong', 'sandbox-eventbridge-secret-0001-wrong'],
      ['none', undefined],
    ]) {
      const answer = await bench.sandbox.control('/aws/events', {
        body: { detailType: 'Purchase Agreement Created - Proposer', detail: { agreement: { id: `agmt-${secret}` } }, secret },
      });
      expect(answer.json.status).toBe(200);
      expect(bench.events(`agmt-${secret}`)[0]?.headers['x-berth-webhook-secret']).toBe(seen);
    }
  });
});

describe('delivery (contract aws §4.3)', () => {
  it('repeats the same bytes with back-off, and gives up after 24 h of virtual time; a plain 4xx is dropped at once', async () => {
    bench.receiver.answering = () => ({ status: 503 });
    const bought = await bench.buy();
    await bench.received(bought.agreementId, 2);
    await bench.sandbox.advance(3600, 300);
    const tries = bench.events(bought.agreementId).filter((one) => one.body['detail-type'].startsWith('License'));
    expect(tries.length).toBeGreaterThan(5);
    expect(new Set(tries.map((one) => one.text)).size).toBe(1);
    await bench.sandbox.advance(24 * 3600, 3600);
    await eventually(async () =>
      (await bench.view(bought.agreementId)).deliveries.every((one: { state: string }) => one.state === 'dropped'),
    );
    bench.receiver.answering = () => ({ status: 400 });
    const refused = await bench.buy();
    const deliveries = await eventually(async () => {
      const found = (await bench.view(refused.agreementId)).deliveries;
      return found.every((one: { state: string }) => one.state === 'dropped') && found;
    });
    expect(deliveries.map((one: { attemptCount: number }) => one.attemptCount)).toEqual([1, 1]);
    bench.receiver.answering = () => ({ status: 200 });
  });

  it('can send twice, in another order, or lose an event', async () => {
    await bench.fault('License Updated', 'duplicate_webhook');
    const double = await bench.buy();
    await bench.received(double.agreementId, 3);
    const ids = bench.events(double.agreementId).map((one) => one.body.id);
    expect([ids.length, new Set(ids).size]).toEqual([3, 2]);
    await bench.fault('Purchase Agreement Created', 'reorder_webhook');
    const turned = await bench.buy();
    await bench.received(turned.agreementId, 2);
    expect(bench.types(turned.agreementId)[0]).toBe('License Updated - Manufacturer');
    await bench.fault('Purchase Agreement Created', 'lose_webhook');
    const lost = await bench.buy();
    await bench.sandbox.advance(600);
    expect(bench.types(lost.agreementId)).toEqual(['License Updated - Manufacturer']);
  });
});

describe('the final hour (contract aws §4.3)', () => {
  it.each(['ended_first', 'deprovisioned_first'])(
    '%s: opens with the first event, seconds before the second, and closes one hour later',
    async (order) => {
      const bought = await bench.buy();
      await bench.received(bought.agreementId, 2);
      await bench.act(bought.agreementId, 'cancel', { order });
      await bench.sandbox.advance(10);
      const ending = bench.types(bought.agreementId).slice(2);
      const expected = ['Purchase Agreement Ended - Proposer', 'License Deprovisioned - Manufacturer'];
      expect(ending).toEqual(order === 'ended_first' ? expected : expected.reverse());
      await bench.sandbox.advance(3500);
      expect((await bench.meter([await bench.record(bought, 3)])).Results?.[0]?.Status).toBe('Success');
      await bench.sandbox.advance(100);
      expect((await bench.meter([await bench.record(bought, 5)])).Results?.[0]?.Status).toBe('CustomerNotSubscribed');
      expect((await bench.act(bought.agreementId, 'cancel')).status).toBe(409);
    },
  );
});

describe('the storefront', () => {
  it('sells, and opens the registration by a form to the fulfilment URL', async () => {
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const bought = await call(`${bench.sandbox.url}/storefront/aws/purchases`, {
      text: new URLSearchParams({ productCode: PRODUCT, buyerAccountId: '444455556666', order: 'licence_first' }).toString(),
      headers,
    });
    expect(bought.text).toContain('<form method="post" action="http://127.0.0.1:4000/landing/aws">');
    const shown = /name="x-amzn-marketplace-token" value="([^"]+)"/.exec(bought.text)?.[1] ?? '';
    expect((await bench.resolve(shown)).CustomerAWSAccountId).toBe('444455556666');
    const id = /agmt-[0-9a-z]{25}/.exec(bought.text)?.[0] ?? '';
    expect((await call(`${bench.sandbox.url}/`)).text).toContain(`/storefront/aws/agreements/${id}/cancel`);
    await call(`${bench.sandbox.url}/storefront/aws/agreements/${id}/cancel`, { text: '', headers });
    expect((await bench.view(id)).status).toBe('CANCELLED');
  });
});
