import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Amazon, type Bought, type Item, tokenOf } from './support/amazon.js';
import { House, sessionOf, until } from './support/house.js';

// No run by the clock: each comparison here is asked for.
const house = new House({ BERTH_DRIFT_MINUTES: '0' });
const amazon = new Amazon(house);
const FOREIGN = '4harborforeign00000000000';
const LOST = { webhookUrl: 'http://127.0.0.1:9/lost' };

beforeAll(async () => {
  await house.start();
  const { products } = await amazon.settings();
  await amazon.set({
    agreementRatePerSecond: 1_000,
    products: [...products, { code: FOREIGN, id: 'prod-harborforeign', title: 'Not served here', dimensions: ['mib_egress'] }],
  });
}, 90_000);
afterAll(() => house.stop(), 30_000);

const advance = async (seconds: number): Promise<void> => {
  const answer = await house.shop('POST', '/clock/advance', { seconds, stepSeconds: seconds });
  if (answer.status !== 200) throw new Error(answer.text);
};
const act = async (agreementId: string, action: string, body: object = {}): Promise<Bought> => {
  const answer = await house.shop('POST', `/aws/agreements/${agreementId}/${action}`, body);
  if (answer.status >= 300) throw new Error(answer.text);
  return answer.json as unknown as Bought;
};
/** The bus has lost its way to us for as long as `work` takes; EventBridge tries for 24 hours. */
async function unheard<T>(work: () => Promise<T>): Promise<T> {
  await amazon.set(LOST);
  try {
    return await work();
  } finally {
    await amazon.set({ webhookUrl: `${house.controlPlane.url}/webhooks/aws/eventbridge` });
  }
}
async function drift(): Promise<Item & { lines: Item[]; counts: Item }> {
  const { status, json, text } = await house.api('POST', '/marketplaces/aws/drift-runs');
  expect(status, text).toBe(202);
  const done = await until(
    () => house.api('GET', `/marketplaces/aws/drift-runs/${String(json['id'])}`),
    (a) => ['completed', 'failed'].includes(String(a.json['state'])),
  );
  return done.json as never;
}
const verdictOf = (run: { lines: Item[] }, licenseId: string): unknown =>
  run.lines.find((line) => line['externalSubscriptionId'] === licenseId)?.['verdict'];
/** Bought, landed and served; what the buyer holds. */
async function served(
  organisation: string,
  extra: object = {},
): Promise<{ bought: Bought; session: string; endpoint: Item; keys: Item[] }> {
  const bought = await amazon.buy(extra);
  const session = sessionOf(await amazon.land(tokenOf(bought)));
  const ready = (await house.land(session, organisation)).json;
  await amazon.subscription(bought.licenseId, 'active');
  const { keys, ...endpoint } = ready['endpoint'] as Item & { keys: Item[] };
  return { bought, session, endpoint, keys };
}
const placementsOf = async (tenantId: unknown): Promise<Item[]> =>
  (await house.list('placements')).filter((one) => one['tenantId'] === tenantId);
const findings = async (kind: string): Promise<Item[]> =>
  (await house.list('findings')).filter((one) => String(one['kind']).startsWith(kind));

