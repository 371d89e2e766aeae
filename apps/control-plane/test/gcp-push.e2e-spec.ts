import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

const PROVIDER = 'harbor-storage-public';
const AUDIENCE = 'https://berth.example/webhooks/gcp/pubsub';
const ACCOUNT = 'marketplace-push@harbor-storage-public.iam.gserviceaccount.com';

/** Google pushes: nothing is pulled. */
class PushedHouse extends House {
  override environment(): Record<string, string> {
    return {
      ...super.environment(),
      GCP_PROVIDER_ID: PROVIDER,
      GCP_PROJECT_ID: PROVIDER,
      GCP_SUBSCRIPTION: 'berth-marketplace',
      GCP_SERVICE_NAME: 'object-cells.endpoints.harbor-storage-public.cloud.goog',
      GCP_AUDIENCES: 'harbor-storage.example',
      GCP_PUBSUB_ENDPOINT: String(this.sandbox.banner['pubsub']),
      GCP_PUSH_AUDIENCE: AUDIENCE,
      GCP_PUSH_SERVICE_ACCOUNT: ACCOUNT,
    };
  }
}

const house = new PushedHouse();
let entitlementId = '';
beforeAll(async () => {
  await house.start();
  await house.call('PUT', `${house.sandbox.url}/sandbox/settings`, {
    gcp: { pushEndpoint: `${house.controlPlane.url}/webhooks/gcp/pubsub`, pushAudience: AUDIENCE, pushServiceAccount: ACCOUNT },
  });
  entitlementId = String((await house.shop('POST', '/gcp/purchases', { planId: 'standard' })).json['entitlementId']);
}, 60_000);
afterAll(() => house.stop(), 30_000);

const stored = async (): Promise<Record<string, unknown>[]> =>
  (await house.api('GET', '/inbound-events?limit=200')).json.items!.filter((i) => i['source'] === 'gcp.pubsub');
const cancelled = (eventId: string): Record<string, unknown> => ({
  eventId,
  eventType: 'ENTITLEMENT_CANCELLED',
  providerId: PROVIDER,
  entitlement: { id: entitlementId, updateTime: new Date().toISOString() },
});

describe('Pub/Sub by push', () => {
  it('brings a purchase here, each message once [GC-42]', async () => {
    const sub = await until(
      () => house.subscriptionOf(entitlementId),
      (s) => s !== undefined,
    );
    expect(sub).toMatchObject({ marketplace: 'gcp', state: 'pending_fulfillment' });
    const rows = await until(stored, (all) => all.length === 2 && all.every((i) => i['state'] === 'processed'));
    expect(rows.map((i) => i['principal'])).toEqual([`oidc:${ACCOUNT}`, `oidc:${ACCOUNT}`]);
    expect(new Set(rows.map((i) => i['naturalKey'])).size).toBe(2);
  });

  it.each([
    'no_token',
    'wrong_key',
    'alg_none',
    'hs256',
    'wrong_iss',
    'wrong_aud',
    'foreign_account',
    'unverified_email',
    'expired',
    'future',
    'too_long',
  ])('that is forged (%s) is refused with 401, kept apart, and changes nothing [GC-41]', async (forge) => {
    const before = JSON.stringify([await house.subscriptionOf(entitlementId), (await stored()).length]);
    const answer = await house.shop('POST', '/gcp/pushes', { body: cancelled(randomUUID()), forge });
    expect(answer.json['status']).toBe(401);
    expect(String(answer.json['body'])).toContain('gcp.push_token_');
    expect((await house.api('GET', '/refused-events?limit=1')).json.items![0]).toMatchObject({ source: 'gcp.webhook' });
    expect(JSON.stringify([await house.subscriptionOf(entitlementId), (await stored()).length])).toBe(before);
  });

  it('that is replayed is stored once, and a genuine one that is not so is not believed', async () => {
    const body = cancelled(randomUUID());
    const before = (await stored()).length;
    for (let i = 0; i < 3; i += 1) expect((await house.shop('POST', '/gcp/pushes', { body })).json['status']).toBe(200);
    const rows = await until(stored, (all) => all.every((i) => i['state'] !== 'received'));
    expect(rows).toHaveLength(before + 1);
    expect(await house.subscriptionOf(entitlementId)).toMatchObject({ state: 'pending_fulfillment' });
  });
});
