import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Shop, skewed } from '../../../test/support/shop.js';
import type { Check } from '#marketplaces/core';
import { diagnose } from '../src/doctor/diagnose.js';
import type { Report } from '../src/doctor/examine.js';

/** What `berth doctor` says, without the two processes around it, whose start takes longer than all its checks. `seconds` for each check. */
async function diagnosed(
  marketplace: string,
  env: Record<string, string>,
  seconds = 15,
): Promise<{ out: string; checks: Map<string, Check> }> {
  const out = await diagnose(marketplace, seconds * 1000, env);
  const { reports } = JSON.parse(out) as { reports: Report[] };
  return { out, checks: new Map(reports.flatMap((r) => r.checks.map((one) => [one.check, one] as const))) };
}

describe('an examination', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await Shop.open();
    for (const planId of ['standard', 'premium']) {
      await shop.post('/azure/purchases', { offerId: 'object-cells', planId });
      await shop.post('/gcp/purchases', { planId });
    }
  });
  afterAll(() => shop.close());

  interface Fault {
    what: string;
    marketplace: string;
    change: (shop: Shop) => Record<string, string>;
    check: string;
    detail: RegExp;
    remedy: RegExp;
  }
  const FAULTS: Fault[] = [
    {
      what: 'a wrong secret',
      marketplace: 'azure',
      change: () => ({ AZURE_CLIENT_SECRET: 'not-the-secret-of-the-app' }),
      check: 'azure.token',
      detail: /AADSTS7000215/,
      remedy: /AZURE_CLIENT_SECRET to the value of the secret/,
    },
    {
      what: 'a wrong client id',
      marketplace: 'azure',
      change: () => ({ AZURE_CLIENT_ID: '00000000-0000-4000-8000-00000000dead' }),
      check: 'azure.token',
      detail: /AADSTS700016/,
      remedy: /AZURE_CLIENT_ID to the application/,
    },
    {
      what: 'a wrong secret of the sign-in application',
      marketplace: 'azure',
      change: () => ({ AZURE_SIGN_IN_CLIENT_SECRET: 'not-the-secret-of-that-app' }),
      check: 'azure.sign_in',
      detail: /AADSTS7000215/,
      remedy: /AZURE_SIGN_IN_CLIENT_SECRET to the value of its secret/,
    },
    {
      what: 'an expired secret',
      marketplace: 'azure',
      change: () => ({ AZURE_CLIENT_SECRET_EXPIRES: '2020-02-29' }),
      check: 'azure.secret_expiry',
      detail: /2020-02-29/,
      remedy: /new client secret in Entra/,
    },
    {
      what: 'a plan id that the listing does not have',
      marketplace: 'azure',
      change: (s) => ({ BERTH_CATALOG: s.catalog('azure.yaml', 'externalId: premium', 'externalId: platinum') }),
      check: 'azure.plans',
      detail: /platinum is not there/,
      remedy: /plan id of Partner Center/,
    },
    {
      what: 'a purchase of a plan that the catalog does not have',
      marketplace: 'gcp',
      change: (s) => ({ BERTH_CATALOG: s.catalog('gcp.yaml', 'externalId: premium', 'externalId: platinum') }),
      check: 'gcp.plans',
      detail: /purchases of premium/,
      remedy: /exactly this id/,
    },
    {
      what: 'GB in the catalog where the ratio is that of GiB',
      marketplace: 'azure',
      change: (s) => ({ BERTH_CATALOG: s.catalog('azure.yaml', 'listedUnit: GiB-hour', 'listedUnit: GB-hour') }),
      check: 'azure.units',
      detail: /GB-hour is 3600000000000000000 base units, basePerUnit says 3865470566400000000 \(7\.4 % more\)/,
      remedy: /GB is 10\^9 bytes, GiB 2\^30/,
    },
    {
      what: 'GB in the catalog where the listing says GiB',
      marketplace: 'azure',
      change: (s) => ({ BERTH_CATALOG: s.catalog('azure.yaml', 'listedUnit: GiB-hour', 'listedUnit: GB-hour') }),
      check: 'azure.listed_units',
      detail: /listed as "per GiB-hour", the catalog says "GB-hour"/,
      remedy: /Correct dimension, listedUnit/,
    },
    {
      what: 'another included quantity than the listing has',
      marketplace: 'azure',
      change: (s) => ({ BERTH_CATALOG: s.catalog('azure.yaml', "quantity: '10'", "quantity: '11'") }),
      check: 'azure.listed_units',
      detail: /mib_egress includes 10 in the listing, 11 in the catalog/,
      remedy: /included in the catalog/,
    },
    {
      what: 'a dimension that is not on the plan',
      marketplace: 'azure',
      change: (s) => ({ BERTH_CATALOG: s.catalog('azure.yaml', 'dimension: mib_egress', 'dimension: mib_out') }),
      check: 'azure.listed_units',
      detail: /mib_out is not enabled/,
      remedy: /dimension/,
    },
    {
      what: 'a missing webhook secret',
      marketplace: 'aws',
      change: () => ({ AWS_WEBHOOK_SECRET: '' }),
      check: 'aws.webhook_secret',
      detail: /not set/,
      remedy: /x-berth-webhook-secret/,
    },
    {
      what: 'a product code that is not of the catalog',
      marketplace: 'aws',
      change: () => ({ AWS_PRODUCT_CODES: 'anotherproduct0000000000', AWS_PRODUCT_IDS: '' }),
      check: 'aws.products',
      detail: /4harborobjectcells0000000 is not in AWS_PRODUCT_CODES/,
      remedy: /product code/,
    },
    {
      what: 'a Pub/Sub subscription that is not there',
      marketplace: 'gcp',
      change: () => ({ GCP_SUBSCRIPTION: 'berth-nothing-here' }),
      check: 'gcp.pubsub',
      detail: /./,
      remedy: /Create berth-nothing-here/,
    },
    {
      what: 'metrics of another service',
      marketplace: 'gcp',
      change: () => ({ GCP_SERVICE_NAME: 'other.endpoints.harbor-storage-public.cloud.goog' }),
      check: 'gcp.metrics',
      detail: /not metrics of other\./,
      remedy: /Producer Portal/,
    },
    {
      what: 'no offer in the catalog',
      marketplace: 'gcp',
      change: (s) => ({ BERTH_CATALOG: s.catalog('gcp.yaml', 'marketplace: gcp', 'marketplace: unheard') }),
      check: 'gcp.catalog',
      detail: /gcp\.yaml/,
      remedy: /catalog\.md/,
    },
  ];

  it.each(FAULTS.map((fault) => [fault.what, fault] as const))('names %s and its remedy', async (_what, fault) => {
    const { marketplace, change, check, detail, remedy } = fault;
    const settings = shop.settings(change(shop));
    const { checks, out } = await diagnosed(marketplace, settings);
    expect(checks.get(check), out).toMatchObject({ result: 'fail' });
    expect(checks.get(check)!.detail).toMatch(detail);
    expect(checks.get(check)!.remedy).toMatch(remedy);
    for (const secret of [settings['AZURE_CLIENT_SECRET'], settings['AWS_WEBHOOK_SECRET'], 'sandbox-only-not-a-secret'])
      if (secret) expect(out).not.toContain(secret);
  });

  it.each([
    ['azure', ['AZURE_AUTHORITY_URL', '/azure/login']],
    ['gcp', ['GCP_SIGNUP_KEYS_URL', '/gcp/robot/v1/metadata/x509/cloud-commerce-partner@system.gserviceaccount.com']],
    ['aws', ['AWS_METERING_ENDPOINT', '/aws/metering']],
  ])('finds a clock that is more than 60 s from the time of %s', async (marketplace, [setting, path]) => {
    const proxy = await skewed(shop.url, 75);
    try {
      const { checks } = await diagnosed(marketplace, shop.settings({ [setting!]: `${proxy.url}${path}` }));
      expect(checks.get(`${marketplace}.clock`)).toMatchObject({ result: 'fail', remedy: expect.stringMatching(/NTP/) as string });
      expect(checks.get(`${marketplace}.clock`)!.detail).toMatch(/7[456] s behind .*limit 60 s/);
    } finally {
      await proxy.close();
    }
  });
});

describe('an examination with the marketplaces gone', () => {
  it.each(['azure', 'gcp', 'aws'])('says of %s that it cannot be reached', async (marketplace) => {
    const shop = await Shop.open();
    await shop.stop();
    try {
      const { checks } = await diagnosed(marketplace, shop.settings(), 3);
      expect(checks.get(`${marketplace}.reachable`)).toMatchObject({ result: 'fail', remedy: expect.stringMatching(/network/) as string });
      expect(checks.get(`${marketplace}.clock`)?.result).toBe('unknown');
    } finally {
      await shop.close();
    }
  });
});
