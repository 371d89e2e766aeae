import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

// Without its product ids AWS cannot be listed.
const house = new House({ AWS_PRODUCT_IDS: '' });
const items = async (path: string, key?: string): Promise<Record<string, unknown>[]> =>
  (await house.api('GET', path, undefined, key)).json.items!;
let kept: { externalId: string; sessionId: string };
let foreignId = '';

beforeAll(async () => {
  await house.start();
  await addForeignOffer();
  kept = await house.buy('Winter data');
  await house.land(kept.sessionId, 'Winter Observatory');
  const bought = await house.shop('POST', '/azure/purchases', { offerId: 'other-cells', planId: 'standard', autoActivate: true });
  foreignId = String(bought.json['subscriptionId']);
  await advance(1_200);
}, 120_000);
afterAll(() => house.stop(), 30_000);

/** The same publisher sells something else too: List shows it to every app of his (contract azure §10). */
async function addForeignOffer(): Promise<void> {
  const settings = await house.shop('GET', '/settings');
  const { offers } = settings.json['azure'] as { offers: Record<string, unknown>[] };
  const foreign = { ...offers[0]!, id: 'other-cells', displayName: 'Somebody else’s cells', webhookUrl: 'http://127.0.0.1:9/elsewhere' };
  const put = await house.call('PUT', `${house.sandbox.url}/sandbox/settings`, { azure: { offers: [...offers, foreign] } });
  expect(put.status, put.text).toBe(200);
}

async function advance(seconds: number): Promise<void> {
  const answer = await house.shop('POST', '/clock/advance', { seconds });
  expect(answer.status, answer.text).toBe(200);
}

async function drift(): Promise<Record<string, unknown> & { lines: Record<string, unknown>[] }> {
  const { status, json } = await house.api('POST', '/marketplaces/azure/drift-runs');
  expect(status).toBe(202);
  const done = await until(
    () => house.api('GET', `/marketplaces/azure/drift-runs/${String(json['id'])}`),
    (a) => ['completed', 'failed'].includes(String(a.json['state'])),
  );
  return done.json as never;
}

const changing = async (): Promise<unknown[]> => {
  const { json } = await house.shop('GET', '/calls?marketplace=azure&limit=2000');
  return json.items!.filter((c) => ['activate', 'patch', 'delete', 'patchOperation', 'usageEvent'].includes(String(c['operation'])));
};

describe('drift against a publisher’s whole list', () => {
  it('makes, ends and sends nothing, twice, and leaves the foreign offer alone [AZ-32]', async () => {
    const before = { tenants: await items('/tenants'), subscriptions: await items('/subscriptions'), sent: await changing() };
    const first = await drift();
    expect(first).toMatchObject({ state: 'completed', error: null, counts: { listed: 2, agree: 1, foreign: 1, differ: 0 } });
    const second = await drift();
    expect(second).toMatchObject({ state: 'completed', counts: { listed: 2, agree: 1, foreign: 1, differ: 0 } });
    expect(second['id']).not.toBe(first['id']);
    // Whoever asks, it is a reconciliation: one history of who compared what.
    const recorded = await until(
      async () => (await items('/reconciliations')).filter((r) => r['requestedVia'] === 'api'),
      (runs) => runs.length === 2 && runs.every((r) => r['state'] === 'done'),
      60_000,
    );
    expect(
      recorded.map((r) => (r['comparisons'] as Record<string, unknown>[]).map((s) => [s['kind'], s['marketplace'], s['driftRunId']])),
    ).toEqual([[['subscriptions', 'azure', second['id']]], [['subscriptions', 'azure', first['id']]]]);
    expect({ tenants: await items('/tenants'), subscriptions: await items('/subscriptions'), sent: await changing() }).toEqual(before);
    expect((await items('/findings')).filter((f) => String(f['kind']).startsWith('drift'))).toEqual([]);
    expect(before.subscriptions.some((s) => s['externalSubscriptionId'] === foreignId)).toBe(false);
  });

  it('has the foreign purchase in its journal', async () => {
    const runs = await items('/marketplaces/azure/drift-runs');
    const lines = await Promise.all(
      runs.map(async (run) => (await house.api('GET', `/marketplaces/azure/drift-runs/${String(run['id'])}`)).json['lines']),
    );
    expect(lines.flat()).toContainEqual(
      expect.objectContaining({ externalSubscriptionId: foreignId, verdict: 'foreign', subscriptionId: null }),
    );
  });

  it('applies what a lost message would have told', async () => {
    const lost = await house.buy('Lost and found');
    await house.land(lost.sessionId, 'Summer Observatory');
    await house.call('PUT', `${house.sandbox.url}/sandbox/settings`, { azure: { webhookUrl: 'http://127.0.0.1:9/lost' } });
    expect((await house.shop('POST', `/azure/subscriptions/${lost.externalId}/suspend`)).status).toBe(202);
    await advance(1_200);
    expect(await house.subscriptionOf(lost.externalId)).toMatchObject({ state: 'active' });
    const run = await drift();
    expect(run.lines).toContainEqual(
      expect.objectContaining({ externalSubscriptionId: lost.externalId, verdict: 'applied', differences: ['state'] }),
    );
    expect(await house.subscriptionOf(lost.externalId)).toMatchObject({ state: 'suspended' });
    expect((await items('/findings?kind=drift.state')).length).toBe(1);
    await house.call('PUT', `${house.sandbox.url}/sandbox/settings`, { azure: { webhookUrl: `${house.controlPlane.url}/webhooks/azure` } });
  });

  it('is for operators, of a marketplace that is sold on', async () => {
    expect((await house.api('POST', '/marketplaces/aws/drift-runs')).json).toMatchObject({ code: 'drift.not_listable', status: 409 });
    expect((await house.api('POST', '/marketplaces/nowhere/drift-runs')).json).toMatchObject({
      code: 'marketplace.not_configured',
      status: 404,
    });
    expect((await house.api('GET', '/marketplaces/azure/drift-runs/dri_00000000-0000-4000-8000-000000000000')).json).toMatchObject({
      code: 'drift_run.not_found',
    });
    expect((await house.api('POST', '/marketplaces/azure/drift-runs', undefined, '')).status).toBe(401);
  });
});

