import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey } from 'jose';
import type { KeyObject } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { type HttpRequest, type HttpResponse, HttpTransportError, type Logger } from '#platform';
import { certifiedKey } from '../test/support/certificate.js';
import { SIGN_UP_ISSUER } from './settings.js';
import { ordersOf, verifySignUp } from './sign-up-token.js';
import { SigningKeys } from './signing-keys.js';

const ACCOUNT = 'eda2a6ce-2e2d-44ff-985f-37e6c51af7d1';
const { privateKey: ours, certificate: CERTIFICATE } = certifiedKey();
const { privateKey: stranger } = certifiedKey();
const settings = { audiences: ['berth.example', 'apex.example'], signUpKeysUrl: 'https://keys.example/x509' };

/** The certificates as served; counts how often it is asked. */
class CertificateList {
  asked: string[] = [];
  down = false;
  certificates: Record<string, unknown> = { k1: CERTIFICATE, broken: 'x' };
  headers: Record<string, string> = {};
  async request(r: HttpRequest): Promise<HttpResponse> {
    this.asked.push(r.url);
    if (this.down) throw new HttpTransportError('ECONNREFUSED', 'no', false);
    return { status: 200, headers: this.headers, text: JSON.stringify(this.certificates) };
  }
}

describe('a sign-up token', () => {
  let list: CertificateList;
  let keys: SigningKeys;
  let nowMs: number;
  beforeEach(() => {
    list = new CertificateList();
    nowMs = 1_000_000_000_000;
    keys = new SigningKeys(settings.signUpKeysUrl, list, () => nowMs);
  });

  const seconds = (): number => Math.floor(Date.now() / 1000);
  const claims = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
    iss: SIGN_UP_ISSUER,
    aud: 'berth.example',
    sub: ACCOUNT,
    iat: seconds(),
    exp: seconds() + 300,
    google: { user_identity: 'u-1', roles: ['x'], orders: ['o-1'] },
    ...change,
  });
  const token = (
    change: Record<string, unknown> = {},
    key: CryptoKey | KeyObject = ours,
    kid: string | undefined = 'k1',
  ): Promise<string> =>
    new SignJWT(JSON.parse(JSON.stringify(claims(change))) as Record<string, unknown>)
      .setProtectedHeader({ alg: 'RS256', ...(kid ? { kid } : {}) })
      .sign(key);
  const verify = (text: string, logger?: Logger) => verifySignUp(text, settings, keys, logger);

  it('that is genuine speaks for its account', async () => {
    expect(await verify(await token())).toEqual({ ok: true, signUp: { accountId: ACCOUNT, userIdentity: 'u-1', orders: ['o-1'] } });
    expect(await verify(await token({ google: undefined, aud: ['x', 'apex.example'] }))).toMatchObject({
      ok: true,
      signUp: { userIdentity: null, orders: [] },
    });
    expect(list.asked).toEqual([settings.signUpKeysUrl]);
  });

  it('with any wrong claim or signature is refused [GC-01, GC-03]', async () => {
    const invalid = [
      'x',
      'a.b.c',
      await token({}, stranger),
      await token({}, ours, 'other'),
      await token({}, ours, ''),
      await token({}, ours, 'broken'),
      await token({ iss: 'https://evil.example/' }),
      await token({ iss: undefined }),
      await token({ sub: '' }),
      await token({ sub: undefined }),
      await token({ sub: 'a b' }),
      await token({ exp: undefined }),
      await token({ iat: undefined }),
      await token({ exp: seconds() + 301 }),
      await token({ iat: seconds() + 60, exp: seconds() + 200 }),
      new UnsecuredJWT(claims()).encode(),
      await new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode(CERTIFICATE)),
      await new SignJWT(claims()).setProtectedHeader({ alg: 'RS384', kid: 'k1' }).sign((await generateKeyPair('RS384')).privateKey),
      await new SignJWT(claims())
        .setProtectedHeader({ alg: 'RS256', kid: 'mine', jwk: await exportJWK((await generateKeyPair('RS256')).publicKey) })
        .sign(stranger),
    ];
    for (const [i, text] of invalid.entries()) {
      // So that each unknown key id is asked for.
      nowMs += 61_000;
      expect(await verify(text), String(i)).toMatchObject({ ok: false, code: 'landing.token_invalid' });
    }
    expect(await verify(await token({ iat: seconds() - 400, exp: seconds() - 100 }))).toMatchObject({
      ok: false,
      code: 'landing.token_expired',
    });
  });

  it('may be off by half a minute of real time [GC-02]', async () => {
    expect(await verify(await token({ iat: seconds() - 320, exp: seconds() - 20 }))).toMatchObject({ ok: true });
    expect(await verify(await token({ iat: seconds() + 20, exp: seconds() + 320 }))).toMatchObject({ ok: true });
  });

  it('for another address is not for us, and the address is logged but never the token [GC-04]', async () => {
    const logged: unknown[] = [];
    const text = await token({ aud: 'elsewhere.example' });
    expect(await verify(text, { warn: (...args: unknown[]) => logged.push(args) } as unknown as Logger)).toMatchObject({
      ok: false,
      code: 'landing.not_for_us',
    });
    expect(JSON.stringify(logged)).toContain('elsewhere.example');
    expect(JSON.stringify(logged)).not.toContain(text.slice(0, 20));
    expect(JSON.stringify(logged)).not.toContain(ACCOUNT);
  });

  it('names its orders in either place, as texts or objects [GC-06]', () => {
    expect(
      ordersOf({
        google: { orders: ['a', { orderId: 'b' }, { name: 'providers/p/entitlements/c' }] },
        orders: ['a', { id: 'd' }, 7, null],
      }),
    ).toEqual(['a', 'b', 'c', 'd']);
    expect(ordersOf({ google: 'x', orders: 'y' })).toEqual([]);
  });

  it('with an unknown key id asks for certificates once a minute, however many come [GC-05]', async () => {
    await verify(await token());
    const forged = await token({}, stranger, 'forged');
    nowMs += 61_000;
    await Promise.all(Array.from({ length: 20 }, () => verify(forged)));
    await verify(forged);
    expect(list.asked).toHaveLength(2);
    list.certificates = { k2: CERTIFICATE };
    nowMs += 61_000;
    expect(await verify(await token({}, ours, 'k2'))).toMatchObject({ ok: true });
    expect(await verify(await token())).toMatchObject({ ok: false });
    expect(list.asked).toHaveLength(3);
  });

  it('of a key made a moment after the certificates were read is not refused, and taken when it comes again [GC-59]', async () => {
    await verify(await token());
    list.certificates = { ...list.certificates, 'just-made': CERTIFICATE };
    nowMs += 1_000;
    const genuine = await token({}, ours, 'just-made');
    await expect(verify(genuine)).rejects.toThrow(/not known yet/);
    nowMs += 60_000;
    expect(await verify(genuine)).toMatchObject({ ok: true });
  });

  it('is neither taken nor refused while the certificates cannot be had', async () => {
    list.down = true;
    const text = await token();
    await expect(verify(text)).rejects.toThrow(/could not be fetched/);
    list.down = false;
    list.headers = { 'cache-control': 'public, max-age=7200, must-revalidate' };
    nowMs += 5_001;
    expect(await verify(text)).toMatchObject({ ok: true });
    nowMs += 7_100_000;
    expect(await verify(text)).toMatchObject({ ok: true });
    expect(list.asked, 'max-age is kept').toHaveLength(2);
    nowMs += 200_000;
    await verify(text);
    expect(list.asked).toHaveLength(3);
  });
});
