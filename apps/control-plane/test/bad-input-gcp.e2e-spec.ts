import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FIELD, Google, hashOf, PROVIDER, say, tokenOf, type Bought } from './support/google.js';
import { House, sessionOf } from './support/house.js';

const house = new House();
const google = new Google(house);
/** Bought and served. */
let live: Bought;
/** Bought, and announced by Google; nobody has come yet. */
let waiting: Bought;

beforeAll(async () => {
  await house.start();
  live = await google.buy();
  await google.serve(live, 'Winter Observatory');
  waiting = await google.buy();
  await google.storedOf(waiting, 'ENTITLEMENT_CREATION_REQUESTED');
}, 90_000);
afterAll(() => house.stop(), 30_000);

describe('sign-up tokens', () => {
  const problemPage = (code: string): string => `/landing/problem?code=${code}&marketplace=gcp`;
  const certificates = `/gcp/robot/v1/metadata/x509/cloud-commerce-partner@system.gserviceaccount.com`;
  const forged = (forge: string): Promise<string> => google.forged(waiting.entitlementId, forge);
  const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  /** A genuine token with another header or other claims; its signature stays. */
  const patched = async (header: object, claims: object = {}): Promise<string> => {
    const token = await google.opened(waiting.entitlementId);
    return [part({ ...token.header, ...header }), part({ ...token.claims, ...claims }), token.parts[2]].join('.');
  };
  /** RS256 taken for HS256: the certificate, which everybody has, as the secret. */
  const signedByCertificate = async (): Promise<string> => {
    const { header, claims } = await google.opened(waiting.entitlementId);
    const text = `${part({ ...header, alg: 'HS256' })}.${part(claims)}`;
    const pem = String((await house.call('GET', house.sandbox.url + certificates)).json[String(header['kid'])]);
    expect(pem).toContain('BEGIN CERTIFICATE');
    return `${text}.${createHmac('sha256', pem).update(text).digest('base64url')}`;
  };

  it.each([
    ['is signed with a key of somebody else', 'landing.token_invalid', () => forged('wrong_key')],
    ['is meant for another seller', 'landing.not_for_us', () => forged('wrong_aud')],
    ['names another issuer', 'landing.token_invalid', () => forged('wrong_iss')],
    ['has expired', 'landing.token_expired', () => forged('expired')],
    ['holds longer than Google makes them', 'landing.token_invalid', () => forged('too_long')],
    ['has no signature', 'landing.token_invalid', () => forged('alg_none')],
    ['says that it needs no signature', 'landing.token_invalid', () => patched({ alg: 'none' })],
    ['is signed with the public certificate (HS256)', 'landing.token_invalid', signedByCertificate],
    // It may be a key made since the certificates were read: neither taken nor refused.
    ['names a key that Google has not shown yet', 'landing.unavailable', () => patched({ kid: 'nobody' })],
    ['was put on another account', 'landing.token_invalid', () => patched({}, { sub: live.accountId })],
    ['is garbled', 'landing.token_invalid', () => Promise.resolve(`garbled ${randomUUID()}`)],
    ['is garbled, with the dots of a token', 'landing.token_invalid', () => Promise.resolve(`a.${randomUUID()}.c`)],
    ['holds a NUL', 'landing.token_invalid', () => Promise.resolve(`\0${randomUUID()}`)],
  ])('sends a visitor whose token %s to the page for %s, keeps that it came and changes nothing [GC-01]', async (_, code, make) => {
    const before = await house.picture();
    const token = await make();
    expect(await google.land(token)).toBe(problemPage(code));
    // What is no token of Google's leaves a line in the capped table; a visit that may be genuine is kept.
    if (code === 'landing.unavailable')
      expect(await house.stored('gcp.landing', hashOf(token))).toMatchObject({ state: 'processed', note: code, subscriptionId: null });
    else expect(await house.lastRefused()).toMatchObject({ source: 'gcp.landing', code });
    expect(await house.picture()).toEqual(before);
  });

  it('lets one token open several visits of one purchase, take its details once, and show its keys to the same person only [GC-56]', async () => {
    const tenants = await house.list('tenants');
    const token = tokenOf(waiting);
    const first = sessionOf(await google.land(token));
    const again = sessionOf(await google.land(token));
    expect(again).not.toBe(first);
    expect((await house.session(again)).json['purchase']).toEqual((await house.session(first)).json['purchase']);
    expect((await house.land(first, 'Kelp Works')).json).toMatchObject({ endpoint: { keys: [{ id: 'k1' }] } });
    await google.storedOf(waiting, 'ENTITLEMENT_ACTIVE');
    const picture = await house.picture();
    for (const session of [again, sessionOf(await google.land(` ${token} `))]) {
      const details = { organisation: 'Somebody Else', region: 'local', contactName: 'B', contactEmail: 'b@else.example' };
      expect(await house.call('POST', `${house.controlPlane.url}/landing/api/sessions/${session}/details`, details)).toMatchObject({
        status: 409,
        json: { code: 'landing.already_completed' },
      });
      // The token names the Google user who gave the details: he returns to his keys (ADR 0015).
      expect((await house.session(session)).json).toMatchObject({ state: 'ready', endpoint: { keys: [{ id: 'k1' }] } });
    }
    expect(await house.picture()).toEqual(picture);
    expect(await house.list('tenants')).toHaveLength(tenants.length + 1);
    const mine = await house.subscriptionOf(waiting.entitlementId);
    expect((await house.list('placements')).filter((p) => p['tenantId'] === mine['tenantId'])).toHaveLength(1);
    expect(await house.stored('gcp.landing', hashOf(token))).toMatchObject({ note: 'resolved; token erased', subscriptionId: mine['id'] });
  }, 60_000);

  it('shows the keys again to the person who gave the details, with a new token of his', async () => {
    const { json } = await house.shop('POST', `/gcp/entitlements/${live.entitlementId}/sign-up`);
    const session = sessionOf(await google.land(tokenOf(json as unknown as Bought)));
    expect((await house.land(session, 'Winter Observatory')).json).toMatchObject({ state: 'ready', endpoint: { keys: [{ id: 'k1' }] } });
  });

  it('sends a visitor without a token to a page that says so', async () => {
    const before = await house.picture();
    const foreign = { 'x-amzn-marketplace-token': 'of another marketplace' };
    for (const fields of [{}, { [FIELD]: '' }, { [FIELD]: ' ' }, foreign] as Record<string, string>[])
      expect(await house.post('gcp', fields)).toBe(problemPage('landing.token_missing'));
    const empty = await house.call('POST', `${house.controlPlane.url}/landing/gcp`);
    expect([empty.status, empty.headers.get('location')]).toEqual([303, problemPage('landing.token_missing')]);
    expect(await house.picture()).toEqual(before);
  });

  it('sends a visitor whose token is endless to a page that says so, and keeps how long it was', async () => {
    const before = await house.picture();
    expect(await google.land('x'.repeat(9_000))).toBe(problemPage('landing.token_invalid'));
    expect(await house.lastRefused()).toMatchObject({
      source: 'gcp.landing',
      code: 'landing.token_invalid',
      detail: 'a token of 9000 characters',
    });
    expect(await house.picture()).toEqual(before);
  });

  it.each([
    ['JSON', 'application/json', () => JSON.stringify({ [FIELD]: tokenOf(live) }), 400, 'landing.not_a_form'],
    ['plain text', 'text/plain', () => `${FIELD}=${tokenOf(live)}`, 400, 'landing.not_a_form'],
    ['a form that is too large', 'application/x-www-form-urlencoded', () => `${FIELD}=${'x'.repeat(70_000)}`, 413, 'landing.too_large'],
  ])('refuses %s as a problem with a code, and keeps that it came', async (_, type, body, status, code) => {
    const before = await house.picture();
    const answer = await house.call('POST', `${house.controlPlane.url}/landing/gcp`, body(), { 'content-type': type });
    expect(answer).toMatchObject({ status, json: { code, status } });
    expect(answer.headers.get('content-type')).toContain('application/problem+json');
    expect(await house.lastRefused()).toMatchObject({ source: 'gcp.landing', code });
    expect(await house.picture()).toEqual(before);
  });

  it('refuses a body that no route takes before it has read it', async () => {
    expect(await house.announce('/landing/gcp', 6_000_000)).toMatchObject({ status: 413, json: { code: 'request.too_large' } });
  });
});

