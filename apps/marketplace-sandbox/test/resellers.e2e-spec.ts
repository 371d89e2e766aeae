import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsBench } from './support/aws.js';
import { startGcp } from './support/gcp-harness.js';
import { type Answer, call, eventually, type Running, startSandbox } from './support/harness.js';
import { Receiver } from './support/receiver.js';

const submit = (url: string, fields: Record<string, string>): Promise<Answer> =>
  call(url, { text: new URLSearchParams(fields).toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } });

describe('a purchase through a cloud solution provider (contract azure §2, §3)', () => {
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
  const path = (id: string, rest = ''): string => `/saas/subscriptions/${id}${rest}`;
  const active = async (extra: object = {}): Promise<string> => {
    const { subscriptionId: id } = await sandbox.purchase({ csp: true, ...extra });
    await sandbox.api(path(id, '/activate'), { body: { planId: 'standard' } });
    return id;
  };

  it('names another purchaser than beneficiary, is read only and of the sandbox type Csp, wherever it is shown (§2, §3)', async () => {
    const { subscriptionId: id, token } = await sandbox.purchase({ csp: true });
    const resolved = (await sandbox.api('/saas/subscriptions/resolve', { method: 'POST', headers: { 'x-ms-marketplace-token': token } }))
      .json.subscription;
    const got = (await sandbox.api(path(id))).json;
    const listed = ((await sandbox.api('/saas/subscriptions')).json.subscriptions as any[]).find((one) => one.id === id);
    for (const one of [resolved, got, listed]) {
      expect(one).toMatchObject({ sandboxType: 'Csp', allowedCustomerOperations: ['Read'] });
      expect(one.purchaser.tenantId).not.toBe(one.beneficiary.tenantId);
      expect(one.purchaser.emailId).not.toBe(one.beneficiary.emailId);
    }
    const direct = (await sandbox.api(path((await sandbox.purchase()).subscriptionId))).json;
    expect(direct).toMatchObject({ sandboxType: 'None', allowedCustomerOperations: ['Delete', 'Update', 'Read'] });
    expect(direct.purchaser).toEqual(direct.beneficiary);
  });

  it('refuses our changes and our cancellation with 400, and nothing moves (§3, table)', async () => {
    const id = await active();
    for (const options of [
      { method: 'PATCH', body: { planId: 'premium' } },
      { method: 'PATCH', body: { quantity: 3 } },
      { method: 'DELETE' },
    ]) {
      const answer = await sandbox.api(path(id), options);
      expect([answer.status, answer.json.code], JSON.stringify(options)).toEqual([400, 'BadArgument']);
    }
    expect((await sandbox.view(id)).operations).toEqual([]);
    expect((await sandbox.api(path(id))).json).toMatchObject({ saasSubscriptionStatus: 'Subscribed', planId: 'standard' });
  });

  it("tells the reseller's own change in a webhook that shows both parties and Read (§4)", async () => {
    const id = await active();
    expect((await sandbox.act(id, 'change-plan', { planId: 'premium' })).status).toBe(202);
    const told = await eventually(() => receiver.received.find((one) => one.body?.subscriptionId === id));
    expect(told.body).toMatchObject({ action: 'ChangePlan', operationRequestSource: 'Azure' });
    expect(told.body.subscription).toMatchObject({ sandboxType: 'Csp', allowedCustomerOperations: ['Read'] });
    expect(told.body.subscription.purchaser.tenantId).not.toBe(told.body.subscription.beneficiary.tenantId);
  });

  it('is refused where the purchaser would be the customer himself', async () => {
    const tenantId = '9e8d7c6b-5a49-4837-a625-1403f2e1d0c1';
    const same = { offerId: 'object-cells', planId: 'standard', csp: true, beneficiary: { tenantId }, purchaser: { tenantId } };
    const answer = await sandbox.control('/azure/purchases', { body: same });
    expect([answer.status, answer.json.code]).toEqual([400, 'csp.own_purchase']);
  });
});