describe('a renewal', () => {
  it('keeps tenant, endpoint and keys, without a landing of the buyer [AW-16]', async () => {
    const { bought, session, endpoint, keys } = await served('Renewing Lodge');
    expect(keys).toHaveLength(1);
    const before = await house.subscriptionOf(bought.licenseId);
    const [placement] = await placementsOf(before['tenantId']);
    const next = await act(bought.agreementId, 'renew', { deprovision: true });
    const after = await amazon.subscription(next.licenseId, 'active');
    expect(after['tenantId']).toBe(before['tenantId']);
    const [now, ...more] = await placementsOf(before['tenantId']);
    expect(more).toEqual([]);
    expect([now!['id'], now!['endpoint'], now!['subscriptionId']]).toEqual([placement!['id'], placement!['endpoint'], after['id']]);
    const seen = (await house.session(session)).json;
    expect(seen).toMatchObject({ state: 'ready', endpoint: { ...endpoint, keys } });
  });

  it('is made up for where everything that told of it was lost, also a replacement that names nobody [AW-40] [AW-43]', async () => {
    for (const action of ['renew', 'replace']) {
      const { bought } = await served(`Unheard ${action}`);
      const before = await house.subscriptionOf(bought.licenseId);
      const next = await unheard(async () => {
        await advance(60);
        const made = await act(bought.agreementId, action, { deprovision: true, namesPrevious: false });
        await advance(86_400 + 1_200);
        return made;
      });
      expect(await house.subscriptionOf(next.licenseId)).toBeUndefined();
      const run = await drift();
      expect([run['state'], verdictOf(run, next.licenseId)]).toEqual(['completed', 'applied']);
      const after = await amazon.subscription(next.licenseId, 'active');
      expect(after['tenantId']).toBe(before['tenantId']);
      expect(['closing', 'cancelled']).toContain((await house.subscriptionOf(bought.licenseId))['state']);
      expect((await placementsOf(before['tenantId'])).map((one) => one['subscriptionId'])).toEqual([after['id']]);
    }
  });

  it('of a renewal, both unheard of, is made up for by one comparison: the link between them too [AW-48]', async () => {
    const { bought } = await served('Unheard Twice');
    const before = await house.subscriptionOf(bought.licenseId);
    const placed = await placementsOf(before['tenantId']);
    const [second, third] = await unheard(async () => {
      await advance(60);
      const next = await act(bought.agreementId, 'renew', { deprovision: true });
      await advance(60);
      const last = await act(next.agreementId, 'renew', { deprovision: true });
      await advance(86_400 + 1_200);
      return [next, last];
    });
    const run = await drift();
    expect([second, third].map((one) => verdictOf(run, one.licenseId))).toEqual(['applied', 'applied']);
    const after = await amazon.subscription(third.licenseId, 'active');
    expect(after['tenantId']).toBe(before['tenantId']);
    for (const old of [bought, second])
      expect(['closing', 'cancelled', 'voided']).toContain((await house.subscriptionOf(old.licenseId))['state']);
    // Endpoint and keys are the placement's, which is the same one.
    const now = await placementsOf(before['tenantId']);
    expect(now.map((one) => [one['id'], one['endpoint'], one['subscriptionId']])).toEqual([
      [placed[0]!['id'], placed[0]!['endpoint'], after['id']],
    ]);
  });
});

describe('a renewal that its buyer lands on before anything is told of it', () => {
  it('keeps tenant, endpoint and keys: the visit is of what serves, until the renewal takes its place [AW-50]', async () => {
    const { bought, session, endpoint, keys } = await served('Early Lodge');
    const before = await house.subscriptionOf(bought.licenseId);
    await advance(60);
    const [next, visit] = await unheard(async () => {
      const made = await act(bought.agreementId, 'renew', { deprovision: true });
      return [made, sessionOf(await amazon.land(tokenOf(made)))];
    });
    expect(await house.subscriptionOf(next.licenseId)).toMatchObject({ state: 'pending_fulfillment', tenantId: null });
    const details = { organisation: 'Early Lodge', region: 'local', contactName: 'A', contactEmail: 'a@early.example' };
    await house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${visit}/details`, details);
    expect(await house.subscriptionOf(next.licenseId)).toMatchObject({ state: 'pending_fulfillment', tenantId: null });
    await act(next.agreementId, 'license');
    const after = await amazon.subscription(next.licenseId, 'active');
    expect(after['tenantId']).toBe(before['tenantId']);
    expect((await placementsOf(before['tenantId'])).map((one) => one['subscriptionId'])).toEqual([after['id']]);
    expect((await house.session(session)).json).toMatchObject({ state: 'ready', endpoint: { ...endpoint, keys } });
    expect(JSON.stringify((await house.session(visit)).json)).not.toContain(String(keys[0]!['secret']));
    expect(await findings('succession')).toEqual([]);
  });
});

describe('lost events', () => {
  it('of the licence and of the end are made up for, at the time they happened [AW-40] [AW-41]', async () => {
    const bought = await unheard(async () => {
      const bought = await amazon.buy();
      const session = sessionOf(await amazon.land(tokenOf(bought)));
      await house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${session}/details`, {
        organisation: 'Waiting Lodge',
        region: 'local',
        contactName: 'A',
        contactEmail: 'a@waiting.example',
      });
      await advance(86_400 + 1_200);
      return bought;
    });
    expect(await house.subscriptionOf(bought.licenseId)).toMatchObject({ state: 'pending_fulfillment' });
    expect(verdictOf(await drift(), bought.licenseId)).toBe('applied');
    await amazon.subscription(bought.licenseId, 'active');
    const { tenantId } = await house.subscriptionOf(bought.licenseId);
    expect(await placementsOf(tenantId)).toMatchObject([{ phase: 'active' }]);
    const endedAt = await unheard(async () => {
      await act(bought.agreementId, 'cancel');
      const { updatedAt } = (await house.shop('GET', `/aws/agreements/${bought.agreementId}`)).json;
      await advance(86_400 + 1_200);
      return String(updatedAt);
    });
    expect(verdictOf(await drift(), bought.licenseId)).toBe('applied');
    const over = await house.subscriptionOf(bought.licenseId);
    expect(['closing', 'cancelled']).toContain(over['state']);
    expect(over['endedAt']).toBe(endedAt);
    expect((await findings('drift.state')).length).toBeGreaterThan(0);
  });
});

