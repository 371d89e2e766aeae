import { randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { about, Amazon, FIELD, newAgreement, newLicence, tokenOf, type Bought, type Item } from './support/amazon.js';
import { House, sessionOf, until } from './support/house.js';

const house = new House();
const amazon = new Amazon(house);
/** Bought, licensed and served. */
let live: Bought;
/** Bought and licensed; nobody has come yet. */
let waiting: Bought;
const problemPage = (code: string): string => `/landing/problem?code=${code}&marketplace=aws`;

beforeAll(async () => {
  await house.start();
  live = await amazon.buy();
  await house.land(sessionOf(await amazon.land(tokenOf(live))), 'Winter Observatory');
  await amazon.subscription(live.licenseId, 'active');
  waiting = await amazon.buy();
  await amazon.subscription(waiting.licenseId, 'pending_fulfillment');
  await amazon.deliveries('processed', 4);
}, 90_000);
afterAll(() => house.stop(), 30_000);

describe('registration tokens', () => {
  it.each([
    ['is garbled', 'landing.token_invalid', () => Promise.resolve(`garbled ${randomUUID()}`)],
    ['AWS never made', 'landing.token_invalid', () => Promise.resolve(randomBytes(60).toString('base64'))],
    ['holds a NUL', 'landing.token_invalid', () => Promise.resolve(`\0${randomUUID()}`)],
    ['has lost its end', 'landing.token_invalid', async () => (await amazon.register(waiting)).slice(0, -4)],
    [
      'has expired',
      'landing.token_expired',
      async () => {
        await amazon.set({ tokenLifetimeSeconds: 0 });
        return amazon.register(waiting).finally(() => amazon.set({ tokenLifetimeSeconds: 14_400 }));
      },
    ],
    [
      'is of another product',
      'landing.not_for_us',
      async () => {
        const { products } = await amazon.settings();
        await amazon.set({ products: [...products, { ...products[0], code: '4somebodyelse', id: 'prod-somebodyelse' }] });
        const bought = await amazon.buy({ productCode: '4somebodyelse' });
        await amazon.deliveries('parked', 2);
        return tokenOf(bought);
      },
    ],
  ])('sends a visitor whose token %s to the page for %s, keeps a line of it and changes nothing [AW-07]', async (_, code, make) => {
    const token = await make();
    const before = await house.picture();
    expect(await amazon.land(token)).toBe(problemPage(code));
    expect(await house.lastRefused()).toMatchObject({ source: 'aws.landing', code });
    expect(await house.picture()).toEqual(before);
  });

  it('lets one token open several visits of one purchase, take its details once and show its keys once [AW-09]', async () => {
    const tenants = await house.list('tenants');
    const token = tokenOf(waiting);
    const first = sessionOf(await amazon.land(token));
    const second = sessionOf(await amazon.land(token));
    expect(second).not.toBe(first);
    expect((await house.land(first, 'Kelp Works')).json).toMatchObject({ endpoint: { keys: [{ id: 'k1' }] } });
    await amazon.subscription(waiting.licenseId, 'active');
    const picture = await house.picture();
    for (const session of [second, sessionOf(await amazon.land(` ${token} `))]) {
      const details = { organisation: 'Somebody Else', region: 'local', contactName: 'B', contactEmail: 'b@else.example' };
      expect(await house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${session}/details`, details)).toMatchObject({
        status: 409,
        json: { code: 'landing.already_completed' },
      });
      expect((await house.session(session)).json).toMatchObject({ state: 'ready', endpoint: { keys: null } });
    }
    // Where AWS takes a token once only, the second time is told as its end.
    await amazon.set({ tokenReusable: false });
    expect(await amazon.land(token)).toBe(problemPage('landing.token_expired'));
    await amazon.set({ tokenReusable: true });
    expect(await house.picture()).toEqual(picture);
    expect(await house.list('tenants')).toHaveLength(tenants.length + 1);
    const mine = await house.subscriptionOf(waiting.licenseId);
    expect((await house.list('placements')).filter((p) => p['tenantId'] === mine['tenantId'])).toHaveLength(1);
  }, 60_000);

  it('sends a visitor without a token to a page that says so, whatever hints the form holds', async () => {
    const before = await house.picture();
    const { [FIELD]: _, ...hints } = live.registration.fields;
    expect(Object.keys(hints).length).toBeGreaterThan(0);
    for (const fields of [{}, { [FIELD]: '' }, hints] as Record<string, string>[])
      expect(await house.post('aws', fields)).toBe(problemPage('landing.token_missing'));
    expect(await house.picture()).toEqual(before);
  });

  it('believes no hint of the form about whose purchase it is [AW-08]', async () => {
    const token = await amazon.register(waiting);
    const location = await house.post('aws', { ...live.registration.fields, [FIELD]: token });
    const { json } = await house.session(sessionOf(location));
    expect(json).toMatchObject({ state: 'ready', tenant: { displayName: 'Kelp Works' } });
  });

  it('refuses a form that is too large as a problem with a code, and keeps that it came', async () => {
    const before = await house.picture();
    const answer = await house.call('POST', `${house.controlPlane.url}/landing/aws`, new URLSearchParams({ [FIELD]: 'x'.repeat(70_000) }));
    expect(answer).toMatchObject({ status: 413, json: { code: 'landing.too_large' } });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(await house.lastRefused()).toMatchObject({ source: 'aws.landing', code: 'landing.too_large' });
    expect(await amazon.land('x'.repeat(9_000))).toBe(problemPage('landing.token_invalid'));
    expect(await house.lastRefused()).toMatchObject({ source: 'aws.landing', code: 'landing.token_invalid' });
    expect(await house.picture()).toEqual(before);
  });
});

describe('EventBridge events that are refused', () => {
  const ends = (): string =>
    JSON.stringify({
      version: '0',
      id: randomUUID(),
      'detail-type': 'License Deprovisioned - Manufacturer',
      source: 'aws.agreement-marketplace',
      time: '2026-11-20T10:00:00Z',
      detail: about({ licence: live.licenseId }),
    });
  const without = (field: string): string => JSON.stringify({ ...(JSON.parse(ends()) as Item), [field]: undefined });
  const withId = (id: unknown): string => JSON.stringify({ ...(JSON.parse(ends()) as Item), id });

  it.each([
    ['no secret', 401, 'aws.secret_wrong', () => ends(), { 'x-berth-webhook-secret': '' }],
    ['a wrong secret', 401, 'aws.secret_wrong', () => ends(), { 'x-berth-webhook-secret': 'sandbox-eventbridge-secret-0002' }],
    ['the secret as a bearer', 401, 'aws.secret_wrong', () => ends(), { 'x-berth-webhook-secret': '', authorization: 'Bearer x' }],
    ['no JSON', 503, 'aws.body_not_json', () => ends().slice(0, -2), {}],
    ['nothing', 503, 'aws.body_not_json', () => '', {}],
    ['a NUL', 503, 'aws.body_not_json', () => `${ends()}\0`, {}],
    ['a list', 400, 'aws.body_not_event', () => `[${ends()}]`, {}],
    ['no id', 400, 'aws.body_not_event', () => without('id'), {}],
    ['a number as id', 400, 'aws.body_not_event', () => withId(7), {}],
    ['an id that no database holds', 400, 'aws.body_not_event', () => withId('a\0b'), {}],
    ['an endless id', 400, 'aws.body_not_event', () => withId(randomBytes(3_000).toString('hex')), {}],
    ['no detail-type', 400, 'aws.body_not_event', () => without('detail-type'), {}],
    ['the source of another service', 403, 'aws.source_not_for_us', () => ends().replace('aws.agreement-marketplace', 'aws.s3'), {}],
    ['too large a body', 413, 'webhook.too_large', () => ends().replace('"0"', `"${'0'.repeat(300_000)}"`), {}],
  ])('with %s are answered %i %s, kept apart and change nothing [AW-01]', async (_, status, code, body, headers) => {
    const before = [await house.picture(), await house.list('inbound-events')];
    const answer = await amazon.knock(body(), headers as Record<string, string>);
    expect(answer).toMatchObject({ status, json: { code, status } });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(await house.lastRefused()).toMatchObject({ source: 'aws.webhook', code });
    expect([await house.picture(), await house.list('inbound-events')]).toEqual(before);
  });

  it.each(['wrong', 'none'])(
    'with the secret of another connection (%s) do not end a purchase when AWS itself sends them',
    async (secret) => {
      const before = await house.picture();
      const detail = about({ licence: live.licenseId });
      expect(await amazon.send('License Deprovisioned - Manufacturer', detail, { secret })).toMatchObject({
        status: 401,
        code: 'aws.secret_wrong',
      });
      expect(await house.picture()).toEqual(before);
    },
  );
});

describe('EventBridge events that are taken', () => {
  it.each([
    ['Licence Teleported', 'Licence Teleported: not a type we act on', () => about({ licence: newLicence(), agreement: newAgreement() })],
    ['License Updated - Manufacturer', 'License Updated - Manufacturer: it names no licence', () => 'no detail at all'],
    [
      'License Updated - Manufacturer',
      'offer 4somebodyelse is not ours to serve',
      () => about({ licence: newLicence(), code: '4somebodyelse' }),
    ],
    [
      'Purchase Agreement Ended - Proposer',
      'waits for agreement agmt-nobody',
      () => about({ agreement: 'agmt-nobody', status: 'CANCELLED' }),
    ],
    [
      'Purchase Agreement Created - Proposer',
      'waits for agreement agmt-nobody',
      () => about({ agreement: 'agmt-nobody', status: 'ACTIVE' }),
    ],
  ])('park %s about what nobody knows: %s [AW-11]', async (detailType, note, detail) => {
    const before = await house.picture();
    expect(await amazon.told(detailType, detail())).toMatchObject({ state: 'parked', note, subscriptionId: null, answer: { status: 200 } });
    expect(await house.picture()).toEqual(before);
  });

  it.each([
    ['Licence Teleported', { status: 'CANCELLED' }, 'Licence Teleported: not a type we act on'],
    ['Purchase Agreement Advisory Resolved - Manufacturer', {}, 'Purchase Agreement Advisory Resolved - Manufacturer: for people'],
    [
      'Purchase Agreement Ended - Proposer',
      { status: 'ROLLED_BACK' },
      'Purchase Agreement Ended - Proposer: ROLLED_BACK ends nothing by itself',
    ],
    ['License Updated - Manufacturer', {}, 'nothing new'],
  ])('keep %s (%j) about a live purchase and change nothing [AW-21]', async (detailType, extra, note) => {
    const before = await house.picture();
    const detail = about({ licence: live.licenseId, agreement: live.agreementId, ...extra });
    const stored = await amazon.told(detailType, detail);
    expect(stored).toMatchObject({ state: 'processed', note, subscriptionId: (await house.subscriptionOf(live.licenseId))['id'] });
    expect(await house.picture()).toEqual(before);
  });

  it('are taken once by their id, and change nothing by another id [AW-02]', async () => {
    const licence = newLicence();
    const detail = about({ licence, agreement: newAgreement() });
    const first = await amazon.told('License Updated - Manufacturer', detail);
    expect(first).toMatchObject({ state: 'processed', note: 'created' });
    const before = await house.picture();
    // The second is a repeat by its id alone, whatever it says.
    for (const type of ['License Updated - Manufacturer', 'License Deprovisioned - Manufacturer'])
      expect(await amazon.send(type, detail, { id: first['naturalKey'] })).toMatchObject({ status: 200 });
    expect(await amazon.told('License Updated - Manufacturer', detail)).toMatchObject({ state: 'processed', note: 'nothing new' });
    expect(await house.stored('aws.eventbridge', String(first['naturalKey']))).toEqual(first);
    expect(await house.picture()).toEqual(before);
  });

  it('end a licence for good, also when its ending comes before its beginning [AW-14]', async () => {
    const tenants = await house.list('tenants');
    const licence = newLicence();
    const agreement = newAgreement();
    const ended = await amazon.told('Purchase Agreement Ended - Proposer', about({ agreement, status: 'CANCELLED' }), {
      time: '2026-11-20T10:00:10Z',
    });
    expect(ended).toMatchObject({ state: 'parked', note: `waits for agreement ${agreement}` });
    const time = { time: '2026-11-20T10:00:00Z' };
    expect(await amazon.told('License Updated - Manufacturer', about({ licence, agreement }), time)).toMatchObject({ state: 'processed' });
    await amazon.subscription(licence, 'voided');
    expect(await house.stored('aws.eventbridge', String(ended['naturalKey']))).toMatchObject({ state: 'processed' });
    const before = await house.picture();
    expect(await amazon.told('License Updated - Manufacturer', about({ licence, agreement }))).toMatchObject({
      note: 'License Updated - Manufacturer: the purchase has ended',
    });
    expect(await house.picture()).toEqual(before);

    const other = newLicence();
    await amazon.told('License Deprovisioned - Manufacturer', about({ licence: other }));
    await amazon.told('License Updated - Manufacturer', about({ licence: other }));
    await amazon.subscription(other, 'voided');
    expect(await house.list('tenants')).toEqual(tenants);
  });

  it('that warn of a buyer are a flag that operators see and tenants do not; service goes on [AW-22]', async () => {
    await house.shop('POST', `/aws/agreements/${live.agreementId}/advisory`, { kind: 'issued' });
    const { json } = await until(
      () => house.api('GET', '/marketplace-notices?kind=advisory'),
      (a) => a.json.items?.length === 1,
    );
    expect(json.items![0]).toMatchObject({ state: 'open', status: 'Issued', isOverdue: false });
    const flagged = await house.subscriptionOf(live.licenseId);
    expect(flagged).toMatchObject({ id: json.items![0]!['subscriptionId'], state: 'active', flags: ['advisory'] });
    const made = await house.api('POST', `/tenants/${String(flagged['tenantId'])}/keys`, { name: 'the buyer' });
    const tenantKey = String(made.json['key']);
    expect((await house.api('GET', '/marketplace-notices', undefined, tenantKey)).status).toBe(403);
    const seen = await house.api('GET', `/subscriptions/${String(flagged['id'])}`, undefined, tenantKey);
    expect(seen.json).toMatchObject({ id: flagged['id'] });
    expect(seen.text).not.toContain('advisory');
    await house.shop('POST', `/aws/agreements/${live.agreementId}/advisory`, { kind: 'resolved' });
    await until(
      () => house.subscriptionOf(live.licenseId),
      (s) => JSON.stringify(s['flags']) === '[]',
    );
    expect((await house.api('GET', '/renewals?days=0')).json['code']).toBe('request.invalid');
    expect((await house.api('GET', '/marketplace-notices?kind=rumour')).json['code']).toBe('request.invalid');
  });

  it('do not bring an ended purchase back by older events that come later, nor by its old token [AW-14]', async () => {
    await house.shop('POST', `/aws/agreements/${live.agreementId}/cancel`, {});
    await until(
      () => house.subscriptionOf(live.licenseId),
      (s) => s['endedAt'] !== null,
    );
    const ended = await house.endOf(live.licenseId);
    const older = { time: '2026-01-01T00:00:00Z' };
    const both = about({ licence: live.licenseId, agreement: live.agreementId });
    expect(await amazon.told('License Updated - Manufacturer', both, older)).toMatchObject({
      state: 'processed',
      note: 'License Updated - Manufacturer: the purchase has ended',
    });
    await amazon.told('Purchase Agreement Created - Proposer', about({ agreement: live.agreementId, status: 'ACTIVE' }), older);
    expect((await house.session(sessionOf(await amazon.land(tokenOf(live))))).json).toMatchObject({ state: 'ended', endpoint: null });
    expect(await house.endOf(live.licenseId)).toEqual(ended);
  });
});
