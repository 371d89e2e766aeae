import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ConfigError, loadConfig } from './config.js';

const faultOf = (env: Record<string, string>): string => {
  try {
    loadConfig(env);
  } catch (error) {
    expect(error).toBeInstanceOf(ConfigError);
    return (error as Error).message;
  }
  return '';
};

const ID = '9e8d7c6b-5a49-4837-a625-1403f2e1d0c1';

describe('the configuration', () => {
  let folder: string;
  let base: Record<string, string>;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'berth-config-'));
    base = { BERTH_DATA: folder, BERTH_SECRET: 'a secret of the tests' };
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('needs nothing to be set: one process, embedded services, no marketplace', () => {
    expect(loadConfig({ BERTH_DATA: folder })).toMatchObject({
      role: 'all',
      port: 4000,
      host: '127.0.0.1',
      databaseUrl: null,
      redisUrl: null,
      redisAuto: true,
      sandboxUrl: null,
      azure: null,
    });
  });

  it('tells every fault at once, by the name of its setting', () => {
    const fault = faultOf({
      ...base,
      PORT: '99999',
      BERTH_ROLE: 'boss',
      DATABASE_URL: 'nowhere',
      BERTH_SECRET: 'short',
      BERTH_SANDBOX_URL: 'http://sandbox.example',
      AZURE_TENANT_ID: 't',
      GCP_PROVIDER_ID: 'p',
      AWS_PRODUCT_CODES: 'c',
    });
    for (const name of [
      'PORT',
      'BERTH_ROLE',
      'DATABASE_URL',
      'BERTH_SECRET',
      'BERTH_SANDBOX_URL',
      'AZURE_CLIENT_ID and AZURE_CLIENT_SECRET missing',
      'GCP_PROJECT_ID',
      'AWS_WEBHOOK_SECRET',
    ]) {
      expect(fault).toContain(name);
    }
  });

  it('tells no value: one of them may be a secret', () => {
    expect(faultOf({ ...base, BERTH_SECRET: 'hush', DATABASE_URL: 'my-password' })).not.toMatch(/hush|my-password/);
  });

  it.each([
    ['the sandbox itself', { BERTH_SANDBOX_URL: 'http://10.1.2.3:4100' }],
    ['an address that only looks local', { BERTH_SANDBOX_URL: 'http://127.0.0.1.example:4100' }],
    ['Azure', { BERTH_SANDBOX_URL: 'http://127.0.0.1:4100', AZURE_MARKETPLACE_URL: 'https://marketplaceapi.example/api' }],
    ['the authority', { BERTH_SANDBOX_URL: 'http://127.0.0.1:4100', AZURE_AUTHORITY_URL: 'https://login.example' }],
    ['Google', { BERTH_SANDBOX_URL: 'http://127.0.0.1:4100', GCP_SERVICE_CONTROL_URL: 'https://servicecontrol.example' }],
    ['Pub/Sub', { BERTH_SANDBOX_URL: 'http://127.0.0.1:4100', GCP_PUBSUB_ENDPOINT: 'pubsub.example:443' }],
    ['AWS', { BERTH_SANDBOX_URL: 'http://127.0.0.1:4100', AWS_METERING_ENDPOINT: 'https://metering.example' }],
  ])('refuses a clock that can be moved while %s is not on this machine', (_what, env) => {
    expect(faultOf({ ...base, ...env })).toMatch(/not on this machine/);
  });

  it('takes a sandbox on this machine and sends every Azure call to it', () => {
    const config = loadConfig({
      ...base,
      BERTH_SANDBOX_URL: 'http://127.0.0.1:4100/',
      AZURE_TENANT_ID: 't',
      AZURE_CLIENT_ID: 'c',
      AZURE_CLIENT_SECRET: 's',
    });
    expect(config.sandboxUrl).toBe('http://127.0.0.1:4100');
    expect(config.azure).toMatchObject({ apiUrl: 'http://127.0.0.1:4100/azure/api', authorityUrl: 'http://127.0.0.1:4100/azure/login' });
  });

  it('takes a Pub/Sub on this machine by host and port', () => {
    expect(faultOf({ ...base, BERTH_SANDBOX_URL: 'http://127.0.0.1:4100', GCP_PUBSUB_ENDPOINT: '127.0.0.1:4101' })).toBe('');
  });

  const google = {
    GCP_PROVIDER_ID: 'acme-public',
    GCP_PROJECT_ID: 'acme-public',
    GCP_SUBSCRIPTION: 'mp-push',
    GCP_SERVICE_NAME: 'acme.endpoints.acme-public.cloud.goog',
    GCP_AUDIENCES: 'cp.example',
  };
  it('is pushed to by Google only with an audience and a service account', () => {
    const push = { GCP_PUSH_AUDIENCE: 'https://cp.example', GCP_PUSH_SERVICE_ACCOUNT: 'push@acme-public.iam.gserviceaccount.com' };
    expect(loadConfig({ ...base, ...google }).gcp).toMatchObject({ push: null });
    expect(loadConfig({ ...base, ...google, ...push }).gcp?.push).toEqual({
      audience: push.GCP_PUSH_AUDIENCE,
      serviceAccount: push.GCP_PUSH_SERVICE_ACCOUNT,
    });
    for (const name of ['GCP_PUSH_AUDIENCE', 'GCP_PUSH_SERVICE_ACCOUNT'])
      expect(faultOf({ ...base, ...google, ...push, [name]: '' })).toMatch(/belong together/);
  });

  it('trusts Google to count a repeated operation once unless told otherwise', () => {
    expect(loadConfig({ ...base, ...google }).gcp?.safeResend).toBe(true);
    expect(loadConfig({ ...base, ...google, GCP_SAFE_RESEND: 'false' }).gcp?.safeResend).toBe(false);
  });

  it('treats an empty setting as none', () => {
    expect(loadConfig({ ...base, DATABASE_URL: '', PORT: '' })).toMatchObject({ databaseUrl: null, port: 4000 });
  });

  it('makes a secret of its own once, readable by its owner only', () => {
    const dir = join(folder, 'fresh');
    const first = loadConfig({ BERTH_DATA: dir }).secret;
    expect(first.length).toBeGreaterThanOrEqual(40);
    expect(loadConfig({ BERTH_DATA: dir }).secret).toBe(first);
    expect(readFileSync(join(dir, 'secret'), 'utf8').trim()).toBe(first);
    expect(statSync(join(dir, 'secret')).mode & 0o777).toBe(0o600);
  });

  it('names the folder it cannot write to, with the remedy', () => {
    const file = join(folder, 'a-file');
    writeFileSync(file, '');
    expect(faultOf({ BERTH_DATA: join(file, 'below') })).toMatch(/a-file.*BERTH_DATA/);
  });

  it('asks buyers to sign in where they can, and refuses half of an application', () => {
    const azure = { AZURE_TENANT_ID: ID, AZURE_CLIENT_ID: ID, AZURE_CLIENT_SECRET: 's' };
    const app = { AZURE_SIGN_IN_CLIENT_ID: ID, AZURE_SIGN_IN_CLIENT_SECRET: 't' };
    expect(loadConfig({ ...base, ...azure }).landingAccess).toBe('first_visit');
    expect(loadConfig({ ...base, ...azure, ...app })).toMatchObject({
      landingAccess: 'signed_in',
      azure: { signIn: { clientId: ID, clientSecret: 't', issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0' } },
    });
    expect(loadConfig({ ...base, ...azure, ...app, BERTH_LANDING_ACCESS: 'first_visit' }).landingAccess).toBe('first_visit');
    for (const wrong of [{ ...azure, AZURE_SIGN_IN_CLIENT_ID: ID }, app, { ...azure, BERTH_LANDING_ACCESS: 'signed_in' }])
      expect(() => loadConfig({ ...base, ...wrong })).toThrow(/AZURE_SIGN_IN_CLIENT_ID/);
  });

  it('takes which driver builds a shape, and says what is wrong with it', () => {
    expect(loadConfig(base).shapeDrivers).toEqual({});
    expect(loadConfig({ ...base, BERTH_SHAPE_DRIVERS: 'cell-large=terraform, cell=local' }).shapeDrivers).toEqual({
      'cell-large': 'terraform',
      cell: 'local',
    });
    for (const wrong of ['cell', '=terraform', 'cell=magic'])
      expect(() => loadConfig({ ...base, BERTH_SHAPE_DRIVERS: wrong })).toThrow('BERTH_SHAPE_DRIVERS');
    expect(loadConfig({ ...base, PATH: '/somewhere' }).terraform).toEqual({
      binary: null,
      searchPath: '/somewhere',
      providerMirror: null,
      maxCells: 8,
      keepStates: 50,
      stateDays: 90,
    });
  });

  it('takes other rates of usage calls than the adapters have, and says what is wrong with them', () => {
    expect(loadConfig(base).usageRates).toEqual({});
    expect(loadConfig({ ...base, BERTH_USAGE_RATES: 'azure=20, gcp=off,aws=0.5' }).usageRates).toEqual({ azure: 20, gcp: null, aws: 0.5 });
    for (const wrong of ['azure', 'azure=fast', 'aws=0', 'gcp=1001', 'ebay=3', 'azure=-1'])
      expect(() => loadConfig({ ...base, BERTH_USAGE_RATES: wrong }), wrong).toThrow(/BERTH_USAGE_RATES/);
  });

  it('trusts the proxies that are named, and nobody else by a slip', () => {
    expect(loadConfig(base).trustedProxies).toEqual([]);
    expect(loadConfig({ ...base, BERTH_TRUSTED_PROXIES: '10.0.0.0/8, fd00::1' }).trustedProxies).toEqual(['10.0.0.0/8', 'fd00::1']);
    for (const wrong of ['true', '*', '0.0.0.0/0', '10.0.0.0/33', '10.0.0.0/8/8', 'balancer.example', 'fd00::/129'])
      expect(() => loadConfig({ ...base, BERTH_TRUSTED_PROXIES: wrong }), wrong).toThrow(/BERTH_TRUSTED_PROXIES/);
  });

  it('takes what differs in another Azure cloud or contract, and leaves the rest to the adapter', () => {
    const azure = { AZURE_TENANT_ID: ID, AZURE_CLIENT_ID: ID, AZURE_CLIENT_SECRET: 's' };
    const plain = loadConfig({ ...base, ...azure }).azure!;
    expect(plain.timeoutsMs).toEqual({});
    for (const name of ['publisherId', 'marketplaceAppId', 'issuers']) expect(plain).not.toHaveProperty(name);
    const other = {
      AZURE_PUBLISHER_ID: 'harbor-storage',
      AZURE_MARKETPLACE_APP_ID: ID,
      AZURE_ISSUERS: 'https://sts.example/a/, https://login.example/a/v2.0',
      AZURE_TIMEOUTS_MS: 'read=3000, usage=60000',
      AZURE_SIGN_IN_CLIENT_ID: ID,
      AZURE_SIGN_IN_CLIENT_SECRET: 't',
      AZURE_SIGN_IN_CLIENT_SECRET_EXPIRES: '2031-01-31',
      AZURE_SIGN_IN_ISSUER: 'https://login.example/{tenantid}/v2.0',
    };
    expect(loadConfig({ ...base, ...azure, ...other }).azure).toMatchObject({
      publisherId: 'harbor-storage',
      marketplaceAppId: ID,
      issuers: ['https://sts.example/a/', 'https://login.example/a/v2.0'],
      timeoutsMs: { read: 3_000, usage: 60_000 },
      signIn: { clientSecretExpires: '2031-01-31', issuer: 'https://login.example/{tenantid}/v2.0' },
    });
    for (const [name, wrong] of [
      ['AZURE_TIMEOUTS_MS', 'read=soon'],
      ['AZURE_TIMEOUTS_MS', 'nap=5'],
      ['AZURE_TIMEOUTS_MS', 'read=0'],
      ['AZURE_SIGN_IN_ISSUER', 'https://login.example/common/v2.0'],
      ['AZURE_MARKETPLACE_APP_ID', 'the marketplace'],
    ] as const)
      expect(() => loadConfig({ ...base, ...azure, [name]: wrong }), `${name} ${wrong}`).toThrow(name);
  });
});
