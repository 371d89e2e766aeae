import { SubscribeCommand } from '@aws-sdk/client-sns';
import { decodeJwt } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { type AwsBench, nameOf } from './support/aws.js';
import { channelBench, LEGACY, legacyBuy, sns, topicOf } from './support/channels.js';
import { call, CLIENT, eventually, HOUR } from './support/harness.js';
import type { Received } from './support/receiver.js';

let bench: AwsBench;
beforeAll(async () => {
  bench = await channelBench();
  const url = bench.receiverUrl;
  // What a careful receiver does with a body that it cannot read: it asks for it again.
  bench.receiver.answering = ({ body, headers }) =>
    body === undefined || !/json|text\/plain/.test(headers['content-type'] ?? '') ? { status: 503 } : { status: 200 };
  await bench.sandbox.control('/settings', {
    method: 'PUT',
    body: { azure: { webhookUrl: `${url}/azure` }, aws: { webhookUrl: `${url}/bus` }, gcp: { pushEndpoint: `${url}/push` } },
  });
  await bench.sandbox.control('/aws/sns/subscriptions', {
    body: { topicArn: topicOf('subscription', LEGACY), endpoint: `${url}/topic` },
  });
  const asked = await eventually(() => at('/topic').find((one) => one.body?.Type === 'SubscriptionConfirmation'));
  await fetch(asked.body.SubscribeURL as string);
});
afterEach(async () => {
  await bench.sandbox.control('/faults', { method: 'DELETE' });
  bench.receiver.received.length = 0;
});
afterAll(() => bench.stop());

const at = (path: string): Received[] => bench.receiver.received.filter((one) => one.path === path);
const arm = async (marketplace: string, operation: string, kind: string, extra: object = {}): Promise<void> => {
  const answer = await bench.sandbox.control('/faults', { body: { marketplace, operation, kind, ...extra } });
  expect(answer.status, answer.text).toBe(201);
};

interface Channel {
  marketplace: string;
  operation: string;
  path: string;
  make(): Promise<unknown>;
  isIt(body: any): boolean;
}
const channels: Record<string, Channel> = {
  'an Azure webhook (contract azure §4)': {
    marketplace: 'azure',
    operation: 'Subscribe',
    path: '/azure',
    make: () => bench.sandbox.purchase({ autoActivate: true }),
    isIt: (body) => body.action === 'Subscribe',
  },
  'an event of EventBridge (contract aws §4.1)': {
    marketplace: 'aws',
    operation: 'License Updated',
    path: '/bus',
    make: () => bench.buy(),
    isIt: (body) => body['detail-type'].startsWith('License Updated'),
  },
  'a message of SNS (contract aws §4.2)': {
    marketplace: 'aws',
    operation: 'Notification',
    path: '/topic',
    make: () => legacyBuy(bench, { pays: true }),
    isIt: (body) => body.Type === 'Notification',
  },
  'a push of Pub/Sub (contract gcp §3, "Pull vs push")': {
    marketplace: 'gcp',
    operation: 'ENTITLEMENT_CREATION_REQUESTED',
    path: '/push',
    make: () => bench.sandbox.control('/gcp/purchases', { body: { planId: 'standard' } }),
    isIt: (body) => Buffer.from(body.message.data, 'base64').toString().includes('ENTITLEMENT_CREATION_REQUESTED'),
  },
};

const broken: Record<string, (one: Received, whole: Received) => boolean> = {
  truncated: (one, whole) => whole.text.startsWith(one.text) && one.text.length > 0 && one.text.length < whole.text.length,
  html: (one) => one.text.includes('<h1>') && (one.headers['content-type'] ?? '').startsWith('text/html'),
  empty: (one) => one.text === '' && !one.isCut,
  cut: (one, whole) => one.isCut && whole.text.startsWith(one.text) && Number(one.headers['content-length']) === whole.text.length,
  wrong_type: (one, whole) => one.text === whole.text && (one.headers['content-type'] ?? '').startsWith('text/html'),
};

describe.each(Object.entries(channels))('%s', (_name, { marketplace, operation, path, make, isIt }) => {
  const wholes = (): Received[] => at(path).filter((one) => one.body !== undefined && isIt(one.body));

  it.each(Object.keys(broken))('comes broken (%s) once, and whole with the same bytes after that', async (shape) => {
    await arm(marketplace, operation, 'malformed_notification', { shape });
    await make();
    const whole = await eventually(() => wholes().find((one) => !(one.headers['content-type'] ?? '').startsWith('text/html')), 10_000);
    // The end of a line that was cut is noticed at its own time.
    await eventually(() => at(path).some((one) => broken[shape]!(one, whole)));
    expect(at(path).filter((one) => broken[shape]!(one, whole))).toHaveLength(1);
  });

  it('comes slowly, in pieces of one promised length', async () => {
    await arm(marketplace, operation, 'slow_notification', { delayMs: 600 });
    await make();
    const slow = await eventually(() => wholes()[0], 10_000);
    expect(slow.tookMs).toBeGreaterThan(400);
    expect(Number(slow.headers['content-length'])).toBe(slow.text.length);
  });
});

