import { randomUUID } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until } from './support/house.js';

const house = new House();
let sub: Record<string, unknown>;
let externalId = '';
beforeAll(async () => {
  await house.start();
  const bought = await house.buy('Winter data');
  externalId = bought.externalId;
  await house.land(bought.sessionId, 'Winter Observatory');
  // What is read of it in the background after landing is there: from here on nothing changes by itself.
  sub = await until(
    () => house.subscriptionOf(externalId),
    (s) => s['privateOffers'] !== null,
  );
}, 60_000);
afterAll(() => house.stop(), 30_000);

const state = async (): Promise<string> => JSON.stringify(await house.subscriptionOf(externalId));
const deliver = (body: unknown, forge = 'none'): ReturnType<House['shop']> => house.shop('POST', '/azure/webhooks', { body, forge });
const problem = (a: { json: Record<string, unknown> }): unknown => {
  const inner = a.json['body'];
  return typeof inner === 'string' && inner.startsWith('{') ? (JSON.parse(inner) as { code?: string }).code : inner;
};

describe('forged, unknown, repeated and malformed notifications', () => {
  it.each([
    ['no_token', 401, 'azure.token_missing'],
    ['wrong_key', 401, 'azure.token_invalid'],
    ['alg_none', 401, 'azure.token_invalid'],
    ['hs256', 401, 'azure.token_invalid'],
    ['wrong_audience', 403, 'azure.token_not_for_us'],
    ['wrong_appid', 403, 'azure.token_not_for_us'],
    ['wrong_tenant', 403, 'azure.token_not_for_us'],
    ['wrong_issuer', 403, 'azure.token_not_for_us'],
    ['expired', 401, 'azure.token_expired'],
    ['future', 401, 'azure.token_invalid'],
    ['captured', 403, 'azure.token_not_for_us'],
  ])('refuses a token that is forged (%s), keeps it apart and changes nothing [AZ-01]', async (forge, status, code) => {
    const before = await state();
    const refused = (await house.api('GET', '/refused-events?limit=200')).json.items!.length;
    const answer = await deliver({ id: randomUUID(), subscriptionId: externalId, action: 'Unsubscribe' }, forge);
    expect([answer.json['status'], problem(answer)]).toEqual([status, code]);
    expect(await house.lastRefused()).toMatchObject({ source: 'azure.webhook', code });
    expect((await house.api('GET', '/refused-events?limit=200')).json.items!.length).toBe(refused + 1);
    expect(
      (await house.api('GET', '/inbound-events?limit=200')).json.items!.filter(
        (i) => i['source'] === 'azure.webhook' && i['state'] === 'processed' && String(i['note']).includes('closing'),
      ),
    ).toEqual([]);
    expect(await state()).toBe(before);
  });

  it('stores an unknown action and changes nothing [AZ-07]', async () => {
    const before = await state();
    const id = randomUUID();
    expect((await deliver({ id, subscriptionId: externalId, action: 'Teleport' })).json['status']).toBe(200);
    await until(
      () => house.api('GET', '/inbound-events?limit=200'),
      (a) => a.json.items!.some((i) => i['naturalKey'] === id && i['state'] !== 'received'),
    );
    expect(await state()).toBe(before);
  });

  it('does not believe a genuine sender about a purchase that is not so', async () => {
    const before = await state();
    await deliver({ id: randomUUID(), subscriptionId: externalId, action: 'Unsubscribe', status: 'Succeeded' });
    // As long as the marketplace may lag behind its own word, it is asked again.
    await until(
      async () => {
        await house.shop('POST', '/clock/advance', { seconds: 20, stepSeconds: 20 });
        return house.api('GET', '/inbound-events?limit=200');
      },
      (a) => a.json.items!.every((i) => i['state'] !== 'received'),
    );
    expect(JSON.parse(await state())).toMatchObject({ state: (JSON.parse(before) as { state: string }).state });
  });

  it('gives a repeat the stored answer: a refused change stays refused [AZ-09]', async () => {
    const { externalId: id, sessionId } = await house.buy('Refused twice');
    await house.land(sessionId, 'Refusal Works');
    // The seller published a plan of which our catalog knows nothing; the notification comes twice.
    const { offers } = (await house.shop('GET', '/settings')).json['azure'] as { offers: { id: string; plans: { id: string }[] }[] };
    for (const offer of offers) offer.plans.push({ ...offer.plans[0]!, id: 'uncharted' });
    expect((await house.shop('PUT', '/settings', { azure: { offers } })).status).toBe(200);
    await house.shop('POST', '/faults', { marketplace: 'azure', operation: 'ChangePlan', kind: 'duplicate_notification' });
    const asked = await house.shop('POST', `/azure/subscriptions/${id}/change-plan`, { planId: 'uncharted' });
    const operationId = asked.json['operationId'];
    interface View {
      planId: string;
      operations: { id: string; status: string }[];
      webhooks: { operationId: string; attempts: { status: number | null }[] }[];
    }
    const view = await until(
      async () => (await house.shop('GET', `/azure/subscriptions/${id}`)).json as unknown as View,
      (v) => v.webhooks.filter((w) => w.operationId === operationId).flatMap((w) => w.attempts).length >= 2,
    );
    expect(view.webhooks.filter((w) => w.operationId === operationId).flatMap((w) => w.attempts.map((a) => a.status))).toEqual([400, 400]);
    expect(view.operations.find((o) => o.id === operationId)).toMatchObject({ status: 'Failed' });
    expect(view.planId).toBe('standard');
    const said = await until(
      async () => (await house.shop('GET', '/calls?marketplace=azure&operation=patchOperation&limit=2000')).json.items!,
      (calls) => calls.some((c) => JSON.stringify(c).includes(String(operationId))),
    );
    expect(JSON.stringify(said)).toContain('Failure');
    expect((await house.subscriptionOf(id))['plan']).toEqual((await house.subscriptionOf(externalId))['plan']);
    expect((await house.list('findings')).map((one) => one['kind'])).toContain('unmapped_plan');
  });

  it.each([
    ['no JSON', 'this is not json', 503],
    ['a list', '[]', 400],
    ['nothing', '', 503],
  ])('answers a body that is %s with a code and keeps it apart', async (_, body, status) => {
    const before = (await house.api('GET', '/refused-events?limit=200')).json.items!.length;
    const answer = await deliver(body);
    expect(answer.json['status']).toBe(status);
    expect((await house.api('GET', '/refused-events?limit=200')).json.items!.length).toBe(before + 1);
  });

  it('refuses a body that is too large, as a problem with a code', async () => {
    const answer = await house.call('POST', `${house.controlPlane.url}/webhooks/azure`, JSON.stringify({ pad: 'x'.repeat(300_000) }), {
      'content-type': 'application/json',
    });
    expect(answer.status).toBe(413);
    expect(answer.json['code']).toBe('webhook.too_large');
  });
});

