import { exportJWK, generateKeyPair, SignJWT, type CryptoKey, type JWK } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import type { Http } from './access-token.js';
import { EntraSignIn } from './sign-in.js';

const CLIENT = 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68';
const TENANT = '9e8d7c6b-5a49-4837-a625-1403f2e1d0c1';
const PERSONAL = '9188040d-6c67-4c5b-b112-36a304b66dad';
const PERSON = '2F4C8A10-91D3-4B7E-A5C6-0D1E2F3A4B51';

describe('[AZ-82] the ID token of a sign-in (contract azure §2)', () => {
  let ours: CryptoKey;
  let foreign: CryptoKey;
  let signIn: EntraSignIn;
  let http: Http;
  beforeAll(async () => {
    const pair = await generateKeyPair('RS256', { extractable: true });
    ours = pair.privateKey;
    foreign = (await generateKeyPair('RS256')).privateKey;
    const jwk: JWK = { ...(await exportJWK(pair.publicKey)), kid: 'k1', use: 'sig' };
    const keys = [
      jwk,
      { ...jwk, kid: 'of-anybody', issuer: 'https://login.microsoftonline.com/{tenantid}/v2.0' },
      { ...jwk, kid: 'of-personal-accounts', issuer: `https://login.microsoftonline.com/${PERSONAL}/v2.0` },
    ];
    http = { request: () => Promise.resolve({ status: 200, headers: {}, text: JSON.stringify({ keys }) } as never) };
    signIn = new EntraSignIn({ authorityUrl: 'http://127.0.0.1:1', clientId: CLIENT, clientSecret: 's' }, http);
  });

  const now = Math.floor(Date.now() / 1_000);
  const good = {
    aud: CLIENT,
    iss: `https://login.microsoftonline.com/${TENANT}/v2.0`,
    iat: now,
    nbf: now,
    exp: now + 3_600,
    oid: PERSON,
    tid: TENANT,
    nonce: 'n-1',
    name: 'Ines',
    preferred_username: 'ines@tidewater.example',
  };
  const signed = (claims: Record<string, unknown>, key: CryptoKey, kid = 'k1'): Promise<string> =>
    new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid }).sign(key);
  const other = '00000000-dead-4000-8000-00000000beef';

  it('names the person by both ids', async () => {
    await expect(signIn.verify(await signed(good, ours), 'n-1')).resolves.toEqual({
      personId: PERSON.toLowerCase(),
      directoryId: TENANT,
      name: 'Ines',
      username: 'ines@tidewater.example',
    });
  });

  it.each([
    ['another audience', { aud: other }],
    ['another issuer', { iss: `https://login.example/${TENANT}/v2.0` }],
    ['the issuer of another directory than it names', { iss: `https://login.microsoftonline.com/${other}/v2.0` }],
    ['a directory put in afterwards', { tid: other }],
    ['an end in the past', { iat: now - 7_200, nbf: now - 7_200, exp: now - 3_600 }],
    ['a beginning in the future', { nbf: now + 3_600 }],
    ['no end', { exp: undefined }],
    ['another nonce', { nonce: 'n-2' }],
    ['no nonce', { nonce: undefined }],
    ['no person', { oid: undefined }],
    ['no directory', { tid: undefined }],
  ])('is refused with %s', async (_case, change) => {
    await expect(signIn.verify(await signed({ ...good, ...change }, ours), 'n-1')).rejects.toMatchObject({ code: 'azure.sign_in_refused' });
  });

  it('is refused with a foreign signature, HS256, none, or when it is no token', async () => {
    const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const hs = await new SignJWT(good).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode('s'.repeat(32)));
    for (const token of [await signed(good, foreign), hs, `${part({ alg: 'none', kid: 'k1' })}.${part(good)}.`, '', 'x.y.z'])
      await expect(signIn.verify(token, 'n-1')).rejects.toMatchObject({ code: 'azure.sign_in_refused' });
  });

  it('is taken from a key of its own issuer only, where the key names one', async () => {
    const personal = { ...good, tid: PERSONAL, iss: `https://login.microsoftonline.com/${PERSONAL}/v2.0` };
    for (const [claims, kid] of [
      [good, 'of-anybody'],
      [personal, 'of-anybody'],
      [personal, 'of-personal-accounts'],
    ] as const)
      await expect(signIn.verify(await signed(claims, ours, kid), 'n-1'), kid).resolves.toMatchObject({ directoryId: claims.tid });
    await expect(signIn.verify(await signed(good, ours, 'of-personal-accounts'), 'n-1')).rejects.toMatchObject({
      code: 'azure.sign_in_refused',
      message: expect.stringContaining('a key of another issuer'),
    });
  });

  it('is of the issuer that is configured, and of no other', async () => {
    const settings = {
      authorityUrl: 'http://127.0.0.1:1',
      clientId: CLIENT,
      clientSecret: 's',
      issuer: 'https://login.example/{tenantid}/v2.0',
    };
    const abroad = new EntraSignIn(settings, http);
    await expect(abroad.verify(await signed({ ...good, iss: `https://login.example/${TENANT}/v2.0` }, ours), 'n-1')).resolves.toMatchObject(
      {
        directoryId: TENANT,
      },
    );
    await expect(abroad.verify(await signed(good, ours), 'n-1')).rejects.toMatchObject({ code: 'azure.sign_in_refused' });
  });

  it('of a key that Entra does not list is refused once it was asked for', async () => {
    const other = new EntraSignIn({ authorityUrl: 'http://127.0.0.1:1', clientId: CLIENT, clientSecret: 's' }, http);
    await expect(other.verify(await signed(good, ours, 'k2'), 'n-1')).rejects.toMatchObject({ code: 'azure.sign_in_refused' });
  });

  it('is asked for with PKCE, state and nonce, and with the choice of an account where wished', async () => {
    const first = new URL((await signIn.begin('https://b.example/cb', false)).url);
    expect(first.origin + first.pathname).toBe('http://127.0.0.1:1/common/oauth2/v2.0/authorize');
    expect(Object.fromEntries(first.searchParams)).toMatchObject({
      response_type: 'code',
      code_challenge_method: 'S256',
      client_id: CLIENT,
    });
    expect(first.searchParams.has('prompt')).toBe(false);
    const second = await signIn.begin('https://b.example/cb', true);
    expect(new URL(second.url).searchParams.get('prompt')).toBe('select_account');
    expect(new URL(second.url).searchParams.get('nonce')).toBe(second.secrets.nonce);
    expect(second.url).not.toContain(second.secrets.verifier);
  });
});