describe('a notification that is slower than the marketplace waits', () => {
  it('is one without an answer to it, and is sent again (contract azure §4; aws §4.3)', async () => {
    await bench.sandbox.settings({ answerWindowSeconds: 1 });
    await arm('azure', 'Subscribe', 'slow_notification', { delayMs: 4000 });
    const { subscriptionId } = await bench.sandbox.purchase({ autoActivate: true });
    const { attempts } = await eventually(async () => {
      const [webhook] = (await bench.sandbox.view(subscriptionId)).webhooks;
      return webhook?.state === 'delivered' && webhook;
    }, 10_000);
    await bench.sandbox.settings({ answerWindowSeconds: 10 });
    expect(attempts.map((one: { status: number | null }) => one.status)).toEqual([null, 200]);
    expect(attempts[0].error).toContain('no answer within 1000 ms');
  });
});

describe('the token of a notification', () => {
  const tokens = (path: string): { iat?: number; exp?: number }[] =>
    at(path).map((one) => decodeJwt((one.headers.authorization ?? '').replace('Bearer ', '')));
  const now = (): number => Date.now() / 1000;

  it.each([
    ['azure', 'Subscribe', '/azure'],
    ['gcp', 'ENTITLEMENT_CREATION_REQUESTED', '/push'],
  ] as const)(
    'of %s has run out once, or its times are off; the next one is good (azure §4; gcp §3)',
    async (marketplace, operation, path) => {
      const before = bench.receiver.answering;
      // As a receiver that checks it.
      bench.receiver.answering = ({ headers }) => {
        const { exp, iat } = decodeJwt((headers.authorization ?? '').replace('Bearer ', ''));
        return { status: (exp ?? 0) < now() || (iat ?? 0) > now() + 300 ? 401 : 200 };
      };
      try {
        for (const [kind, extra] of [
          ['expired_token_notification', {}],
          ['skew_notification', { skewMs: 600_000 }],
        ] as const) {
          bench.receiver.received.length = 0;
          await arm(marketplace, operation, kind, extra);
          await (marketplace === 'azure'
            ? bench.sandbox.purchase({ autoActivate: true })
            : channels['a push of Pub/Sub (contract gcp §3, "Pull vs push")']!.make());
          const bad = (one: { iat?: number; exp?: number }): boolean =>
            kind === 'skew_notification' ? Math.abs((one.iat ?? 0) - now() - 600) < 30 : (one.exp ?? 0) < now();
          const good = (one: { iat?: number; exp?: number }): boolean => Math.abs((one.iat ?? 0) - now()) < 30;
          await eventually(() => tokens(path).filter(bad).length === 1 && tokens(path).some(good), 10_000);
        }
      } finally {
        bench.receiver.answering = before;
      }
    },
  );

  it('is none of AWS: a rule that could never strike is refused', async () => {
    const answer = await bench.sandbox.control('/faults', { body: { marketplace: 'aws', kind: 'expired_token_notification' } });
    expect([answer.status, answer.json.message]).toEqual([400, 'kind: expired_token_notification strikes at azure and gcp only']);
    expect((await bench.sandbox.control('/faults', { body: { marketplace: 'amazon', kind: 'status' } })).status).toBe(400);
  });
});

describe("a call's credential that has run out", () => {
  const api = async (path: string, body?: object): ReturnType<typeof bench.sandbox.api> => {
    const token = await bench.sandbox.token(CLIENT, 'hs8Q~sandbox-only-invented-secret-0001');
    return bench.sandbox.api(path, body === undefined ? { token } : { token, body });
  };
  const active = async (): Promise<string> => (await bench.sandbox.purchase({ autoActivate: true })).subscriptionId;

  it("is refused in each marketplace's words, without effect, and the next call is taken (azure §3; gcp §2; aws §6)", async () => {
    const { url } = bench.sandbox;
    const id = await active();
    const item = bench.sandbox.usage(id, (await bench.sandbox.now()) - HOUR, { dimension: 'gib_hours_stored' });
    await arm('azure', 'usageEvent', 'expired_token');
    const azure = await api('/usageEvent', item);
    expect([azure.status, azure.headers.get('www-authenticate')]).toEqual([401, 'Bearer error="invalid_token"']);
    expect((await api('/usageEvent', item)).status).toBe(200);

    await arm('gcp', 'listEntitlements', 'expired_token');
    const list = (): ReturnType<typeof call> => call(`${url}/gcp/procurement/v1/providers/harbor-storage-public/entitlements`);
    const gcp = await list();
    expect([gcp.status, gcp.json.error.status]).toEqual([401, 'UNAUTHENTICATED']);
    expect((await list()).status).toBe(200);

    const bought = await bench.buy();
    const record = await bench.record(bought, 2);
    await arm('aws', 'batchMeterUsage', 'expired_token');
    expect(await nameOf(bench.meter([record]))).toBe('ExpiredTokenException');
    expect(await bench.billed(bought)).toEqual([]);
    expect((await bench.meter([record])).Results?.[0]?.Status).toBe('Success');
    // The query protocol has another name for it.
    await arm('aws', 'sns', 'expired_token');
    const subscribe = new SubscribeCommand({ TopicArn: topicOf('entitlement', LEGACY), Protocol: 'http', Endpoint: bench.receiverUrl });
    expect(await nameOf(sns(bench).send(subscribe))).toMatch(/^ExpiredToken/);
  });

  it('an answer may be good JSON under a wrong content type', async () => {
    const id = await active();
    await arm('azure', 'get', 'malformed_after', { shape: 'wrong_type' });
    const answer = await api(`/saas/subscriptions/${id}`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/html; charset=utf-8']);
    expect(JSON.parse(answer.text)).toMatchObject({ id });
  });
});