describe('landing tokens', () => {
  const arrive = async (query: string): Promise<string> =>
    (await house.call('GET', `${house.controlPlane.url}/landing/azure${query}`)).headers.get('location') ?? '';

  it('tells a visitor without a token, with a garbled and with a doubly decoded one [AZ-20]', async () => {
    expect(await arrive('')).toContain('landing.token_missing');
    expect(await arrive('?token=garbled')).toContain('landing.token_invalid');
    const { landingUrl } = await house.buy('Plus signs');
    const token = new URL(landingUrl).searchParams.get('token')!;
    expect(token).toMatch(/[+/]/);
    expect(await arrive(`?token=${token}`)).toContain(token.includes('+') ? 'landing.token_invalid' : '/landing/s/');
  });

  it('resolves a token again within its life and opens another visit of the same purchase [AZ-21]', async () => {
    const { landingUrl, sessionId } = await house.buy('Twice');
    const second = (await house.call('GET', landingUrl)).headers.get('location')!.split('/').pop()!;
    expect(second).not.toBe(sessionId);
    expect((await house.session(second)).json['purchase']).toEqual((await house.session(sessionId)).json['purchase']);
  });

  it('names every wrong field, refuses a second completion and an unknown visit', async () => {
    const { sessionId } = await house.buy('Form');
    const url = `${house.controlPlane.url}/landing/api/sessions/${sessionId}/details`;
    const wrong = await house.call('POST', url, { organisation: 'x', region: 'moon', contactName: 'A', contactEmail: 'no' });
    expect(wrong.status).toBe(400);
    expect((wrong.json['errors'] as { field: string }[]).map((e) => e.field).sort()).toEqual(['contactEmail', 'organisation', 'region']);
    const right = { organisation: 'Form Works', region: 'local', contactName: 'A', contactEmail: 'a@form.example' };
    expect((await house.call('POST', url, right)).status).toBe(202);
    expect(await house.call('POST', url, right)).toMatchObject({ status: 409, json: { code: 'landing.already_completed' } });
    expect(await house.session('nobody')).toMatchObject({ status: 404, json: { code: 'landing.session_unknown' } });
  });
});

