import { describe, expect, it } from 'vitest';
import type { CatalogPlan, MeterTerms, PlanVersion } from '#entitlements';
import { addressCheck, faultOf } from './address-check.js';
import { emissionCheck } from './emission-check.js';
import { metricCheck } from './metric-check.js';
import { azureSecretExpiry } from './secret-checks.js';
import { unitCheck } from './unit-check.js';
import { withoutSecrets } from './without-secrets.js';

const meter = (changed: Partial<MeterTerms>): MeterTerms => ({
  meter: 'gib_hours_stored',
  metric: 'stored_bytes',
  kind: 'gauge_integral',
  source: 'cell',
  dimension: 'gib_hours_stored',
  listedUnit: 'GiB-hour',
  basePerUnit: '3865470566400000000',
  decimals: 0,
  included: null,
  includedBy: 'seller',
  gap: 'carry',
  billableWhileSuspended: false,
  emission: 'live',
  ...changed,
});
const units = (changed: Partial<MeterTerms>): ReturnType<typeof unitCheck> =>
  unitCheck('azure', [{ externalPlanId: 'gold', meters: [meter(changed)] } as unknown as PlanVersion], 6);

describe('the units of a meter', () => {
  it('agree', () => expect(units({}).result).toBe('pass'));

  it.each([
    ['a ratio of another unit', { listedUnit: 'GB-hour' }, /7\.4 % more/],
    ['a ratio that is one off', { basePerUnit: '3865470566400000001' }, /0\.0 % more/],
    ['a dimension of another unit', { dimension: 'svc.example/gb_hours_stored' }, /dimension .*GiB-hour \(6\.9 % less\)/],
    ['a meter named after another unit', { meter: 'mib_hours_stored' }, /meter mib_hours_stored says mib/],
    ['storage without time', { listedUnit: 'GiB', basePerUnit: '1073741824' }, /names none/],
    ['traffic with time', { kind: 'counter' as const }, /no time/],
    ['a name with time for a unit without', { kind: 'counter' as const, listedUnit: 'GiB', basePerUnit: '1073741824' }, /differ in time/],
    ['more decimals than the marketplace takes', { decimals: 7 }, /7 decimals/],
  ])('do not: %s', (_what, changed, detail) => {
    expect(units(changed).result).toBe('fail');
    expect(units(changed).detail).toMatch(detail);
  });

  it('of a level and of a sum are the metric’s own, without time', () => {
    const bytes = { listedUnit: 'GiB', basePerUnit: '1073741824', meter: 'peak', dimension: 'peak' };
    for (const kind of ['max', 'latest', 'sum'] as const) expect(units({ ...bytes, kind }).result).toBe('pass');
    expect(units({ ...bytes, kind: 'max', listedUnit: 'GiB-hour' }).result).toBe('pass');
    expect(units({ ...bytes, kind: 'sum', listedUnit: 'GiB-hour' }).detail).toMatch(/no time/);
    expect(units({ ...bytes, kind: 'max', basePerUnit: '1000000000' }).detail).toMatch(/6.9 % less/);
  });

  it('of what is no data are left to a person', () =>
    expect(units({ metric: 'nodes', kind: 'max', listedUnit: 'node', basePerUnit: '1' })).toMatchObject({ result: 'unknown' }));

  it.each(['request', 'GB-month'])('cannot be judged for "%s"', (listedUnit) =>
    expect(units({ listedUnit, meter: 'm', dimension: 'd' })).toMatchObject({ result: 'unknown', remedy: expect.any(String) as string }),
  );
});

describe('the metrics of the catalog', () => {
  const plan = (metric: string): CatalogPlan => ({ externalPlanId: 'gold', meters: [meter({ metric })] }) as unknown as CatalogPlan;
  it('are asked about where no cell reports them', () => {
    expect(metricCheck('azure', [plan('stored_bytes')]).result).toBe('pass');
    expect(metricCheck('azure', [plan('store_bytes')])).toMatchObject({
      result: 'warn',
      detail: expect.stringMatching(/store_bytes/) as string,
    });
  });
});

