import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENT, MARKETPLACE, type Running, startSandbox, TENANT } from './support/harness.js';

let sandbox: Running;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterAll(() => sandbox.stop());

const good = { grant_type: 'client_credentials', client_id: CLIENT, client_secret: 'right-secret', scope: `${MARKETPLACE}/.default` };
const LIST = '/saas/subscriptions';

describe('Entra (contract azure §1)', () => {
  it('issues a v2 token for the marketplace resource that its published keys verify', async () => {
    const answer = await sandbox.tokenForm(good);
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({ token_type: 'Bearer', expires_in: 3599 });
    const keys = createRemoteJWKSet(new URL(`${sandbox.url}/azure/login/${TENANT}/discovery/v2.0/keys`));
    const { payload } = await jwtVerify(answer.json.access_token, keys, { audience: MARKETPLACE });
    expect(payload).toMatchObject({ appid: CLIENT, tid: TENANT });
  });

  it('issues a v1 token for `resource`, with numbers as text', async () => {
    const { scope: _scope, ...form } = good;
    const answer = await sandbox.tokenForm({ ...form, resource: MARKETPLACE }, TENANT, '');
    expect(answer.json).toMatchObject({ expires_in: '3599', resource: MARKETPLACE });
    expect((await sandbox.api('/usageEvents?usageStartDate=2026-01-01', { token: answer.json.access_token })).status).toBe(200);
  });

  it.each([
    ['a wrong secret', { client_secret: 'guess' }, 401, 'invalid_client', 7000215],
    [
      'an expired secret',
      { client_id: 'e4c70215-86d9-4f3b-a04c-3db19e5f7c8a', client_secret: 'old-secret' },
      401,
      'invalid_client',
      7000222,
    ],
    ['an unknown app', { client_id: '00000000-0000-4000-8000-000000000000' }, 400, 'unauthorized_client', 700016],
    ['a scope without /.default', { scope: MARKETPLACE }, 400, 'invalid_scope', 1002012],
    ['an unknown resource', { scope: 'api://nobody/.default' }, 400, 'invalid_resource', 500011],
    ['another grant', { grant_type: 'password' }, 400, 'unsupported_grant_type', 70003],
  ])('refuses %s in the AADSTS shape', async (_case, change, status, error, code) => {
    const answer = await sandbox.tokenForm({ ...good, ...change });
    expect(answer.status).toBe(status);
    expect(answer.json).toMatchObject({ error, error_codes: [code] });
    expect(answer.json.error_description).toMatch(new RegExp(`^AADSTS${code}: .*Trace ID: `));
  });

  it('refuses an unknown tenant', async () => {
    expect((await sandbox.tokenForm(good, '00000000-0000-4000-8000-000000000000')).json.error_codes).toEqual([90002]);
  });
});

describe('the keys (contract azure §4, JWT validation)', () => {
  const keyIds = async (): Promise<string[]> =>
    ((await (await fetch(`${sandbox.url}/azure/login/${TENANT}/discovery/v2.0/keys`)).json()) as { keys: { kid: string }[] }).keys.map(
      (k) => k.kid,
    );
  const signedBy = async (): Promise<string> => decodeProtectedHeader((await sandbox.tokenForm(good)).json.access_token as string).kid!;

  it('rotate: shown before they sign, shown a while after, then withdrawn with every token of theirs', async () => {
    const [first] = await keyIds();
    const token = (await sandbox.tokenForm(good)).json.access_token as string;
    expect((await sandbox.control('/azure/keys/switch', { method: 'POST' })).json.code).toBe('keys.order');
    await sandbox.control('/azure/keys/announce', { method: 'POST' });
    expect(await keyIds()).toHaveLength(2);
    expect(await signedBy()).toBe(first);
    await sandbox.control('/azure/keys/switch', { method: 'POST' });
    expect(await signedBy()).not.toBe(first);
    expect(await keyIds()).toContain(first);
    expect((await sandbox.api(LIST, { token })).status).toBe(200);
    await sandbox.control('/azure/keys/withdraw', { method: 'POST' });
    expect(await keyIds()).toEqual([await signedBy()]);
    expect((await sandbox.api(LIST, { token })).status).toBe(401);
    expect((await sandbox.api(LIST, { token: (await sandbox.tokenForm(good)).json.access_token as string })).status).toBe(200);
  });
});

describe('the bearer token of an API call (contract azure §1, §3)', () => {
  it('is required', async () => {
    const answer = await sandbox.api(LIST, { token: null });
    expect(answer.status).toBe(401);
    expect(answer.json.error.code).toBe('Unauthorized');
  });

  it('must be ours: a changed signature is refused', async () => {
    const token = await sandbox.token();
    const [head, body, signature] = token.split('.') as [string, string, string];
    const flipped = `${signature[0] === 'A' ? 'B' : 'A'}${signature.slice(1)}`;
    expect((await sandbox.api(LIST, { token: `${head}.${body}.${flipped}` })).status).toBe(401);
  });

  it('must be for the marketplace: one for another resource is refused', async () => {
    const other = await sandbox.tokenForm({ ...good, scope: 'https://graph.microsoft.com/.default' });
    expect((await sandbox.api(LIST, { token: other.json.access_token })).status).toBe(401);
  });

  it('expires on real time', async () => {
    await sandbox.settings({ tokenLifetimeSeconds: 0 });
    const stale = await sandbox.token();
    await sandbox.settings({ tokenLifetimeSeconds: 3599 });
    expect((await sandbox.api(LIST, { token: stale })).status).toBe(401);
  });

  it('does not expire because the virtual clock moved', async () => {
    const token = await sandbox.token();
    await sandbox.advance(7200);
    expect((await sandbox.api(LIST, { token })).status).toBe(200);
  });

  it('of an app that no offer names is refused with a bare JSON string', async () => {
    const unbound = await sandbox.token('d3b6f104-75c8-4e2a-9f3b-2ca08d4e6b79', 'unbound-secret');
    const answer = await sandbox.api(LIST, { token: unbound });
    expect(answer.status).toBe(403);
    expect(answer.json).toMatch(/^The authorization token is invalid, expired, missing or/);
  });

  it('is refused with 403 where the running service is played', async () => {
    await sandbox.settings({ quirks: 'observed' });
    const answer = await sandbox.api(LIST, { token: null });
    await sandbox.settings({ quirks: 'documented' });
    expect(answer.status).toBe(403);
    expect(typeof answer.json).toBe('string');
  });

  it('needs the api-version beside it', async () => {
    const missing = await sandbox.api(LIST, { version: null });
    expect([missing.status, missing.json.Error.Code]).toEqual([400, 'ApiVersionUnspecified']);
    expect((await sandbox.api(LIST, { version: '2099-01-01' })).json.Error.Code).toBe('UnsupportedApiVersion');
  });

  it('gives back the request ids, or makes them', async () => {
    const id = '0a1b2c3d-0000-4000-8000-000000000001';
    expect((await sandbox.api(LIST, { headers: { 'x-ms-requestid': id } })).headers.get('x-ms-requestid')).toBe(id);
    expect((await sandbox.api(LIST)).headers.get('x-ms-correlationid')).toMatch(/^[0-9a-f-]{36}$/);
  });
});