describe('usage events', () => {
  const event = (change: Record<string, unknown> = {}, data: Record<string, unknown> = {}): Record<string, unknown> => ({
    specversion: '1.0',
    id: randomUUID(),
    source: '/operators/import',
    type: 'berth.sample.v1',
    time: new Date().toISOString(),
    subject: randomUUID(),
    sequence: '1',
    datacontenttype: 'application/json',
    data: { metric: 'stored_bytes', kind: 'gauge', value: '1', epoch: 'e1', ...data },
    ...change,
  });
  const outcome = async (e: unknown): Promise<Record<string, unknown>> =>
    ((await house.api('POST', '/usage-events', [e])).json['results'] as Record<string, unknown>[])[0]!;

  it.each([
    ['no id', () => event({ id: '' })],
    ['another CloudEvents version', () => event({ specversion: '0.3' })],
    ['a negative quantity', () => event({}, { value: '-5' })],
    ['an absurd quantity', () => event({}, { value: '9'.repeat(60) })],
    ['a number instead of text', () => event({}, { value: 5 })],
    ['an unknown placement', () => event()],
    ['a time ten minutes ahead', () => event({ time: new Date(Date.now() + 600_000).toISOString() })],
  ])('rejects an event with %s by a code and counts nothing', async (_, make) => {
    const result = await outcome(make());
    expect(result['outcome']).toBe('rejected');
    expect(String(result['code'])).toMatch(/^usage\.[a-z_]+$/);
  });

  it('answers what is no batch at all, a broken gzip and a batch that is too long', async () => {
    expect(await house.api('POST', '/usage-events', [])).toMatchObject({ status: 400, json: { code: 'usage.no_events' } });
    const auth = { authorization: `Bearer ${house.key}`, 'content-type': 'application/cloudevents-batch+json' };
    const url = `${house.controlPlane.url}/api/v1/usage-events`;
    expect((await house.call('POST', url, '[{', auth)).json['code']).toBe('request.malformed_json');
    expect((await house.call('POST', url, 'not gzip', { ...auth, 'content-encoding': 'gzip' })).json['code']).toBe(
      'request.encoding_broken',
    );
    expect(
      (
        await house.api(
          'POST',
          '/usage-events',
          Array.from({ length: 5_001 }, () => ({})),
        )
      ).json['code'],
    ).toBe('usage.batch_too_large');
    const zipped = await fetch(url, {
      method: 'POST',
      headers: { ...auth, 'content-encoding': 'gzip' },
      body: gzipSync(JSON.stringify([event()])),
    });
    expect(zipped.status).toBe(200);
  });
});

