import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential, type ContainerClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

interface Served {
  externalId: string;
  sessionId: string;
  placementId: string;
  apiKey: string;
  container: ContainerClient;
}

describe('a buyer whose purchase has ended', () => {
  let house: House;
  beforeAll(async () => {
    house = await new House().start();
  }, 60_000);
  afterAll(() => house?.stop());

  /** A purchase that serves, with the buyer's own way to its data. */
  async function served(name: string): Promise<Served> {
    const { externalId, sessionId } = await house.buy(name);
    const ready = await house.land(sessionId, name);
    const { url, accountName, keys } = ready.json['endpoint'] as { url: string; accountName: string; keys: { secret: string }[] };
    const service = new BlobServiceClient(url, new StorageSharedKeyCredential(accountName, keys[0]!.secret), {
      retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1 },
    });
    const { tenantId } = await house.subscriptionOf(externalId);
    const apiKey = String((await house.api('POST', `/tenants/${String(tenantId)}/keys`, { name: 'programs' })).json['key']);
    const [own] = (await house.api('GET', '/placements', undefined, apiKey)).json.items!;
    return { externalId, sessionId, placementId: String(own!['id']), apiKey, container: service.getContainerClient('papers') };
  }
  const placement = async (of: Served): Promise<Record<string, unknown>> =>
    (await house.api('GET', `/placements/${of.placementId}`, undefined, of.apiKey)).json;
  const reached = (of: Served, phase: string): Promise<Record<string, unknown>> =>
    until(
      () => placement(of),
      (p) => p['phase'] === phase && (phase !== 'ended' || p['export'] !== null),
    );
  const days = async (n: number): Promise<void> => {
    for (let day = 0; day < n; day += 1) await house.shop('POST', '/clock/advance', { seconds: 86_400, stepSeconds: 21_600 });
  };
  const findings = async (): Promise<Record<string, unknown>[]> =>
    (await house.list('findings')).filter((f) => f['kind'] === 'export_unconfirmed');
  const WHY = { reason: 'He asked us by mail' };

  it('gets at his data once more, and nothing of it goes before he or an operator says so', async () => {
    const [one, empty] = [await served('Winter papers'), await served('Never used')];
    await one.container.create();
    await one.container.getBlockBlobClient('letter').upload('Dear Ada', 8);
    for (const { externalId } of [one, empty]) await house.shop('POST', `/azure/subscriptions/${externalId}/unsubscribe`, {});
    expect(await reached(one, 'ended')).toMatchObject({
      export: { state: 'open', storedBytes: '8', by: 'control plane', holdUntil: expect.any(String) },
    });
    expect(await reached(empty, 'ended')).toMatchObject({ export: { state: 'not_needed', storedBytes: '0' } });
    await expect(one.container.getBlockBlobClient('letter').downloadToBuffer()).rejects.toMatchObject({ statusCode: 403 });
    const session = await house.session(one.sessionId);
    expect(session.json).toMatchObject({ state: 'ended', endpoint: null, keptData: { export: 'open', readableUntil: null } });

    const path = `/placements/${one.placementId}/export`;
    expect(await house.api('POST', `${path}/access`, { ...WHY, hours: 24 }, one.apiKey)).toMatchObject({ status: 403 });
    expect(await house.api('POST', `${path}/waive`, WHY, one.apiKey)).toMatchObject({ status: 403 });
    expect(await house.api('POST', `${path}/confirm`, WHY, empty.apiKey)).toMatchObject({ status: 404 });
    expect(await house.api('POST', `${path}/confirm`, {}, one.apiKey)).toMatchObject({ status: 400, json: { code: 'request.invalid' } });
    expect(await house.api('POST', `${path}/access`, { ...WHY, hours: 24 })).toMatchObject({
      status: 202,
      json: { phase: 'exporting', export: { state: 'open', reason: WHY.reason, accessUntil: expect.any(String) } },
    });
    const letter = one.container.getBlockBlobClient('letter');
    await until(
      () => letter.downloadToBuffer().then(String, () => 'no'),
      (text) => text === 'Dear Ada',
    );
    await expect(letter.upload('Dear Ada, again', 15)).rejects.toMatchObject({ statusCode: 409, code: 'QuotaExceeded' });
    expect((await house.session(one.sessionId)).json).toMatchObject({
      state: 'ended',
      endpoint: { accountName: expect.any(String) },
      keptData: { readableUntil: expect.any(String) },
    });

    // The retention is over: what is empty has gone; the other was shut again by itself, is still there, and waits for a word.
    await days(9);
    await reached(empty, 'purged');
    await reached(one, 'ended');
    expect(await house.api('POST', `/placements/${empty.placementId}/export/confirm`, WHY)).toMatchObject({
      status: 409,
      json: { code: 'placement.in_state' },
    });
    expect(await findings()).toMatchObject([{ settlement: null, evidence: { storedBytes: '8' } }]);
    await expect(letter.downloadToBuffer()).rejects.toMatchObject({ statusCode: 403 });
    expect(await house.api('POST', `${path}/confirm`, { reason: 'We have it all' }, one.apiKey)).toMatchObject({
      status: 200,
      json: { export: { state: 'confirmed', by: expect.stringMatching(/^tenant:/), reason: 'We have it all' } },
    });
    expect((await findings()).map((f) => (f['settlement'] as { kind: string } | null)?.kind)).toEqual(['release']);
    await house.shop('POST', '/clock/advance', { seconds: 7_200, stepSeconds: 3_600 });
    await reached(one, 'purged');
    const subscription = await house.subscriptionOf(one.externalId);
    const { items } = (await house.api('GET', `/subscriptions/${String(subscription['id'])}/timeline?limit=200`)).json;
    expect(items!.filter((e) => e['kind'] === 'export').map((e) => (e['facts'] as { state: string }).state)).toEqual([
      'open',
      'open',
      'open',
      'confirmed',
    ]);
    expect(await house.sql(`select count(*)::int as n from tasks where state = 'parked'`)).toEqual([{ n: 0 }]);
  }, 180_000);
});