describe("a channel partner's private offer (contract aws §4.1, §7)", () => {
  let bench: AwsBench;
  beforeAll(async () => {
    bench = await AwsBench.start({
      resellers: [
        { name: 'Fairlead Resale', accountId: '888800002222' },
        { name: 'Capstan Partners', accountId: '777700003333' },
      ],
    });
  });
  afterAll(() => bench.stop());

  it('has the partner as proposer and a resale authorization; a direct offer has null (§4.1)', async () => {
    const resold = await bench.buy({ cppo: { resellerAccountId: '777700003333' } });
    const direct = await bench.buy();
    const [ours] = await bench.received(resold.agreementId, 2);
    const [theirs] = await bench.received(direct.agreementId, 2);
    expect(ours!.body).toMatchObject({
      'detail-type': 'Purchase Agreement Created - Manufacturer',
      account: '999900001111',
      detail: { proposer: { accountId: '777700003333' }, resaleAuthorization: { id: expect.stringMatching(/^resaleauthz-/) } },
    });
    expect(theirs!.body).toMatchObject({
      'detail-type': 'Purchase Agreement Created - Proposer',
      detail: { proposer: { accountId: '999900001111' }, resaleAuthorization: null },
    });
  });

  it('stays his over a renewal and over its end, under his name (§4.1, §0.5)', async () => {
    const resold = await bench.buy({ cppo: true });
    const next = (await bench.act(resold.agreementId, 'renew')).json;
    const renewal = await bench.received(next.agreementId, 2);
    expect(renewal.find((one) => one.body['detail-type'].includes('Created'))!.body.detail).toMatchObject({
      agreement: { intent: 'RENEW' },
      proposer: { accountId: '888800002222', name: 'Fairlead Resale' },
      resaleAuthorization: { id: expect.stringMatching(/^resaleauthz-/) },
    });
    const old = await bench.received(resold.agreementId, 3);
    expect(old.at(-1)!.body).toMatchObject({
      'detail-type': 'Purchase Agreement Ended - Manufacturer',
      detail: {
        agreement: { status: 'RENEWED' },
        proposer: { accountId: '888800002222' },
        resaleAuthorization: { id: expect.any(String) },
      },
    });
  });

  it('lands and is metered by us as any other (§2, §5)', async () => {
    const resold = await bench.buy({ cppo: true });
    expect(await bench.resolve(resold.registration.fields['x-amzn-marketplace-token'] ?? '')).toMatchObject({
      LicenseArn: resold.licenseArn,
    });
    const answer = await bench.meter([await bench.record(resold, 2)]);
    expect(answer.Results?.[0]?.Status).toBe('Success');
    expect(await bench.billed(resold)).toHaveLength(1);
  });

  it('needs a partner that the settings know, who is not the seller himself', async () => {
    const unknown = await bench.sandbox.control('/aws/purchases', { body: { cppo: { resellerAccountId: '000000000000' } } });
    expect([unknown.status, unknown.json.code]).toEqual([404, 'reseller.unknown']);
    expect((await bench.settings({ resellers: [{ name: 'Ourselves', accountId: '999900001111' }] })).status).toBe(400);
  });

  it('can be bought from the storefront, which says who sells', async () => {
    const url = bench.sandbox.url;
    const page = (await call(`${url}/`)).text;
    expect(page).toContain('Capstan Partners, a reseller (777700003333)');
    await submit(`${url}/storefront/aws/purchases`, {
      productCode: '4harborobjectcells0000000',
      buyerAccountId: '111122223333',
      resellerAccountId: '777700003333',
    });
    expect((await call(`${url}/`)).text).toContain('resold by 777700003333');
  });
});

describe('resold purchases in the storefront', () => {
  it('of Azure and Google show through whom they were bought', async () => {
    const gcp = await startGcp();
    try {
      const { url } = gcp.running;
      const sent = [
        await submit(`${url}/storefront/purchases`, {
          offerId: 'object-cells',
          planId: 'standard',
          buyer: '1',
          subscriptionName: 'Resold',
        }),
        await submit(`${url}/storefront/gcp/purchases`, {
          planId: 'standard',
          buyer: 'Eelgrass Labs (bought through a reseller)',
          price: '12.50',
          afterEnd: 'cancel',
        }),
      ];
      expect(sent.map((one) => one.status)).toEqual([200, 200]);
      const page = (await call(`${url}/`)).text;
      expect(page).toContain('through desk@northquay-resale.example');
      expect(page).toContain('through billingAccounts/0A1B2C-3D4E5F-607182');
      expect(page).toContain('12.50 USD, private offer');
      expect((await submit(`${url}/storefront/gcp/purchases`, { planId: 'standard', price: 'much' })).status).toBe(400);
    } finally {
      await gcp.stop();
    }
  });
});