describe('Pub/Sub messages', () => {
  const NOT_KNOWN = 'ENTITLEMENT_ACTIVE: the marketplace knows no such entitlement';
  const withId = (eventId: string): string => JSON.stringify(say('ENTITLEMENT_ACTIVE', randomUUID(), { eventId }));

  it.each([
    ['is no JSON', '{"eventId":', 'a message: it is no JSON object'],
    ['is a list', '[]', 'a message: it is no JSON object'],
    ['is no text', Buffer.from([0xff, 0x00, 0xfe]), 'a message: it names neither an entitlement nor an account'],
    ['names nobody', '{"eventType":"X"}', 'X: it names neither an entitlement nor an account'],
    ['has an id that no database holds', withId('a\0b'), NOT_KNOWN],
    // Random, because an index entry is compressed before it is measured.
    ['has an endless id', withId(randomBytes(3_000).toString('hex')), NOT_KNOWN],
  ])('keeps a message that %s and says why nothing comes of it [GC-36]', async (_, data, note) => {
    const before = await house.picture();
    await google.publish(data);
    expect(await house.stored('gcp.pubsub', `sha256:${hashOf(data)}`)).toMatchObject({ state: 'parked', note, subscriptionId: null });
    await google.drained();
    expect(await house.picture()).toEqual(before);
  });

  it.each([
    ['ENTITLEMENT_TELEPORTED', {}, 'ENTITLEMENT_TELEPORTED: not a type we act on'],
    ['ENTITLEMENT_ACTIVE', {}, NOT_KNOWN],
    ['ENTITLEMENT_CANCELLED', {}, 'the marketplace does not know this purchase'],
    ['ACCOUNT_ACTIVE', { entitlement: undefined, account: { id: randomUUID() } }, 'ACCOUNT_ACTIVE: the marketplace knows no such account'],
    ['ENTITLEMENT_RENEWED', { providerId: 'somebody-else' }, 'ENTITLEMENT_RENEWED: it is of the provider somebody-else'],
  ])('parks %s about what nobody knows (%j)', async (eventType, extra, note) => {
    const before = await house.picture();
    expect(await google.told(say(eventType, randomUUID(), extra))).toMatchObject({ state: 'parked', note, subscriptionId: null });
    expect(await house.picture()).toEqual(before);
  });

  it.each([
    ['ENTITLEMENT_TELEPORTED', 'ENTITLEMENT_TELEPORTED: not a type we act on'],
    ['ENTITLEMENT_CANCELLED', 'ENTITLEMENT_CANCELLED: the entitlement is ENTITLEMENT_ACTIVE'],
    ['ENTITLEMENT_DELETED', 'ENTITLEMENT_DELETED: the entitlement is ENTITLEMENT_ACTIVE'],
    ['ENTITLEMENT_PLAN_CHANGE_REQUESTED', 'ENTITLEMENT_PLAN_CHANGE_REQUESTED: the entitlement is ENTITLEMENT_ACTIVE'],
    ['ENTITLEMENT_CREATION_REQUESTED', 'nothing new'],
  ])('does not believe %s about a live purchase of which it is not so', async (eventType, note) => {
    const before = await house.picture();
    expect(await google.told(say(eventType, live.entitlementId, { newPlan: 'premium' }))).toMatchObject({ state: 'processed', note });
    expect(await house.picture()).toEqual(before);
  });

  it('is not held up by a type that no database holds', async () => {
    const before = await house.picture();
    const message = say('ENTITLEMENT\0', live.entitlementId);
    const key = `${PROVIDER}|entitlement|${String(message['eventId'])}`;
    expect(await google.told(message, key)).toMatchObject({ state: 'processed', note: 'entitlement: not a type we act on' });
    expect(await house.picture()).toEqual(before);
  });

  it('takes a repeated message once, and three types under one event id as three messages [GC-33]', async () => {
    const before = await house.picture();
    const message = say('ENTITLEMENT_CANCELLED', live.entitlementId);
    const stored = await google.told(message);
    for (let n = 0; n < 3; n += 1) await google.publish(JSON.stringify(message));
    await google.drained();
    expect(await house.stored('gcp.pubsub', String(stored['naturalKey']))).toEqual(stored);
    for (const eventType of ['ENTITLEMENT_TELEPORTED', 'ENTITLEMENT_RENEWED']) await google.told({ ...message, eventType });
    const timeline = await house.list(`subscriptions/${String(stored['subscriptionId'])}/timeline`);
    const ids = (await house.list('inbound-events')).filter((e) => String(e['naturalKey']).includes(String(message['eventId'])));
    expect(ids).toHaveLength(3);
    const isOfThem = (inboxId: unknown): boolean => ids.some((e) => e['id'] === inboxId);
    const facts = timeline.filter((one) => one['kind'] === 'event' && isOfThem((one['references'] as Record<string, unknown>)['inboxId']));
    expect(facts).toHaveLength(3);
    expect(await house.picture()).toEqual(before);
  });

  it('serves a purchase whose own message comes before that of its account [GC-11]', async () => {
    await house.shop('POST', '/faults', { marketplace: 'gcp', operation: 'ACCOUNT_ACTIVE', kind: 'hold_event' });
    const bought = await google.buy();
    await google.storedOf(bought, 'ENTITLEMENT_CREATION_REQUESTED');
    expect(await google.serve(bought, 'Reordered Works')).toMatchObject({ state: 'active' });
    const before = await house.picture();
    expect((await house.shop('POST', `/gcp/entitlements/${bought.entitlementId}/notify`)).json['published']).toBe(1);
    expect(await google.storedOf(bought, 'ACCOUNT_ACTIVE')).toMatchObject({ state: 'processed', note: 'nothing new' });
    expect(await house.picture()).toEqual(before);
  }, 60_000);

  it('does not bring an ended purchase back by older messages that come later, nor by its old token [GC-34]', async () => {
    await house.shop('POST', `/gcp/entitlements/${live.entitlementId}/cancel-now`);
    expect(await google.storedOf(live, 'ENTITLEMENT_CANCELLED')).toMatchObject({ state: 'processed', note: 'active → closing' });
    const ended = await house.endOf(live.entitlementId);
    for (const { eventType, body } of (await google.sent(live)).filter((one) => one.eventType !== 'ENTITLEMENT_CANCELLED')) {
      const isAbout = body['account'] ? /^ACCOUNT_ACTIVE: ACCOUNT_ACTIVE/ : /: the entitlement is ENTITLEMENT_CANCELLED$/;
      expect(String((await google.told({ ...body, eventId: randomUUID() }))['note']), eventType).toMatch(isAbout);
    }
    expect((await house.session(sessionOf(await google.land(tokenOf(live))))).json).toMatchObject({ state: 'ended', endpoint: null });
    expect(await house.endOf(live.entitlementId)).toEqual(ended);
  });
});
