import { decodeJwt, decodeProtectedHeader, importX509, jwtVerify } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type GcpWire, startGcp, SUBSCRIPTION } from './support/gcp-harness.js';
import { call, eventually } from './support/harness.js';
import { Receiver, type Received } from './support/receiver.js';

const ACCOUNT = 'marketplace-push@harbor-storage-public.iam.gserviceaccount.com';
let gcp: GcpWire & { stop(): Promise<void> };
let receiver: Receiver;
let endpoint = '';
beforeAll(async () => {
  receiver = new Receiver();
  endpoint = `${await receiver.start()}/push`;
  gcp = await startGcp();
  await gcp.settings({ pushEndpoint: endpoint });
});
afterEach(() => {
  receiver.answering = () => ({ status: 200 });
});
afterAll(async () => {
  await gcp.stop();
  await receiver.stop();
});

const told = (one: Received): any => JSON.parse(Buffer.from(one.body.message.data, 'base64').toString());
const tokenOf = (one: Received): string => (one.headers.authorization ?? '').replace('Bearer ', '');
const of = (entitlementId: string): Received[] => receiver.received.filter((one) => told(one).entitlement?.id === entitlementId);

describe('a subscription that pushes (contract gcp §3, "Pull vs push")', () => {
  it('posts the wrapped message in both spellings, signed with a key that is published', async () => {
    const { entitlementId } = await gcp.buy();
    const [one] = await eventually(() => of(entitlementId).length > 0 && of(entitlementId));
    const { message, subscription } = one!.body;
    expect([subscription, message.messageId, message.publishTime]).toEqual([SUBSCRIPTION, message.message_id, message.publish_time]);
    const certificates = (await call(`${gcp.running.url}/gcp/oauth2/v1/certs`)).json as Record<string, string>;
    const { kid } = decodeProtectedHeader(tokenOf(one!));
    const { payload } = await jwtVerify(tokenOf(one!), await importX509(certificates[kid!]!, 'RS256'));
    expect(payload).toMatchObject({ iss: 'https://accounts.google.com', aud: endpoint, email: ACCOUNT, email_verified: true });
    expect(payload.exp! - payload.iat!).toBe(3_600);
  });

  it('sends again until it is answered with 200, 201, 202, 204 or 102', async () => {
    const answers = [500, 403, 204];
    const seen: string[] = [];
    receiver.answering = (one) => {
      if (told(one).eventType !== 'ENTITLEMENT_CREATION_REQUESTED') return { status: 200 };
      seen.push(one.body.message.messageId);
      return { status: answers[seen.length - 1] ?? 200 };
    };
    await gcp.buy();
    await eventually(() => seen.length === 3);
    expect(new Set(seen).size).toBe(1);
    // A later message shows that the acknowledged one is not coming again.
    const next = await gcp.buy();
    await eventually(() => of(next.entitlementId).length > 0);
    expect(seen.filter((id) => id === seen[0])).toHaveLength(3);
  });

  it('pushes anything on request, with a token that is wrong in one way', async () => {
    const claimsOf = async (forge: string): Promise<any> => {
      expect((await gcp.control('/pushes', { body: { eventType: forge }, forge })).json).toMatchObject({ status: 200 });
      const one = receiver.received.find((r) => told(r).eventType === forge)!;
      return tokenOf(one) === '' ? null : { ...decodeJwt(tokenOf(one)), alg: decodeProtectedHeader(tokenOf(one)).alg };
    };
    const now = Date.now() / 1000;
    expect(await claimsOf('no_token')).toBeNull();
    expect(await claimsOf('alg_none')).toMatchObject({ alg: 'none' });
    expect(await claimsOf('hs256')).toMatchObject({ alg: 'HS256' });
    expect(await claimsOf('wrong_aud')).not.toMatchObject({ aud: endpoint });
    expect(await claimsOf('foreign_account')).not.toMatchObject({ email: ACCOUNT });
    expect(await claimsOf('unverified_email')).toMatchObject({ email: ACCOUNT, email_verified: false });
    expect((await claimsOf('expired')).exp).toBeLessThan(now);
    expect((await claimsOf('future')).iat).toBeGreaterThan(now + 600);
  });

  it('is pulled from again once the endpoint is taken away', async () => {
    const before = receiver.received.length;
    await gcp.running.control('/settings', { method: 'PUT', body: { gcp: { pushEndpoint: null } } });
    const { entitlementId } = await gcp.buy();
    await gcp.running.advance(1);
    expect([of(entitlementId), receiver.received.length]).toEqual([[], before]);
  });
});
