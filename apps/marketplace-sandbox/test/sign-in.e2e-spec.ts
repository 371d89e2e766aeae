import { createHash } from 'node:crypto';
import { createRemoteJWKSet, jwtVerify } from 'jose';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Running, startSandbox, TENANT } from './support/harness.js';

const CLIENT = '0a1b2c3d-4e5f-4a6b-8c7d-9e0f1a2b3c4d';
const BACK = 'http://127.0.0.1:4999/landing/sign-in/callback';
const STRANGER = '7c1d0e2f-3a4b-4c5d-8e6f-708192a3b4c5';
const VERIFIER = 'a-verifier-of-enough-letters-0123456789-0123456789';

/** Microsoft identity platform, authorization code with PKCE, for the app of contract azure §2. */
describe('signing in on a landing page (contract azure §2)', () => {
  let sandbox: Running;
  beforeAll(async () => {
    sandbox = await startSandbox();
  });
  afterAll(() => sandbox.stop());

  const query = (change: Record<string, string> = {}): string =>
    new URLSearchParams({
      client_id: CLIENT,
      redirect_uri: BACK,
      response_type: 'code',
      scope: 'openid profile',
      state: 's-1',
      nonce: 'n-1',
      code_challenge: createHash('sha256').update(VERIFIER).digest('base64url'),
      code_challenge_method: 'S256',
      ...change,
    }).toString();
  const login = (path: string): string => `${sandbox.url}/azure/login/common/oauth2/v2.0/${path}`;
  const form = (url: string, fields: Record<string, string>): Promise<Response> =>
    fetch(url, { method: 'POST', body: new URLSearchParams(fields), redirect: 'manual' });
  const pick = async (account = STRANGER, change = {}): Promise<URL> => {
    const answer = await form(`${login('authorize')}?${query(change)}`, { account });
    expect(answer.status).toBe(302);
    return new URL(answer.headers.get('location')!);
  };
  const redeem = (code: string, change: Record<string, string> = {}): Promise<Response> =>
    form(login('token'), {
      grant_type: 'authorization_code',
      client_id: CLIENT,
      client_secret: 'sign-in-secret',
      redirect_uri: BACK,
      code_verifier: VERIFIER,
      code,
      ...change,
    });

  it('shows the accounts to pick from, and sends the one picked back with code and state', async () => {
    const page = await (await fetch(`${login('authorize')}?${query()}`)).text();
    expect(page).toContain('Pick an account');
    expect(page).toContain(STRANGER);
    const back = await pick();
    expect(back.href.split('?')[0]).toBe(BACK);
    expect(back.searchParams.get('state')).toBe('s-1');
    expect(back.searchParams.get('code')).toMatch(/^0\./);
  });

  it('answers the code with a v2 ID token of the directory of the person, which its published keys verify', async () => {
    const answer = (await (await redeem((await pick()).searchParams.get('code')!)).json()) as { id_token: string };
    const keys = createRemoteJWKSet(new URL(`${sandbox.url}/azure/login/common/discovery/v2.0/keys`));
    const { payload } = await jwtVerify(answer.id_token, keys, { audience: CLIENT });
    expect(payload).toMatchObject({ oid: STRANGER, nonce: 'n-1', ver: '2.0', preferred_username: 'visitor@elsewhere.example' });
    expect(payload.iss).toBe(`https://login.microsoftonline.com/${String(payload['tid'])}/v2.0`);
  });

  it('gives the application a token for itself, and names the issuer of each key', async () => {
    const own = async (clientSecret: string): Promise<number> => {
      const form = { grant_type: 'client_credentials', client_id: CLIENT, client_secret: clientSecret, scope: `${CLIENT}/.default` };
      return (await sandbox.tokenForm(form)).status;
    };
    expect([await own('sign-in-secret'), await own('another')]).toEqual([200, 401]);
    const issuers = async (tenant: string): Promise<unknown[]> =>
      ((await (await fetch(`${sandbox.url}/azure/login/${tenant}/discovery/v2.0/keys`)).json()) as { keys: { issuer: string }[] }).keys.map(
        (key) => key.issuer,
      );
    expect(await issuers('common')).toEqual(['https://login.microsoftonline.com/{tenantid}/v2.0']);
    expect(await issuers(TENANT)).toEqual([`https://login.microsoftonline.com/${TENANT}/v2.0`]);
  });

  it.each([
    ['an address that is not registered', { redirect_uri: 'http://127.0.0.1:4999/elsewhere' }, 'AADSTS50011'],
    ['an unknown app', { client_id: STRANGER }, 'AADSTS700016'],
    ['no openid scope', { scope: 'profile' }, 'AADSTS90014'],
    ['a plain challenge', { code_challenge_method: 'plain' }, 'AADSTS501491'],
  ])('shows its own page for %s, and sends the browser nowhere', async (_case, change, code) => {
    for (const answer of [
      await fetch(`${login('authorize')}?${query(change)}`),
      await form(`${login('authorize')}?${query(change)}`, { account: STRANGER }),
    ]) {
      expect(answer.status).toBe(400);
      expect(answer.headers.get('location')).toBeNull();
      expect(await answer.text()).toContain(code);
    }
  });

  it('sends a person who declines back with an error', async () => {
    const back = await pick('');
    expect(back.searchParams.get('error')).toBe('access_denied');
    expect(back.searchParams.has('code')).toBe(false);
  });

  it.each([
    ['another verifier', { code_verifier: VERIFIER.replace('a', 'b') }, 400, 501481],
    ['another address', { redirect_uri: 'http://127.0.0.1:4999/elsewhere' }, 400, 500112],
    ['a wrong secret', { client_secret: 'guess' }, 401, 7000215],
    ['an unknown code', { code: '0.made-up' }, 400, 9002313],
  ])('refuses the code with %s', async (_case, change, status, code) => {
    const answer = await redeem((await pick()).searchParams.get('code')!, change);
    expect(answer.status).toBe(status);
    expect(((await answer.json()) as { error_codes: number[] }).error_codes).toEqual([code]);
  });

  it('takes a code once', async () => {
    const code = (await pick()).searchParams.get('code')!;
    expect((await redeem(code)).status).toBe(200);
    const again = await redeem(code);
    expect(again.status).toBe(400);
    expect(((await again.json()) as { error_codes: number[] }).error_codes).toEqual([54005]);
  });
});