describe('the emission of the listings', () => {
  const plan = (listingEmission?: 'live' | 'shadow', emission: MeterTerms['emission'] = 'live'): CatalogPlan =>
    ({ externalOfferId: 'cells', externalPlanId: 'gold', listingEmission, meters: [meter({ emission })] }) as unknown as CatalogPlan;
  it('is said where something is not sent, once', () => {
    expect(emissionCheck('azure', [plan(), plan('live')]).result).toBe('pass');
    expect(emissionCheck('azure', [plan('shadow'), plan('shadow')])).toMatchObject({
      result: 'warn',
      detail: 'not sent to the marketplace: cells: shadow',
    });
    expect(emissionCheck('azure', [plan('live', 'none')]).detail).toMatch(/gold gib_hours_stored: none/);
  });
});

describe('the address that buyers get', () => {
  it.each(['https://berth.harbor-storage.com', 'https://berth.harbor-storage.com/base'])('may be %s', (url) => {
    expect(faultOf(url)).toBeNull();
  });
  it.each([
    ['http://berth.harbor-storage.com', /not https/],
    ['https://127.0.0.1', /bare or local/],
    ['https://10.0.0.7', /bare or local/],
    ['https://[::1]', /bare or local/],
    ['https://localhost:4000', /bare or local/],
    ['https://berth', /not a public name/],
    ['https://berth.internal', /not a public name/],
    ['https://berth.harbor-storage.com/#/land', /# or \?/],
    ['https://ada:secret@berth.harbor-storage.com', /user name/],
  ])('may not be %s', (url, fault) => expect(faultOf(url)).toMatch(fault));

  it('must be set outside the sandbox, and is told as the listing wants it', () => {
    expect(addressCheck('azure', null, false)).toMatchObject({
      result: 'fail',
      remedy: expect.stringContaining('/webhooks/azure') as string,
    });
    expect(addressCheck('azure', null, true).result).toBe('pass');
    expect(addressCheck('aws', 'https://b.harbor-storage.com', false).detail).toContain(
      'https://b.harbor-storage.com/webhooks/aws/eventbridge',
    );
  });
});

describe('the end of the client secret', () => {
  const azure = {
    apiUrl: '',
    authorityUrl: '',
    tenantId: '',
    clientId: '',
    clientSecret: '',
    reinstate: 'notice' as const,
    signIn: null,
    armUrl: '',
    managedAppSignature: null,
    timeoutsMs: {},
  };
  const now = new Date('2026-05-01T12:00:00Z');
  it.each([
    ['2026-04-30', 'fail'],
    ['2026-05-31', 'warn'],
    ['2026-06-02', 'pass'],
  ])('on %s: %s', (day, result) => {
    const signIn = { clientId: '', clientSecret: '', clientSecretExpires: day, issuer: '' };
    const checks = [
      ...azureSecretExpiry({ ...azure, clientSecretExpires: day }, now),
      ...azureSecretExpiry({ ...azure, clientSecretExpires: null, signIn }, now),
    ];
    expect(checks.map((one) => [one.check, one.result])).toEqual([
      ['azure.secret_expiry', result],
      ['azure.sign_in_secret_expiry', result],
    ]);
    for (const one of checks)
      if (result !== 'pass') expect(one.remedy).toContain(one.check.includes('sign_in') ? 'AZURE_SIGN_IN_' : 'AZURE_CLIENT_');
  });
  it('is not judged where nobody wrote it down', () => expect(azureSecretExpiry({ ...azure, clientSecretExpires: null }, now)).toEqual([]));
});

describe('what is printed', () => {
  it('holds no secret in any spelling, and no token', () => {
    const env = { AZURE_CLIENT_SECRET: 'hs8Q~a"b/c+d', AZURE_CLIENT_SECRET_EXPIRES: '2026-05-31', DATABASE_URL: 'postgres://u:pw@h/d' };
    const text = `sent hs8Q~a"b/c+d, ${encodeURIComponent('hs8Q~a"b/c+d')}, ${JSON.stringify('hs8Q~a"b/c+d')} to postgres://u:pw@h/d; Bearer abc.def; eyJhbGci.eyJzdWIi.sig; 2026-05-31`;
    expect(withoutSecrets(text, env, null)).toBe('sent [secret], [secret], "[secret]" to [secret]; Bearer [token]; [token]; 2026-05-31');
  });
});
