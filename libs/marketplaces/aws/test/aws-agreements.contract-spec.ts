import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { SubscriptionTruth } from '#marketplaces/core';
import type { AwsAdapter, AwsSettingsInput } from '../src/index.js';
import { PRODUCT } from './support/messages.js';
import { Purchases } from './support/purchases.js';
import { AwsSandbox, type Bought } from './support/sandbox-process.js';

let sandbox: AwsSandbox;
let adapter: AwsAdapter;
const CREDENTIALS = { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' };
const BLIND = { accessKeyId: 'AKIAWITHOUTTERMS0000', secretAccessKey: 'none' };
const settingsOf = (): Partial<AwsSettingsInput> => ({
  agreements: { productIds: { 'prod-harborcells': PRODUCT }, endpoint: `${sandbox.url}/aws/agreement` },
});
beforeAll(async () => {
  const denied = { ...BLIND, denied: ['SearchAgreements', 'GetAgreementTerms'] };
  sandbox = await AwsSandbox.start({ agreementRatePerSecond: 10_000, credentials: [CREDENTIALS, denied] });
  adapter = sandbox.adapterWith(settingsOf());
});
afterAll(() => sandbox.stop());

const listed = async (): Promise<Map<string, SubscriptionTruth>> => {
  const all = new Map<string, SubscriptionTruth>();
  for await (const truth of adapter.listAll!()) all.set(truth.externalSubscriptionId, truth);
  return all;
};
/** As the app would keep it: landed, and told of by these messages. */
async function kept(bought: Bought, types: string[] = ['Purchase Agreement Created', 'License Updated']): Promise<SubscriptionTruth> {
  const purchases = new Purchases(adapter);
  const landing = await adapter.resolveLanding(bought.registration.fields);
  if (!landing.ok) throw new Error(landing.code);
  const at = { marketplace: 'aws', externalSubscriptionId: bought.licenseId, occurredAt: sandbox.clock.now() } as const;
  purchases.apply({ ...at, kind: 'purchased', truth: landing.truth, note: 'landing' });
  for (const type of types)
    for (const event of await adapter.normalise((await sandbox.told(bought.agreementId, type)).stored)) purchases.apply(event);
  await purchases.serve(bought.licenseId);
  return purchases.truths.get(bought.licenseId)!;
}
const ask = (truth: Pick<SubscriptionTruth, 'externalSubscriptionId' | 'refs'>) =>
  adapter.askTruth!(truth.externalSubscriptionId, truth.refs);

describe('the list of agreements', () => {
  it('is read to its last page, foreign products under the id that AWS gives them [AW-38]', async () => {
    const ours = await Promise.all(Array.from({ length: 52 }, () => sandbox.buy()));
    const other = await sandbox.buy({ productCode: '4harborother0000000000000' });
    const all = await listed();
    for (const { licenseId } of ours) expect(all.get(licenseId)).toMatchObject({ state: 'active', externalOfferId: PRODUCT });
    expect(all.get(other.licenseId)!.externalOfferId).toBe('prod-harborother');
    const calls = await sandbox.control<{ items: unknown[] }>('GET', '/calls?marketplace=aws&operation=searchAgreements');
    expect(calls.items.length).toBeGreaterThanOrEqual(2);
  });

  it('fails whole where one page fails, so that half of it is never taken for all of it [AW-38]', async () => {
    await sandbox.fault('searchAgreements', 'throttle', { after: 1 });
    await expect(listed()).rejects.toThrow(/searchAgreements/);
    await sandbox.control('DELETE', '/faults');
  });

  it('has what was renewed as over and its renewal as in force [AW-38]', async () => {
    const first = await sandbox.buy();
    const next = (await sandbox.act(first.agreementId, 'renew')) as Bought;
    const all = await listed();
    expect([all.get(first.licenseId)!.state, all.get(next.licenseId)!.state]).toEqual(['ended', 'active']);
  });
});

describe('a chain in the list', () => {
  it('tells of each renewal whom it follows, although no row says so [AW-48]', async () => {
    const first = await sandbox.buy();
    await sandbox.advance(60);
    const second = (await sandbox.act(first.agreementId, 'renew')) as Bought;
    await sandbox.advance(60);
    const third = (await sandbox.act(second.agreementId, 'replace')) as Bought;
    const all = await listed();
    const follows = [first, second, third].map((one) => all.get(one.licenseId)!.supersedes?.externalId ?? null);
    expect(follows).toEqual([null, first.agreementId, second.agreementId]);
  });
});

describe('a landing on a renewal that nobody has told of', () => {
  it('tells whom it follows, nearest first, and takes no place before License Updated [AW-50]', async () => {
    const first = await sandbox.buy();
    await sandbox.advance(60);
    const second = (await sandbox.act(first.agreementId, 'renew')) as Bought;
    await sandbox.advance(60);
    const third = (await sandbox.act(second.agreementId, 'replace')) as Bought;
    const follows = async (bought: Bought): Promise<unknown[]> => {
      const landing = await adapter.resolveLanding(bought.registration.fields);
      if (!landing.ok) throw new Error(landing.code);
      expect(landing.truth).toMatchObject({ state: 'pending_fulfillment', supersedes: null });
      return landing.truth.follows!.map((one) => one.externalId);
    };
    expect(await follows(third)).toEqual([second.agreementId, first.agreementId]);
    expect(await follows(first)).toEqual([]);
    const [event] = await adapter.normalise((await sandbox.told(third.agreementId, 'License Updated')).stored);
    expect(event!.truth).toMatchObject({ supersedes: { kind: 'agreement', externalId: second.agreementId } });
  });

  it('opens all the same where the Agreement API fails or hangs, and then follows nobody [AW-50] [AW-39]', async () => {
    const first = await sandbox.buy();
    await sandbox.advance(60);
    const next = (await sandbox.act(first.agreementId, 'renew')) as Bought;
    const hasty = sandbox.adapterWith({ ...settingsOf(), timeoutsMs: { help: 50 } });
    for (const [kind, extra] of [
      ['throttle', {}],
      ['delay_before', { delayMs: 2_000 }],
    ] as const) {
      await sandbox.fault('searchAgreements', kind, { times: 5, ...extra });
      expect(await hasty.resolveLanding(next.registration.fields), kind).toMatchObject({ ok: true, truth: { follows: [] } });
      await sandbox.control('DELETE', '/faults');
    }
  });
});

describe('one purchase, asked for', () => {
  it('is found by its licence although nothing was told of it, and not where its product is not ours [AW-39] [AW-40]', async () => {
    const bought = await sandbox.buy();
    expect(await adapter.askTruth!(bought.licenseId)).toMatchObject({
      externalSubscriptionId: bought.licenseId,
      externalOfferId: PRODUCT,
      state: 'pending_fulfillment',
      aliases: [{ kind: 'agreement', externalId: bought.agreementId }],
    });
    const other = await sandbox.buy({ productCode: '4harborother0000000000000' });
    expect(await adapter.askTruth!(other.licenseId)).toBeNull();
    expect(await adapter.askTruth!('l-00000000000000000000000000000000')).toBeNull();
  });

  it('tells a lost License Updated and a lost end to who has landed [AW-40] [AW-41]', async () => {
    const bought = await sandbox.buy();
    const truth = await kept(bought, []);
    expect(truth.state).toBe('pending_fulfillment');
    const found = (await ask(truth))!;
    expect(found.state).toBe('active');
    await sandbox.act(bought.agreementId, 'cancel');
    expect(await ask(found)).toMatchObject({ state: 'ended', successorExpected: false });
  });

  it('that was replaced by what has ended meanwhile is over too, and goes on as long as that goes on [AW-41]', async () => {
    const first = await sandbox.buy();
    const truth = await kept(first);
    const next = (await sandbox.act(first.agreementId, 'replace')) as Bought;
    const last = (await sandbox.act(next.agreementId, 'renew')) as Bought;
    expect(await ask(truth)).toMatchObject({ state: 'active', successorExpected: false });
    await sandbox.act(last.agreementId, 'cancel');
    expect(await ask(truth)).toMatchObject({ state: 'ended', successorExpected: false, refs: { endedStatus: 'CANCELLED' } });
  });

  it('that is known and not shown is as it was known: left out, or resold by a partner [AW-42] [AW-45]', async () => {
    const hidden = await sandbox.buy();
    const resold = await sandbox.buy({ cppo: true });
    const both = [await kept(hidden), await kept(resold)];
    await sandbox.control('PUT', '/settings', { aws: { hiddenAgreements: [hidden.agreementId] } });
    for (const truth of both) expect(await ask(truth)).toMatchObject({ state: 'active', refs: truth.refs });
    await sandbox.control('PUT', '/settings', { aws: { hiddenAgreements: [] } });
    expect(both[1]!.refs).toMatchObject({ resellerAccountId: '888800002222' });
    expect(both[0]!.refs).toMatchObject({ resellerAccountId: null });
  });

  it('of a replacement names the agreement before it, which no message does [AW-43]', async () => {
    const first = await sandbox.buy();
    await sandbox.advance(60);
    const next = (await sandbox.act(first.agreementId, 'replace', { namesPrevious: false })) as Bought;
    expect((await adapter.askTruth!(next.licenseId))!.supersedes).toEqual({ kind: 'agreement', externalId: first.agreementId });
    const [event] = await adapter.normalise((await sandbox.told(next.agreementId, 'License Updated')).stored);
    expect(event!.truth!.supersedes, 'and License Updated asks by itself').toEqual({ kind: 'agreement', externalId: first.agreementId });
  });

  it('is a trial where its accepted terms say so, whatever the form says [AW-44]', async () => {
    const trial = await kept(await sandbox.buy({ freeTrial: true }));
    expect(trial.isFreeTrial).toBe(true);
    const paid = await sandbox.buy();
    paid.registration.fields['x-amzn-marketplace-offer-type'] = 'free-trial';
    expect((await kept(paid)).isFreeTrial).toBe(false);
  });

  it('is served without the Agreement API where that fails: only a comparison waits for it [AW-39]', async () => {
    for (const operation of ['describeAgreement', 'searchAgreements', 'getAgreementTerms'])
      await sandbox.fault(operation, 'throttle', { times: 50 });
    const truth = await kept(await sandbox.buy());
    expect(truth.state).toBe('active');
    expect((await adapter.readTruth(truth.externalSubscriptionId, truth.refs))!.state).toBe('active');
    await expect(ask(truth)).rejects.toThrow(/searchAgreements/);
    await sandbox.control('DELETE', '/faults');
  });
});

describe('doctor', () => {
  it('tries each permission of the Agreement API and names the one that is missing [AW-46]', async () => {
    const look = async (more: Partial<AwsSettingsInput>) =>
      (await sandbox.adapterWith({ ...settingsOf(), ...more }).doctor!({})).find((one) => one.check === 'aws.agreements')!;
    expect(await look({})).toMatchObject({ result: 'pass' });
    const blind = await look({ credentials: BLIND });
    expect(blind.result).toBe('fail');
    expect(blind.remedy).toContain('aws-marketplace:SearchAgreements, aws-marketplace:GetAgreementTerms on *');
    expect(await look({ agreements: null })).toMatchObject({
      result: 'unknown',
      remedy: expect.stringContaining('AWS_PRODUCT_IDS') as string,
    });
  });
});
