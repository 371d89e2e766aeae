import { createSign, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { MarketplaceBusy } from '#marketplaces/core';
import { GuardedHttp, type HttpRequest, HttpTransportError } from '#platform';
import { certificateOf } from '../../test/support/certificate.js';
import { SnsCertificates } from './certificates.js';
import { signedTextOf, snsMessageOf } from './message.js';
import { verifyInbound } from '../inbound.js';
import { awsSettingsSchema } from '../settings.js';
import { SNS_HEADER, verifySns } from './verify.js';

const TOPIC = 'arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-4example';
const CERT_URL = 'https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem';
const DAY = 86_400_000;
const keys = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const pem = (key = keys, from = -DAY, to = DAY, who = 'sns.amazonaws.com'): string =>
  certificateOf(key, who, new Date(Date.now() + from), new Date(Date.now() + to));

/** Signed by SNS as it signs; `forge` changes it afterwards. */
function body(
  over: Record<string, unknown> = {},
  { key = keys, forge = {} as Record<string, unknown> }: { key?: KeyObject; forge?: Record<string, unknown> } = {},
): string {
  const message: Record<string, unknown> = {
    Type: 'Notification',
    MessageId: '63a3f6b6-d533-4a47-aef9-000000000001',
    TopicArn: TOPIC,
    Message: '{"action":"subscribe-success"}',
    Timestamp: '2026-11-20T10:00:00.000Z',
    SignatureVersion: '2',
    Signature: 'unsigned',
    SigningCertURL: CERT_URL,
    ...over,
  };
  const text = signedTextOf(snsMessageOf(JSON.stringify(message))!);
  message['Signature'] = createSign(message['SignatureVersion'] === '1' ? 'RSA-SHA1' : 'RSA-SHA256')
    .update(text)
    .sign(key, 'base64');
  return JSON.stringify({ ...message, ...forge });
}
type Served = { status: number; text: string } | Error;

/** The other side of the guarded client, and what was asked of it. */
function bench(served: Served | (() => Served) = { status: 200, text: pem() }, endpoint: string | null = null) {
  const asked: HttpRequest[] = [];
  const request = (r: HttpRequest) => {
    asked.push(r);
    const one = typeof served === 'function' ? served() : served;
    return one instanceof Error ? Promise.reject(one) : Promise.resolve({ ...one, headers: {} });
  };
  const time = { ms: 0 };
  const certificates = new SnsCertificates({ request } as unknown as GuardedHttp, endpoint, () => time.ms);
  const verify = (text: string) => verifySns({ headers: {}, query: {}, body: text }, [TOPIC], certificates);
  return { verify, asked, time };
}

describe('a message of SNS', () => {
  it.each(['1', '2'])(
    'signed in version %s is taken and known by its MessageId, and a replay has the same key',
    async (SignatureVersion) => {
      const { verify, asked } = bench();
      const genuine = body({ SignatureVersion });
      const first = await verify(genuine);
      expect(first).toMatchObject({
        ok: true,
        source: 'aws.sns',
        naturalKey: '63a3f6b6-d533-4a47-aef9-000000000001',
        principal: `sns:${TOPIC}`,
      });
      expect(await verify(genuine)).toEqual(first);
      expect(asked).toEqual([{ method: 'GET', url: CERT_URL, timeoutMs: 3_000, maxBytes: 16_384 }]);
    },
  );

  it('with a subject, and one that asks for confirmation, are signed over their own fields [AW-70]', async () => {
    const { verify } = bench();
    expect(await verify(body({ Subject: 'news' }))).toMatchObject({ ok: true });
    const confirmation = { Type: 'SubscriptionConfirmation', Token: 't-1', SubscribeURL: 'https://sns.us-east-1.amazonaws.com/?Action=x' };
    expect(await verify(body(confirmation))).toMatchObject({ ok: true });
    expect(await verify(body(confirmation, { forge: { Token: 't-2' } }))).toMatchObject({ code: 'aws.sns_signature' });
  });

  it.each(['Message', 'MessageId', 'Timestamp', 'Subject'])('with another %s than was signed is refused [AW-70]', async (field) => {
    expect(await bench().verify(body({}, { forge: { [field]: 'forged' } }))).toMatchObject({
      ok: false,
      status: 403,
      code: 'aws.sns_signature',
    });
  });

  it('signed by a wrong key, or in another version than it says, is refused [AW-70]', async () => {
    const { verify } = bench();
    expect(await verify(body({}, { key: stranger }))).toMatchObject({ code: 'aws.sns_signature' });
    expect(await verify(body({ SignatureVersion: '1' }, { forge: { SignatureVersion: '2' } }))).toMatchObject({
      code: 'aws.sns_signature',
    });
    expect(await verify(body({}, { forge: { SignatureVersion: '3' } }))).toMatchObject({ code: 'aws.sns_signature_version' });
  });

  it('of a topic that is not ours is refused before anything is fetched [AW-71]', async () => {
    const { verify, asked } = bench();
    for (const TopicArn of [`${TOPIC}x`, TOPIC.replace('287250355862', '111122223333'), TOPIC.replace('us-east-1', 'us-west-2'), 'none'])
      expect(await verify(body({ TopicArn })), TopicArn).toMatchObject({ ok: false, code: 'aws.sns_topic_not_for_us' });
    expect(asked).toEqual([]);
  });

  it.each([
    'http://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem',
    'https://sns.us-east-1.amazonaws.com.evil.test/SimpleNotificationService-0123456789abcdef.pem',
    'https://sns.us-east-1.amazonaws.com@evil.test/SimpleNotificationService-0123456789abcdef.pem',
    'https://user@sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem',
    'https://sns.us-east-1.amazonaws.com:8443/SimpleNotificationService-0123456789abcdef.pem',
    'https://sns.us-west-2.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem',
    'https://evil.test/SimpleNotificationService-0123456789abcdef.pem',
    'https://127.0.0.1/SimpleNotificationService-0123456789abcdef.pem',
    'https://169.254.169.254/SimpleNotificationService-0123456789abcdef.pem',
    'https://sns.us-east-1.amazonaws.com/bucket/SimpleNotificationService-0123456789abcdef.pem',
    'https://sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem?x',
    'https://sns.us-east-1.amazonaws.com/SimpleNotificationService-..%2fevil.pem',
    'https://sns.us-east-1.amazonaws.com/evil.pem',
    '//sns.us-east-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem',
  ])('whose certificate is at %s is refused, with nothing fetched [AW-72]', async (SigningCertURL) => {
    const { verify, asked } = bench();
    expect(await verify(body({ SigningCertURL }))).toMatchObject({ ok: false, status: 403, code: 'aws.sns_certificate_url' });
    expect(asked).toEqual([]);
  });

  it.each([
    ['has expired', pem(keys, -2 * DAY, -DAY)],
    ['is not valid yet', pem(keys, DAY, 2 * DAY)],
    ['is made out to somebody else', pem(keys, -DAY, DAY, 'evil.test')],
    ['is a wildcard', pem(keys, -DAY, DAY, '*.amazonaws.com')],
    ['is none', 'not a certificate'],
  ])('whose certificate %s is refused [AW-72]', async (_what, text) => {
    expect(await bench({ status: 200, text }).verify(body())).toMatchObject({ ok: false, code: 'aws.sns_certificate' });
  });

  it('whose certificate is a redirect or missing is refused, and that answer is not kept [AW-72]', async () => {
    let served: Served = { status: 302, text: pem() };
    const { verify, asked } = bench(() => served);
    expect(await verify(body())).toMatchObject({ code: 'aws.sns_certificate' });
    served = { status: 404, text: pem() };
    expect(await verify(body())).toMatchObject({ code: 'aws.sns_certificate' });
    served = { status: 200, text: pem() };
    expect(await verify(body())).toMatchObject({ ok: true });
    expect(asked).toHaveLength(3);
  });

  it('is asked for again where the certificate cannot be had just now; a private address is refused [AW-72]', async () => {
    await expect(bench({ status: 503, text: '' }).verify(body())).rejects.toBeInstanceOf(MarketplaceBusy);
    await expect(bench(new HttpTransportError('http.timeout', 'late', true)).verify(body())).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(await bench(new HttpTransportError('http.not_allowed', 'private', false)).verify(body())).toMatchObject({
      code: 'aws.sns_certificate',
    });
    // The guarded client itself: the true name, resolved to an address inside.
    const lookup = (_name: string, options: { all?: boolean }, done: (e: null, a: unknown, f?: number) => void) =>
      options.all ? done(null, [{ address: '10.0.0.5', family: 4 }]) : done(null, '10.0.0.5', 4);
    const http = new GuardedHttp({ allow: ['sns.us-east-1.amazonaws.com'], lookup: lookup as never });
    const verdict = await verifySns({ headers: {}, query: {}, body: body() }, [TOPIC], new SnsCertificates(http, null));
    expect(verdict).toMatchObject({ ok: false, code: 'aws.sns_certificate' });
    await http.close();
  });

  it('by anybody, with a made-up certificate each, starts ten fetches a minute at most; a genuine one waits or needs none [AW-124]', async () => {
    const { verify, asked, time } = bench(() => ({ status: 404, text: '' }));
    const named = (n: number): string =>
      body({ SigningCertURL: CERT_URL.replace('0123456789abcdef', String(10_000_000 + n)) }, { key: stranger });
    for (let n = 0; n < 10; n++) expect(await verify(named(n))).toMatchObject({ code: 'aws.sns_certificate' });
    for (let n = 10; n < 30; n++) await expect(verify(named(n))).rejects.toBeInstanceOf(MarketplaceBusy);
    await expect(verify(body())).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(asked).toHaveLength(10);
    time.ms = 60_001;
    expect(await verify(named(30))).toMatchObject({ code: 'aws.sns_certificate' });
    expect(asked).toHaveLength(11);
  });

  it('with a certificate that is kept goes through while others use the minute up, and many at once share a fetch [AW-124]', async () => {
    const { verify, asked } = bench();
    const all = await Promise.all(Array.from({ length: 30 }, () => verify(body())));
    expect(all.every((one) => one.ok)).toBe(true);
    expect(asked).toHaveLength(1);
    for (let n = 0; n < 9; n++) await verify(body({ SigningCertURL: CERT_URL.replace('0123456789abcdef', String(10_000_000 + n)) }));
    await expect(verify(body({ SigningCertURL: CERT_URL.replace('0', '9') }))).rejects.toBeInstanceOf(MarketplaceBusy);
    expect(await verify(body())).toMatchObject({ ok: true });
  });

  it('that carries an event of a bus is held to our sources, as the event alone would be [AW-125]', async () => {
    const settings = awsSettingsSchema.parse({
      productCodes: ['p'],
      region: 'us-east-1',
      webhookSecret: 'a-secret-of-the-test',
      sns: { topics: [TOPIC] },
    });
    const certificates = new SnsCertificates(
      { request: () => Promise.resolve({ status: 200, text: pem(), headers: {} }) } as unknown as GuardedHttp,
      null,
    );
    const told = (source: string) => {
      const Message = JSON.stringify({ id: 'e-1', source, 'detail-type': 'License Deprovisioned - Manufacturer', detail: {} });
      return verifyInbound({ headers: { [SNS_HEADER]: 'Notification' }, query: {}, body: body({ Message }) }, settings, certificates);
    };
    expect(await told('a.test.bus')).toMatchObject({ ok: false, status: 403, code: 'aws.source_not_for_us' });
    expect(await told('aws.agreement-marketplace')).toMatchObject({ ok: true, source: 'aws.sns' });
  });

  it('in a sandbox has its certificate below the configured base and nowhere else', async () => {
    const { verify } = bench({ status: 200, text: pem() }, 'http://127.0.0.1:4010/aws/sns/');
    const file = 'SimpleNotificationService-0123456789abcdef.pem';
    expect(await verify(body({ SigningCertURL: `http://127.0.0.1:4010/aws/sns/${file}` }))).toMatchObject({ ok: true });
    for (const SigningCertURL of [CERT_URL, `http://127.0.0.1:4011/aws/sns/${file}`, `http://127.0.0.1:4010/aws/snsx/${file}`])
      expect(await verify(body({ SigningCertURL })), SigningCertURL).toMatchObject({ code: 'aws.sns_certificate_url' });
  });
});