describe('a lost amendment', () => {
  it('of the end of a term, and of its renewal, is made up for [AW-49]', async () => {
    const { bought } = await served('Amended Lodge', { endsAt: '2040-01-01T00:00:00Z' });
    await unheard(async () => {
      await act(bought.agreementId, 'amend', { endsAt: '2041-01-01T00:00:00Z' });
      await act(bought.agreementId, 'amend', { autoRenewalEnabled: true });
      await advance(86_400 + 1_200);
    });
    expect(verdictOf(await drift(), bought.licenseId)).toBe('applied');
    const after = await house.subscriptionOf(bought.licenseId);
    expect([(after['term'] as Item)['endsAt'], after['endsAt']]).toEqual(['2041-01-01T00:00:00.000Z', null]);
    expect(verdictOf(await drift(), bought.licenseId)).toBeUndefined();
  });
});

describe('a quiet marketplace', () => {
  it('that leaves out, lags, resells and lists what is foreign: nothing made, ended or sent, twice [AW-42] [AW-45] [AW-51]', async () => {
    const hidden = (await served('Left Out')).bought;
    const resold = (await served('Through A Partner', { cppo: true })).bought;
    const ended = await served('Ended Lately');
    const quiet = (await served('As It Is')).bought;
    const foreign = await amazon.buy({ productCode: FOREIGN });
    const gone = await amazon.buy({ productCode: FOREIGN });
    await act(gone.agreementId, 'cancel');
    await amazon.set({ hiddenAgreements: [hidden.agreementId], agreementLagSeconds: 3_600 });
    await advance(3_000);
    await act(ended.bought.agreementId, 'cancel', { order: 'deprovisioned_first' });
    await until(
      () => house.subscriptionOf(ended.bought.licenseId),
      (s) => ['closing', 'cancelled'].includes(String(s['state'])),
    );
    await advance(1_200);
    const sent = async (): Promise<unknown[]> =>
      (await house.shop('GET', '/calls?marketplace=aws&limit=2000')).json.items!.filter((c) => c['operation'] === 'batchMeterUsage');
    // The hour of what has ended is sent in its own time.
    const before = { picture: await house.picture(), sent: (await sent()).length };
    const first = await drift();
    expect(first).toMatchObject({ state: 'completed', error: null });
    expect([verdictOf(first, hidden.licenseId), verdictOf(first, resold.licenseId)]).toEqual(['omitted', 'omitted']);
    expect([verdictOf(first, foreign.licenseId), verdictOf(first, quiet.licenseId)]).toEqual(['foreign', undefined]);
    expect(verdictOf(first, ended.bought.licenseId), 'the list shows it as it was').toBe('agrees_now');
    const second = await drift();
    expect(second.counts).toEqual(first.counts);
    expect({ picture: await house.picture(), sent: (await sent()).length }).toEqual(before);
    expect(await findings('drift.missing')).toEqual([]);
    const reseller = { accountId: '888800002222', authorizationId: expect.stringContaining('resaleauthz-') as string };
    expect(await house.subscriptionOf(resold.licenseId)).toMatchObject({ reseller });
    expect(await house.subscriptionOf(quiet.licenseId)).toMatchObject({ reseller: null });
    for (const one of [hidden, resold, quiet]) expect(await house.subscriptionOf(one.licenseId)).toMatchObject({ state: 'active' });
  });
});
