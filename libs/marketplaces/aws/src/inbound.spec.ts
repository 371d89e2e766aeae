import { describe, expect, it } from 'vitest';
import { envelopeText, LICENCE } from '../test/support/messages.js';
import { verifyInbound } from './inbound.js';
import { licenceIdOf } from './liberal.js';
import { awsSettingsSchema } from './settings.js';

const SECRET = 'a-secret-of-the-test';
const settings = awsSettingsSchema.parse({
  productCodes: ['p'],
  region: 'us-east-1',
  endpoint: null,
  webhookSecret: SECRET,
  credentials: null,
});
const body = envelopeText({ type: 'License Updated - Manufacturer', time: '2026-11-20T10:00:03Z', id: 'e-1' });
const verify = (over: { secret?: string | null; body?: string } = {}) => {
  const { secret = SECRET, body: given = body } = over;
  return verifyInbound({ headers: secret === null ? {} : { 'X-Berth-Webhook-Secret': secret }, query: {}, body: given }, settings, null);
};
const changed = (change: Record<string, unknown>): string => JSON.stringify({ ...(JSON.parse(body) as object), ...change });

describe('an event of EventBridge', () => {
  it('is taken with the secret of the connection, and known by its own id [AW-02]', async () => {
    expect(await verify()).toEqual({
      ok: true,
      source: 'aws.eventbridge',
      naturalKey: 'e-1',
      principal: 'eventbridge:aws.agreement-marketplace',
      decisionWanted: false,
      externalSubscriptionId: LICENCE,
    });
  });

  it('of an agreement names no licence', async () => {
    expect(
      await verify({ body: envelopeText({ type: 'Purchase Agreement Created - Proposer', time: '2026-11-20T10:00:03Z' }) }),
    ).toMatchObject({
      ok: true,
      externalSubscriptionId: null,
    });
  });

  it('is refused without the secret, before anything in it is read [AW-01]', async () => {
    for (const secret of [null, '', `${SECRET}x`, SECRET.slice(1), SECRET.toUpperCase()]) {
      expect(await verify({ secret }), String(secret)).toMatchObject({ ok: false, status: 401 });
      expect(await verify({ secret, body: 'no json' })).toMatchObject({ status: 401 });
    }
  });

  it('is refused where it is none', async () => {
    for (const one of ['[]', '"x"', changed({ id: '' }), changed({ 'detail-type': undefined }), changed({ source: 7 })])
      expect(await verify({ body: one }), one).toMatchObject({ ok: false, status: 400 });
    // EventBridge drops what was answered 4xx: what came broken shall come again.
    for (const one of ['', 'no json', changed({}).slice(0, -2)])
      expect(await verify({ body: one }), one).toMatchObject({ ok: false, status: 503, code: 'aws.body_not_json' });
    expect(await verify({ body: changed({ source: 'aws.s3' }) })).toMatchObject({ ok: false, status: 403 });
    expect(await verify({ body: changed({ pad: 'x'.repeat(256 * 1024) }) })).toMatchObject({ ok: false, status: 413 });
  });

  it('of a test bus is taken where its source is configured [AW-03]', async () => {
    const test = { ...settings, eventSources: ['test.agreement-marketplace'] };
    const request = { headers: { 'x-berth-webhook-secret': SECRET }, query: {}, body: changed({ source: 'test.agreement-marketplace' }) };
    expect(await verifyInbound(request, test, null)).toMatchObject({ ok: true });
    expect(await verifyInbound({ ...request, body }, test, null)).toMatchObject({ ok: false, status: 403 });
  });
});

describe('a licence', () => {
  it('is known by its id over all spellings [AW-04]', () => {
    for (const text of [
      LICENCE,
      `arn:aws:license-manager::123456789012:license:${LICENCE}`,
      `aws:license-manager:us-east-1:123456789012:${LICENCE}`,
      `arn:aws:license-manager:us-east-1:123456789012:license/${LICENCE.toUpperCase()}`,
      ` ${LICENCE} `,
    ]) {
      expect(licenceIdOf(text), text).toBe(LICENCE);
    }
    for (const text of ['', 'l-', `x${LICENCE}`, `${LICENCE}:x`, 'arn:aws:license-manager::1:license/lic-xxx', null, 7])
      expect(licenceIdOf(text), String(text)).toBeNull();
  });
});
