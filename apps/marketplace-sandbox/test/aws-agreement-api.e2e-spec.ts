import {
  type AgreementViewSummary,
  DescribeAgreementCommand,
  GetAgreementTermsCommand,
  MarketplaceAgreementClient,
  SearchAgreementsCommand,
  type SearchAgreementsCommandInput,
} from '@aws-sdk/client-marketplace-agreement';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsBench, nameOf } from './support/aws.js';
import { CREDENTIALS } from './support/channels.js';
import { call, HOUR } from './support/harness.js';

let bench: AwsBench;
let other: MarketplaceAgreementClient;
beforeAll(async () => {
  bench = await AwsBench.start();
  await bench.settings({
    agreementRatePerSecond: 1000,
    credentials: [
      { ...CREDENTIALS },
      { accessKeyId: 'AKIAANOTHERACCOUNT00', secretAccessKey: 'another', accountId: '111122223333' },
      { accessKeyId: 'AKIAWITHOUTRIGHTS000', secretAccessKey: 'none', denied: ['SearchAgreements'] },
    ],
  });
  other = client('us-east-1', { accessKeyId: 'AKIAANOTHERACCOUNT00', secretAccessKey: 'another' });
});
afterAll(() => bench.stop());

const client = (region = 'us-east-1', credentials = CREDENTIALS): MarketplaceAgreementClient =>
  new MarketplaceAgreementClient({ region, credentials, endpoint: `${bench.sandbox.url}/aws/agreement/`, maxAttempts: 1 });
const PARTY = { name: 'PartyType', values: ['Proposer'] };
const TYPE = { name: 'AgreementType', values: ['PurchaseAgreement'] };
const filter = (name: string, ...values: string[]) => ({ name, values });
const ask = (filters: { name: string; values: string[] }[], more: Partial<SearchAgreementsCommandInput> = {}, by = client()) =>
  by.send(new SearchAgreementsCommand({ catalog: 'AWSMarketplace', filters: [PARTY, TYPE, ...filters], ...more }));
const idsOf = (rows: AgreementViewSummary[] | undefined): (string | undefined)[] => (rows ?? []).map((one) => one.agreementId);
const found = async (...filters: { name: string; values: string[] }[]) => (await ask(filters)).agreementViewSummaries ?? [];