describe('a message replayed', () => {
  it('changes nothing new, and is in the audit', async () => {
    const sub = await house.subscriptionOf(kept.externalId);
    expect((await house.shop('POST', `/azure/subscriptions/${kept.externalId}/renew`)).status).toBe(202);
    const event = await until(
      async () =>
        (await items('/inbound-events?limit=200')).find((e) => e['subscriptionId'] === sub['id'] && e['source'] === 'azure.webhook'),
      (e) => e?.['state'] === 'processed',
    );
    const before = await house.subscriptionOf(kept.externalId);
    const segments = await items(`/subscriptions/${String(sub['id'])}/timeline?limit=200`);
    const answer = await house.api('POST', `/inbound-events/${String(event!['id'])}/replay`);
    expect(answer.status, answer.text).toBe(202);
    const again = await until(
      async () => (await items('/inbound-events?limit=200')).find((e) => e['id'] === event!['id']),
      (e) => e?.['state'] === 'processed',
    );
    expect(again!['note']).toBe('nothing new');
    expect(again!['answer']).toEqual(event!['answer']);
    expect(await house.subscriptionOf(kept.externalId)).toMatchObject({
      state: before['state'],
      term: before['term'],
      planId: before['planId'],
    });
    const cut = (entries: Record<string, unknown>[]): unknown[] => entries.filter((e) => e['kind'] === 'segment');
    expect(cut(await items(`/subscriptions/${String(sub['id'])}/timeline?limit=200`))).toEqual(cut(segments));
  });

  it('is refused where it was never verified, where its token is erased and where it is unknown', async () => {
    await house.shop('POST', '/azure/webhooks', {
      body: { id: 'x', subscriptionId: kept.externalId, action: 'Unsubscribe' },
      forge: 'wrong_key',
    });
    const [refused] = await items('/refused-events?limit=1');
    expect((await house.api('POST', `/inbound-events/${String(refused!['id'])}/replay`)).json).toMatchObject({
      status: 409,
      code: 'inbound_event.refused',
    });
    const landing = (await items('/inbound-events?limit=200')).find((e) => e['source'] === 'azure.landing');
    expect((await house.api('POST', `/inbound-events/${String(landing!['id'])}/replay`)).json).toMatchObject({
      status: 409,
      code: 'inbound_event.not_replayable',
    });
    expect((await house.api('POST', '/inbound-events/inb_00000000-0000-4000-8000-000000000000/replay')).json).toMatchObject({
      status: 404,
      code: 'inbound_event.not_found',
    });
  });
});

describe('the timeline of a purchase', () => {
  it('tells the operator all of it in order, and its tenant the same without bodies', async () => {
    const sub = await house.subscriptionOf(kept.externalId);
    const path = `/subscriptions/${String(sub['id'])}/timeline?limit=200`;
    const all = await items(path);
    // Where an hour ends meanwhile, a finding says that its usage has no price here.
    const kinds = all.filter((e) => !JSON.stringify(e).includes('price_unknown')).map((e) => e['kind']);
    expect(new Set(kinds)).toEqual(new Set(['inbound', 'event', 'segment', 'call', 'operation']));
    expect(all.map((e) => e['at'])).toEqual(all.map((e) => e['at']).sort());
    expect(all.map((e) => e['summary'])).toContain('We called azure, acknowledge: answered yes');
    const acknowledged = all.find((e) => e['kind'] === 'call')!;
    expect(acknowledged['call']).toMatchObject({ intent: { plan: 'standard' } });

    const key = String((await house.api('POST', `/tenants/${String(sub['tenantId'])}/keys`, { name: 'reader' })).json['key']);
    const own = await items(path, key);
    expect(own.map((e) => e['summary'])).toEqual(all.map((e) => e['summary']));
    expect(own.some((e) => 'call' in e)).toBe(false);
    const other = await house.buy('Another buyer');
    await house.land(other.sessionId, 'Autumn Observatory');
    const theirs = await house.subscriptionOf(other.externalId);
    expect((await house.api('GET', `/subscriptions/${String(theirs['id'])}/timeline`, undefined, key)).json).toMatchObject({
      status: 404,
      code: 'subscription.not_found',
    });
  });

  it('comes page by page without a gap', async () => {
    const sub = await house.subscriptionOf(kept.externalId);
    const path = `/subscriptions/${String(sub['id'])}/timeline`;
    const all = await items(`${path}?limit=200`);
    const paged: Record<string, unknown>[] = [];
    for (let cursor: unknown = ''; cursor !== null;) {
      const { json } = await house.api('GET', `${path}?limit=3${cursor ? `&cursor=${String(cursor)}` : ''}`);
      paged.push(...json.items!);
      cursor = json['nextCursor'];
    }
    expect(paged).toEqual(all);
    expect((await house.api('GET', `${path}?cursor=eA`)).json).toMatchObject({ code: 'request.cursor_invalid' });
  });
});
