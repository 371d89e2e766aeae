import { SignJWT, UnsecuredJWT } from 'jose';
import type { KeyObject } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import type { InboundVerdict } from '#marketplaces/core';
import { type HttpRequest, type HttpResponse, HttpTransportError } from '#platform';
import { certifiedKey } from '../test/support/certificate.js';
import { naturalKeyOf, notificationOf } from './message.js';
import { envelopeOf, verifyPush } from './push.js';
import { SigningKeys } from './signing-keys.js';

const { privateKey: google, certificate } = certifiedKey();
const { privateKey: stranger } = certifiedKey();
const AUDIENCE = 'https://cp.example/webhooks/gcp/pubsub';
const ACCOUNT = 'push@acme-public.iam.gserviceaccount.com';
const EVENT = '{"eventId":"e-1","eventType":"ENTITLEMENT_ACTIVE","providerId":"acme-public","entitlement":{"id":"E-1"}}';

const envelope = (text = EVENT, extra: Record<string, unknown> = {}): string =>
  JSON.stringify({
    message: { data: Buffer.from(text).toString('base64'), messageId: '1', message_id: '1', attributes: {} },
    subscription: 'projects/acme-public/subscriptions/mp-push',
    ...extra,
  });

class Certificates {
  down = false;
  async request(r: HttpRequest): Promise<HttpResponse> {
    if (this.down) throw new HttpTransportError('ECONNREFUSED', 'no', false);
    expect(r.url).toBe('https://keys.example/certs');
    return { status: 200, headers: {}, text: JSON.stringify({ k1: certificate }) };
  }
}

describe('a push of Pub/Sub (contract gcp §3, "Pull vs push")', () => {
  let list: Certificates;
  let keys: SigningKeys;
  beforeEach(() => {
    list = new Certificates();
    keys = new SigningKeys('https://keys.example/certs', list);
  });
  const seconds = (): number => Math.floor(Date.now() / 1000);
  const claims = (change: Record<string, unknown> = {}): Record<string, unknown> =>
    JSON.parse(
      JSON.stringify({
        aud: AUDIENCE,
        azp: '113',
        email: ACCOUNT,
        email_verified: true,
        iss: 'https://accounts.google.com',
        sub: '113',
        iat: seconds(),
        exp: seconds() + 3_600,
        ...change,
      }),
    ) as Record<string, unknown>;
  const token = (change: Record<string, unknown> = {}, key: KeyObject = google, kid = 'k1'): Promise<string> =>
    new SignJWT(claims(change)).setProtectedHeader({ alg: 'RS256', kid }).sign(key);
  const verify = (bearer: string | null, body = envelope()): Promise<InboundVerdict> =>
    verifyPush(
      { headers: bearer === null ? {} : { Authorization: `Bearer ${bearer}` }, query: {}, body },
      { subscription: 'mp-push' },
      { audience: AUDIENCE, serviceAccount: ACCOUNT },
      keys,
    );

  it('that is genuine has the key of the pulled message and the lane of its purchase [GC-42]', async () => {
    expect(await verify(await token())).toEqual({
      ok: true,
      source: 'gcp.pubsub',
      naturalKey: naturalKeyOf(notificationOf(EVENT), Buffer.from(EVENT)),
      principal: `oidc:${ACCOUNT}`,
      decisionWanted: false,
      externalSubscriptionId: 'E-1',
    });
  });

  const refused: [string, () => Promise<string> | string | null, string][] = [
    ['no token', () => null, 'gcp.push_token_missing'],
    ['a foreign service account', () => token({ email: 'push@stranger.iam.gserviceaccount.com' }), 'gcp.push_token_invalid'],
    ['no account', () => token({ email: undefined }), 'gcp.push_token_invalid'],
    ['an e-mail that is not verified', () => token({ email_verified: false }), 'gcp.push_token_invalid'],
    ['an e-mail that is verified only as a word', () => token({ email_verified: 'true' }), 'gcp.push_token_invalid'],
    ['another audience', () => token({ aud: 'https://other.example' }), 'gcp.push_token_invalid'],
    ['our audience with a slash more', () => token({ aud: `${AUDIENCE}/` }), 'gcp.push_token_invalid'],
    ['our audience among others', () => token({ aud: [AUDIENCE, 'https://other.example'] }), 'gcp.push_token_invalid'],
    ['another issuer', () => token({ iss: 'https://accounts.stranger.example' }), 'gcp.push_token_invalid'],
    ['another key under our id', () => token({}, stranger), 'gcp.push_token_invalid'],
    ['an unknown key id', () => token({}, google, 'k2'), 'gcp.push_token_invalid'],
    ['no signature', () => new UnsecuredJWT(claims()).encode().replace(/\.$/, '.AA'), 'gcp.push_token_invalid'],
    [
      'HS256 with our certificate as secret',
      () => new SignJWT(claims()).setProtectedHeader({ alg: 'HS256', kid: 'k1' }).sign(new TextEncoder().encode(certificate)),
      'gcp.push_token_invalid',
    ],
    ['an end long ago', () => token({ iat: seconds() - 7_200, exp: seconds() - 3_600 }), 'gcp.push_token_expired'],
    ['a beginning in the future', () => token({ iat: seconds() + 600, exp: seconds() + 4_200 }), 'gcp.push_token_invalid'],
    ['a day to live', () => token({ exp: seconds() + 86_400 }), 'gcp.push_token_invalid'],
  ];
  it.each(refused)('with %s is refused with 401 [GC-41]', async (_what, bearer, code) => {
    expect(await verify(await bearer())).toMatchObject({ ok: false, status: 401, code });
  });

  it('of another subscription, or that is no envelope, is refused', async () => {
    const bearer = await token();
    expect(await verify(bearer, envelope(EVENT, { subscription: 'projects/x/subscriptions/other' }))).toMatchObject({ status: 403 });
    for (const body of ['', '[]', '{}', '{"message":{"data":"%%%%"}}', '{"message":{"data":7}}'])
      expect(await verify(bearer, body), body).toMatchObject({ ok: false, status: 400, code: 'gcp.push_body_invalid' });
  });

  it('is neither taken nor refused while the keys cannot be had: it comes again', async () => {
    list.down = true;
    await expect(verify(await token())).rejects.toMatchObject({ name: 'Error', outcome: 'refused' });
  });

  it('without data is a message of no bytes', () => {
    expect(envelopeOf('{"message":{"message_id":"9"}}')).toMatchObject({ messageId: '9', subscription: null, data: Buffer.alloc(0) });
  });
});
