import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type CryptoKey, type JWK } from 'jose';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { MarketplaceBusy } from '#marketplaces/core';
import { type HttpRequest, type HttpResponse, HttpTransportError } from '#platform';
import { verifyInbound } from './inbound.js';
import { azureSettingsSchema, MARKETPLACE_APP_ID } from './settings.js';
import { SigningKeys } from './signing-keys.js';

const TENANT = '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90';
const CLIENT = 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68';
const OTHER = '00000000-dead-4000-8000-00000000beef';
const settings = azureSettingsSchema.parse({ tenantId: TENANT, clientId: CLIENT, clientSecret: 'x' });
const operation = {
  id: '11111111-2222-4333-8444-555555555555',
  subscriptionId: '8f0c1c2e-0000-4000-8000-000000000001',
  action: 'ChangePlan',
  status: 'InProgress',
  operationRequestSource: 'Azure',
};

let ours: { privateKey: CryptoKey; publicKey: CryptoKey };
let stranger: { privateKey: CryptoKey; publicKey: CryptoKey };
let jwk: JWK;
beforeAll(async () => {
  ours = await generateKeyPair('RS256', { extractable: true });
  stranger = await generateKeyPair('RS256');
  jwk = { ...(await exportJWK(ours.publicKey)), kid: 'k1', use: 'sig' };
});

/** Entra's key list; counts how often it is asked. */
class KeyList {
  asked: string[] = [];
  down = false;
  keys: unknown[] = [];
  async request(r: HttpRequest): Promise<HttpResponse> {
    this.asked.push(r.url);
    if (this.down) throw new HttpTransportError('ECONNREFUSED', 'no', false);
    return { status: 200, headers: {}, text: JSON.stringify({ keys: this.keys }) };
  }
}