describe('SearchAgreements (contract aws §7)', () => {
  it('tells agreement, licence, parties, product and instants, and finds by licence in the one spelling that calls take (§2)', async () => {
    const bought = await bench.buy({ endsAt: new Date((await bench.sandbox.now()) + 48 * HOUR).toISOString() });
    const view = await bench.view(bought.agreementId);
    const [row, ...more] = await found(filter('LicenseArn', bought.licenseArn));
    expect(more).toEqual([]);
    expect(row).toMatchObject({
      agreementId: bought.agreementId,
      agreementType: 'PurchaseAgreement',
      status: 'ACTIVE',
      acceptor: { accountId: bought.accountId },
      proposer: { accountId: '999900001111' },
      initialAgreementId: bought.agreementId,
      proposalSummary: { offerId: view.offerId, resources: [{ id: view.productId, type: 'SaaSProduct' }] },
      entitlements: [{ licenseArn: bought.licenseArn }],
      startTime: new Date(view.startsAt),
      endTime: new Date(view.endsAt),
      endTimeBehaviorType: 'EXPIRE',
    });
    expect(row!.lastUpdateTime).toBeInstanceOf(Date);
    expect(await nameOf(ask([filter('LicenseArn', view.licenseArnInEvents)]))).toBe('ValidationException');
  });

  it('has one initialAgreementId over a renewal, tells how the old one ended, and no licence before the start', async () => {
    const first = await bench.buy();
    const next = (await bench.act(first.agreementId, 'renew')).json as { agreementId: string };
    const later = (
      await bench.act(next.agreementId, 'renew', { startsAt: new Date((await bench.sandbox.now()) + 24 * HOUR).toISOString() })
    ).json as { agreementId: string };
    const rows = await found(filter('InitialAgreementId', first.agreementId));
    const of = (id: string) => rows.find((one) => one.agreementId === id);
    expect([of(first.agreementId)?.status, of(next.agreementId)?.status, of(later.agreementId)?.status]).toEqual([
      'RENEWED',
      'ACTIVE',
      'ACTIVE',
    ]);
    expect([of(next.agreementId)?.entitlements?.length, of(later.agreementId)?.entitlements]).toEqual([1, []]);
    await bench.sandbox.advance(25 * 3_600);
    expect(
      (await found(filter('InitialAgreementId', first.agreementId), filter('Status', 'ACTIVE'))).map((o) => o.entitlements?.length),
    ).toEqual([1]);
  });

  it('filters by the time of the last update, in order, page by page, and a token is good for its own question only', async () => {
    const since = new Date(await bench.sandbox.now()).toISOString();
    await bench.sandbox.advance(60);
    const bought = [await bench.buy(), await bench.buy(), await bench.buy()];
    await bench.sandbox.advance(60);
    await bench.act(bought[0]!.agreementId, 'amend', { endsAt: '2035-01-01T00:00:00Z' });
    const filters = [filter('AfterLastUpdateTime', since)];
    const sort = { sortBy: 'LastUpdateTime', sortOrder: 'DESCENDING' } as const;
    const ids: (string | undefined)[] = [];
    let nextToken: string | undefined;
    do {
      const answer = await ask(filters, { sort, maxResults: 2, ...(nextToken ? { nextToken } : {}) });
      expect(answer.agreementViewSummaries!.length).toBeLessThanOrEqual(2);
      ids.push(...idsOf(answer.agreementViewSummaries));
      nextToken = answer.nextToken ?? nextToken;
      if (!answer.nextToken) break;
    } while (nextToken);
    expect(ids[0]).toBe(bought[0]!.agreementId);
    expect([...ids].sort()).toEqual(bought.map((one) => one.agreementId).sort());
    expect(nextToken).toBeTypeOf('string');
    expect(await nameOf(ask([], { sort, maxResults: 2, nextToken }))).toBe('ValidationException');
    expect(await nameOf(ask(filters, { sort, maxResults: 2, nextToken: 'page-2' }))).toBe('ValidationException');
  });

  it('does not show the maker of a product what a partner resold, and shows the buyer his own side', async () => {
    const resold = await bench.buy({ cppo: true });
    expect(await found(filter('LicenseArn', resold.licenseArn))).toEqual([]);
    expect(await nameOf(client().send(new DescribeAgreementCommand({ agreementId: resold.agreementId })))).toBe(
      'ResourceNotFoundException',
    );
    const mine = await other.send(
      new SearchAgreementsCommand({ catalog: 'AWSMarketplace', filters: [filter('PartyType', 'Acceptor'), TYPE] }),
    );
    expect(idsOf(mine.agreementViewSummaries)).toContain(resold.agreementId);
  });

  it('lags and leaves out where it is told to', async () => {
    await bench.settings({ agreementLagSeconds: 600 });
    const bought = await bench.buy();
    const asked = async () => (await found(filter('LicenseArn', bought.licenseArn))).map((one) => one.status);
    expect(await asked()).toEqual([]);
    await bench.sandbox.advance(601);
    await bench.act(bought.agreementId, 'cancel');
    expect(await asked()).toEqual(['ACTIVE']);
    await bench.sandbox.advance(601);
    expect(await asked()).toEqual(['CANCELLED']);
    await bench.settings({ agreementLagSeconds: 0, hiddenAgreements: [bought.agreementId] });
    expect(await asked()).toEqual([]);
  });

  it.each([
    ['another catalog', { catalog: 'Elsewhere' }],
    ['no filters', { filters: undefined }],
    ['no AgreementType', { filters: [PARTY] }],
    ['no PartyType', { filters: [TYPE] }],
    ['an unknown filter', { filters: [PARTY, TYPE, { name: 'Colour', values: ['red'] }] }],
    ['a filter twice', { filters: [PARTY, TYPE, TYPE] }],
    ['an instant that is none', { filters: [PARTY, TYPE, { name: 'AfterLastUpdateTime', values: ['yesterday'] }] }],
    ['no values', { filters: [PARTY, TYPE, { name: 'Status', values: [] }] }],
    ['an order that is none', { sort: { sortBy: 'Price' } }],
    [
      "a proposer's order for an acceptor",
      { filters: [{ name: 'PartyType', values: ['Acceptor'] }, TYPE], sort: { sortBy: 'LastUpdateTime' } },
    ],
    ['too many at once', { maxResults: 51 }],
  ])('refuses %s', async (_what, more) => {
    expect(await nameOf(ask([], more as never))).toBe('ValidationException');
  });
});

