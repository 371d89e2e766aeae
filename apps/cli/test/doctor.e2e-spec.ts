import { existsSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Shop, silent } from '../../../test/support/shop.js';
import { berth, examined } from './support.js';

describe('berth doctor', () => {
  let shop: Shop;
  beforeAll(async () => {
    shop = await Shop.open();
    for (const planId of ['standard', 'premium']) {
      await shop.post('/azure/purchases', { offerId: 'object-cells', planId });
      await shop.post('/gcp/purchases', { planId });
    }
  });
  afterAll(() => shop.close());

  it('finds nothing to mend where all is right, and says what only a person can look up', async () => {
    const { code, checks, errors } = await examined('all', shop.settings());
    const of = (result: string): string[] => [...checks.values()].filter((one) => one.result === result).map((one) => one.check);
    expect([of('fail'), of('warn'), errors, code]).toEqual([[], [], '', 0]);
    expect(of('unknown')).toEqual(['gcp.service_control', 'aws.events', 'aws.dimensions']);
    for (const one of checks.values()) if (one.result === 'unknown') expect(one.remedy, one.check).toBeTruthy();
    expect(of('pass')).toEqual(
      expect.arrayContaining(
        ['azure', 'gcp', 'aws'].flatMap((m) => ['reachable', 'clock', 'catalog', 'units', 'addresses'].map((what) => `${m}.${what}`)),
      ),
    );
    expect(of('pass')).toEqual(
      expect.arrayContaining([
        'azure.token',
        'azure.api',
        'azure.signing_keys',
        'azure.sign_in',
        'azure.sign_in_secret_expiry',
        'azure.plans',
        'azure.listed_units',
        'azure.secret_expiry',
      ]),
    );
    expect(of('pass')).toEqual(expect.arrayContaining(['gcp.procurement', 'gcp.sign_up_keys', 'gcp.pubsub', 'gcp.plans', 'gcp.metrics']));
    expect(of('pass')).toEqual(
      expect.arrayContaining(['aws.credentials', 'aws.metering', 'aws.resolve', 'aws.products', 'aws.webhook_secret']),
    );
  });

  it('leaves nothing behind', async () => {
    await berth(['doctor', 'azure'], shop.settings());
    expect(existsSync(shop.dataFolder)).toBe(false);
  });

  it('prints a table with remedies for people, and with --strict takes an unknown for a fault', async () => {
    const { code, out } = await berth(['doctor', 'aws'], shop.settings());
    expect(code).toBe(0);
    expect(out).toMatch(/^ {2}pass +aws\.clock +this machine is 0 s/m);
    expect(out).toMatch(/^ {2}unknown +aws\.dimensions .*\n +-> By hand: /m);
    expect(out).toMatch(/ pass, 0 warn, 0 fail, 2 unknown\n$/);
    expect((await berth(['doctor', 'aws', '--strict'], shop.settings())).code).toBe(1);
  });

  it('waits for no check longer than it is told', async () => {
    const nobody = await silent();
    try {
      const began = performance.now();
      const { code, checks } = await examined('azure', shop.settings({ AZURE_MARKETPLACE_URL: nobody.url }), '--timeout', '1');
      expect(performance.now() - began).toBeLessThan(15_000);
      expect(checks.get('azure.token')?.result).toBe('pass');
      expect(checks.get('azure.api')).toMatchObject({ result: 'fail', detail: 'no answer within 1 s' });
      expect(checks.get('azure.reachable')?.result).toBe('fail');
      expect(code).toBe(1);
    } finally {
      await nobody.close();
    }
  });

  it.each([
    ['an unknown marketplace', ['doctor', 'mars'], {}, /^berth: there is no marketplace "mars"\. Name one of azure, gcp, aws or all\n$/],
    [
      'missing settings',
      ['doctor', 'azure'],
      { AZURE_TENANT_ID: '', AZURE_CLIENT_ID: '', AZURE_CLIENT_SECRET: '', AZURE_SIGN_IN_CLIENT_ID: '', AZURE_SIGN_IN_CLIENT_SECRET: '' },
      /^berth: azure is not configured\. Set AZURE_TENANT_ID, .*docs\/guides\/azure\.md\)\n$/,
    ],
    ['half of the settings', ['doctor', 'azure'], { AZURE_CLIENT_SECRET: '' }, /^berth: wrong setting: AZURE_CLIENT_SECRET missing.*\n$/],
    ['a wrong setting', ['doctor', 'gcp'], { BERTH_PUBLIC_URL: 'nowhere' }, /^berth: wrong setting: BERTH_PUBLIC_URL .*\n$/],
  ])('tells %s in one line', async (_what, args, changed, line) => {
    const { code, out, errors } = await berth(args, shop.settings(changed));
    expect([code, out]).toEqual([2, '']);
    expect(errors).toMatch(line);
  });

  it('refuses a question that it does not know', async () => {
    expect((await berth(['surgeon'], {})).code).toBe(2);
    expect((await berth(['doctor', 'azure', '--timeout', 'soon'], shop.settings())).code).toBe(2);
    expect((await berth(['--help'], {})).code).toBe(0);
  });
});