describe('a webhook', () => {
  let list: KeyList;
  let keys: SigningKeys;
  let nowMs: number;
  beforeEach(() => {
    list = new KeyList();
    list.keys = [{ kty: 'EC', kid: 'k1' }, jwk];
    nowMs = 1_000_000_000_000;
    keys = new SigningKeys(settings, list, () => nowMs);
  });

  const seconds = (): number => Math.floor(Date.now() / 1000);
  const claims = (change: Record<string, unknown> = {}): Record<string, unknown> => ({
    iss: `https://sts.windows.net/${TENANT}/`,
    aud: CLIENT,
    tid: TENANT,
    appid: MARKETPLACE_APP_ID,
    nbf: seconds(),
    exp: seconds() + 3600,
    ...change,
  });
  const token = (change: Record<string, unknown> = {}, key: CryptoKey = ours.privateKey, kid: string | undefined = 'k1'): Promise<string> =>
    new SignJWT(JSON.parse(JSON.stringify(claims(change))) as Record<string, unknown>)
      .setProtectedHeader({ alg: 'RS256', ...(kid ? { kid } : {}) })
      .sign(key);
  const verify = (bearer: string | null, body: unknown = operation) =>
    verifyInbound(
      {
        headers: bearer === null ? {} : { Authorization: `Bearer ${bearer}` },
        query: {},
        body: typeof body === 'string' ? body : JSON.stringify(body),
      },
      settings,
      keys,
    );

  it('with a token of either version is taken [AZ-02]', async () => {
    const v2 = { iss: `https://login.microsoftonline.com/${TENANT}/v2.0`, appid: undefined, azp: MARKETPLACE_APP_ID };
    for (const change of [{}, v2]) {
      expect(await verify(await token(change))).toEqual({
        ok: true,
        source: 'azure.webhook',
        naturalKey: operation.id,
        principal: `entra:${MARKETPLACE_APP_ID}`,
        externalSubscriptionId: operation.subscriptionId,
        decisionWanted: true,
      });
    }
    expect(list.asked).toEqual([`https://login.microsoftonline.com/${TENANT}/discovery/v2.0/keys`]);
  });

  it('names the purchase, in one spelling: its messages share a lane [AZ-96]', async () => {
    const told = { ...operation, subscriptionId: operation.subscriptionId.toUpperCase(), action: 'Suspend' };
    expect(await verify(await token(), told)).toMatchObject({ ok: true, externalSubscriptionId: operation.subscriptionId });
  });

  it.each([
    ['another audience', { aud: OTHER }],
    ['two audiences', { aud: [CLIENT, OTHER] }],
    ['another tenant', { tid: OTHER }],
    ['no tenant', { tid: undefined }],
    ['another application', { appid: OTHER }],
    ['another application beside a right azp', { appid: OTHER, azp: MARKETPLACE_APP_ID }],
    ['no application', { appid: undefined }],
    ['an empty application beside a right azp', { appid: '', azp: MARKETPLACE_APP_ID }],
    ["the issuer of another tenant's tokens", { iss: `https://sts.windows.net/${OTHER}/` }],
    ['an issuer that is not Entra', { iss: 'https://evil.example/' }],
  ])('with %s is forbidden [AZ-01]', async (_, change) => {
    expect(await verify(await token(change))).toMatchObject({ ok: false, status: 403, code: 'azure.token_not_for_us' });
  });

  it.each<[string, () => Promise<string | null>]>([
    ['no token', async () => null],
    ['a word', async () => 'x'],
    ['three words', async () => 'a.b.c'],
    ["a stranger's key", () => token({}, stranger.privateKey)],
    ['a key id that Entra does not list', () => token({}, ours.privateKey, 'other')],
    ['no key id', () => token({}, ours.privateKey, '')],
    ['an end that is past', () => token({ exp: seconds() - 61 })],
    ['no end', () => token({ exp: undefined })],
    ['a beginning that is to come', () => token({ nbf: seconds() + 120 })],
    ['no issuer', () => token({ iss: undefined })],
    ['the algorithm none', async () => new UnsecuredJWT(claims()).encode()],
    [
      'HS256 with the public key as its secret',
      () => new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode(JSON.stringify(jwk))),
    ],
    [
      'a key of its own in its header',
      async () =>
        new SignJWT(claims())
          .setProtectedHeader({ alg: 'RS256', kid: 'mine', jwk: await exportJWK(ours.publicKey) })
          .sign(stranger.privateKey),
    ],
  ])('with %s is not believed [AZ-01]', async (_, made) => {
    expect(await verify(await made())).toMatchObject({ ok: false, status: 401 });
  });

  it('of another algorithm is refused for that, before any key is looked for [AZ-01]', async () => {
    for (const bearer of [
      `${new UnsecuredJWT(claims()).encode()}AAAA`,
      await new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode(JSON.stringify(jwk))),
    ])
      expect(await verify(bearer)).toMatchObject({ detail: 'only RS256 is taken' });
    expect(list.asked).toEqual([]);
  });

  it('may be off by a minute of real time [AZ-01]', async () => {
    expect(await verify(await token({ exp: seconds() - 30, nbf: seconds() - 3_600 }))).toMatchObject({ ok: true });
    expect(await verify(await token({ nbf: seconds() + 30 }))).toMatchObject({ ok: true });
  });

  it('must be an object that names a subscription and an action, and no more [AZ-05]', async () => {
    const bearer = await token();
    const { subscriptionId } = operation;
    expect(await verify(bearer, { subscriptionId, operationType: 'Reinstate' })).toMatchObject({
      ok: true,
      naturalKey: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      decisionWanted: false,
    });
    for (const body of ['null', '[]', '"x"', {}, { subscriptionId }, { action: 'Renew' }, { subscriptionId: '', action: 'Renew' }])
      expect(await verify(bearer, body), JSON.stringify(body)).toMatchObject({ ok: false, status: 400 });
    // From a genuine sender it came broken: a 4xx would refuse the change, so the whole one comes again (contract azure §4).
    for (const body of ['', 'x', JSON.stringify(operation).slice(0, -2)])
      expect(await verify(bearer, body), body).toMatchObject({ ok: false, status: 503, code: 'azure.body_not_json' });
    expect(await verify(bearer, { ...operation, filler: 'x'.repeat(256 * 1024) })).toMatchObject({ ok: false, status: 413 });
  });

  it('wants a decision only for a change that others asked for and that is open [AZ-06]', async () => {
    const wanted = async (change: Record<string, unknown>): Promise<boolean> => {
      const verdict = await verify(await token(), { ...operation, ...change });
      return verdict.ok && verdict.decisionWanted;
    };
    expect(await Promise.all([{}, { action: 'changequantity' }, { status: undefined }].map(wanted))).toEqual([true, true, true]);
    expect(
      await Promise.all(
        [
          { operationRequestSource: 'Partner' },
          { operationRequestSource: undefined, operationRequestedSource: 'Partner' },
          { status: 'Succeeded' },
          { action: 'Suspend' },
          { action: 'Transfer' },
        ].map(wanted),
      ),
    ).toEqual(Array(5).fill(false));
  });

  it('with unknown key ids asks for keys once a minute, however many come [AZ-03]', async () => {
    await verify(await token());
    const forged = await token({}, stranger.privateKey, 'forged');
    nowMs += 61_000;
    await Promise.all(Array.from({ length: 20 }, () => verify(forged)));
    await verify(forged);
    expect(list.asked).toHaveLength(2);
    list.keys = [{ ...jwk, kid: 'k2' }];
    nowMs += 61_000;
    expect(await verify(await token({}, ours.privateKey, 'k2'))).toMatchObject({ ok: true });
    expect(await verify(await token())).toMatchObject({ ok: false, status: 401 });
    expect(list.asked).toHaveLength(3);
  });

  it('of a key made a moment after the list was read is not refused, and taken when it comes again [AZ-91]', async () => {
    await verify(await token());
    list.keys = [jwk, { ...jwk, kid: 'just-made' }];
    nowMs += 1_000;
    const genuine = await token({}, ours.privateKey, 'just-made');
    await expect(verify(genuine)).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(list.asked).toHaveLength(1);
    nowMs += 60_000;
    expect(await verify(genuine)).toMatchObject({ ok: true });
    // Asked for and not there: no more doubt until the next list.
    nowMs += 61_000;
    const forged = await token({}, stranger.privateKey, 'forged');
    expect(await verify(forged)).toMatchObject({ ok: false, status: 401 });
    expect(await verify(forged)).toMatchObject({ ok: false, status: 401 });
  });

  it('is neither taken nor refused while the keys cannot be had [AZ-04]', async () => {
    list.down = true;
    const genuine = await token();
    await expect(verify(genuine)).rejects.toBeInstanceOf(MarketplaceBusy);
    await expect(verify(genuine)).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(list.asked).toHaveLength(1);
    list.down = false;
    nowMs += 5_001;
    expect(await verify(genuine)).toMatchObject({ ok: true });
    list.down = true;
    nowMs += 2 * 3_600_000;
    expect(await verify(genuine), 'known keys serve on').toMatchObject({ ok: true });
    nowMs += 24 * 3_600_000;
    await expect(verify(genuine)).rejects.toBeInstanceOf(MarketplaceBusy);
  });
});