describe('DescribeAgreement and GetAgreementTerms (contract aws §7)', () => {
  it('describe one agreement; a trial is a term of its own, which the buyer pays nothing by (§3)', async () => {
    const trial = await bench.buy({ freeTrial: true });
    const one = await client().send(new DescribeAgreementCommand({ agreementId: trial.agreementId }));
    expect(one).toMatchObject({ agreementId: trial.agreementId, status: 'ACTIVE', initialAgreementId: trial.agreementId });
    expect(one.endTime, 'pay as you go has no end').toBeUndefined();
    const terms: string[] = [];
    let nextToken: string | undefined;
    for (let n = 0; n < 5; n++) {
      const answer = await client().send(
        new GetAgreementTermsCommand({ agreementId: trial.agreementId, maxResults: 1, ...(nextToken ? { nextToken } : {}) }),
      );
      terms.push(...(answer.acceptedTerms ?? []).flatMap((term) => Object.keys(term)));
      nextToken = answer.nextToken;
      if (!nextToken) break;
    }
    expect(terms).toEqual(['legalTerm', 'usageBasedPricingTerm', 'freeTrialPricingTerm']);
    const paid = await bench.buy();
    const { acceptedTerms } = await client().send(new GetAgreementTermsCommand({ agreementId: paid.agreementId }));
    expect(acceptedTerms!.flatMap((term) => Object.keys(term))).not.toContain('freeTrialPricingTerm');
  });

  it('know nothing of an agreement that is not there', async () => {
    expect(await nameOf(client().send(new DescribeAgreementCommand({ agreementId: 'agmt-nobody' })))).toBe('ResourceNotFoundException');
    expect(await nameOf(client().send(new GetAgreementTermsCommand({ agreementId: 'agmt nobody' })))).toBe('ValidationException');
    expect(await nameOf(client().send(new DescribeAgreementCommand({} as never)))).toBe('ValidationException');
  });
});

describe('its wire (contract aws §6)', () => {
  it('is JSON 1.0 with numbers of epoch seconds, in us-east-1, for who is allowed', async () => {
    expect(await nameOf(ask([], {}, client('eu-west-1')))).toBe('UnknownOperationException');
    expect(await nameOf(ask([], {}, client('us-east-1', { accessKeyId: 'AKIAWITHOUTRIGHTS000', secretAccessKey: 'none' })))).toBe(
      'AccessDeniedException',
    );
    const raw = await call(`${bench.sandbox.url}/aws/agreement`, {
      text: '{}',
      headers: { 'content-type': 'application/x-amz-json-1.0', 'x-amz-target': 'AWSMPCommerceService_v20200301.SearchAgreements' },
    });
    expect([raw.status, raw.json.__type, raw.headers.get('content-type')?.split(';')[0]]).toEqual([
      400,
      'MissingAuthenticationTokenException',
      'application/x-amz-json-1.0',
    ]);
    await bench.settings({ agreementRatePerSecond: 1 });
    const answers = await Promise.all([1, 2, 3].map(() => nameOf(ask([]))));
    expect(answers).toContain('ThrottlingException');
    await bench.settings({ agreementRatePerSecond: 1000 });
  });
});