describe('closed routes', () => {
  it('answers each route of the API 401 without a key, and problem documents everywhere', async () => {
    const description = (await house.call('GET', `${house.controlPlane.url}/openapi.json`)).json as unknown as {
      paths: Record<string, Record<string, unknown>>;
    };
    const paths = Object.entries(description.paths).filter(([path]) => path.startsWith('/api/v1'));
    expect(paths.length).toBeGreaterThan(15);
    for (const [path, methods] of paths) {
      for (const method of Object.keys(methods)) {
        const answer = await house.call(
          method.toUpperCase(),
          house.controlPlane.url + path.replaceAll(/\{\w+\}/g, 'x'),
          method === 'post' ? {} : undefined,
        );
        expect(answer, `${method} ${path}`).toMatchObject({ status: 401, json: { code: 'auth.key_invalid' } });
        expect(answer.headers.get('content-type')).toContain('application/problem+json');
      }
    }
  });

  it('gives a tenant nothing of another, by list or by id', async () => {
    const other = await house.buy('Other data');
    await house.land(other.sessionId, 'Other Works');
    const theirs = await house.subscriptionOf(other.externalId);
    const { json } = await house.api('POST', `/tenants/${String(sub['tenantId'])}/keys`, { name: 'test' });
    const key = String(json['key']);
    for (const list of ['tenants', 'subscriptions', 'entitlements', 'quotas', 'placements', 'operations', 'usage-records', 'submissions']) {
      const { items } = (await house.api('GET', `/${list}?limit=200`, undefined, key)).json;
      for (const item of items!) expect(item['tenantId'] ?? item['id'], list).toBe(sub['tenantId']);
    }
    expect((await house.api('GET', `/subscriptions/${String(theirs['id'])}`, undefined, key)).status).toBe(404);
    expect((await house.api('GET', `/tenants/${String(theirs['tenantId'])}`, undefined, key)).status).toBe(404);
    expect((await house.api('GET', '/findings', undefined, key)).json['code']).toBe('auth.kind_not_allowed');
  }, 40_000);

  it.each([
    ['a NUL', 'winter\u0000key'],
    ['half a character', 'winter\ud83dkey'],
  ])('refuses text with %s, which would be stored as something else or not at all', async (_, name) => {
    const refused = await house.api('POST', '/operator-keys', { name });
    expect([refused.status, refused.json['code']]).toEqual([400, 'request.invalid_text']);
    expect((await house.api('POST', '/operator-keys', { [name]: 1, name: 'winter' })).json['code']).toMatch(/^request\.invalid/);
  });

  it('takes a whole character, also where it comes as two escapes', async () => {
    const made = await fetch(`${house.controlPlane.url}/api/v1/operator-keys`, {
      method: 'POST',
      headers: { authorization: `Bearer ${house.key}`, 'content-type': 'application/json' },
      body: '{"name": "winter \\ud83d\\ude00"}',
    });
    expect([made.status, ((await made.json()) as { name: string }).name]).toEqual([201, 'winter 😀']);
  });

  it('refuses a cursor it did not make and a limit out of range', async () => {
    expect((await house.api('GET', '/subscriptions?cursor=%C3%A4')).json['code']).toBe('request.cursor_invalid');
    expect((await house.api('GET', '/subscriptions?limit=100000')).json['code']).toBe('request.invalid');
  });
});

describe('a flood of arrivals', () => {
  it('is one sender’s, whatever addresses it claims to come from', async () => {
    const arrive = async (n: number): Promise<number> => {
      const claimed = { 'x-forwarded-for': `203.0.113.${n}` };
      return (await house.call('GET', `${house.controlPlane.url}/landing/azure?token=garbled`, undefined, claimed)).status;
    };
    // More than two windows take, should one end in between.
    const statuses = await Promise.all(Array.from({ length: 70 }, (_, n) => arrive(n)));
    expect(statuses.filter((s) => s === 429).length).toBeGreaterThanOrEqual(10);
  });
});
