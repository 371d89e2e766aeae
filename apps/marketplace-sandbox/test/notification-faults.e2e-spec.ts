import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AwsBench } from './support/aws.js';
import { channelBench, LEGACY, legacyBuy, topicOf } from './support/channels.js';
import { eventually } from './support/harness.js';
import type { Received } from './support/receiver.js';

let bench: AwsBench;
beforeAll(async () => {
  bench = await channelBench();
  const url = bench.receiverUrl;
  await bench.sandbox.control('/settings', {
    method: 'PUT',
    body: { azure: { webhookUrl: `${url}/azure` }, aws: { webhookUrl: `${url}/bus` }, gcp: { pushEndpoint: `${url}/push` } },
  });
  // Without a confirmation nothing is told: the link of the confirmation is opened here, as no seller's program may.
  await bench.sandbox.control('/aws/sns/subscriptions', {
    body: { topicArn: topicOf('subscription', LEGACY), endpoint: `${url}/topic` },
  });
  const asked = await eventually(() => at('/topic').find((one) => JSON.parse(one.text).Type === 'SubscriptionConfirmation'));
  await fetch(JSON.parse(asked.text).SubscribeURL as string);
});
afterEach(() => bench.sandbox.control('/faults', { method: 'DELETE' }));
afterAll(() => bench.stop());

const at = (path: string): Received[] => bench.receiver.received.filter((one) => one.path === path);
const agreement = async (): Promise<string> => (await bench.buy()).agreementId;

interface Notice {
  /** Whom it is about. */
  key: string;
  /** What must be the same in a repeat. */
  text: string;
}
interface Channel {
  marketplace: string;
  operation: string;
  /** A purchase makes this notification and no other, so that the next one of all is the next one of these. */
  isAlone: boolean;
  /** Makes one notification of the operation; answers whom it is about. */
  make(): Promise<string>;
  arrived(): Notice[] | Promise<Notice[]>;
}

const bus = ({ text }: { text: string }): Notice[] => {
  const event = JSON.parse(text) as { 'detail-type': string; detail: { agreement: { id: string } } };
  return event['detail-type'].startsWith('License Updated') ? [{ key: event.detail.agreement.id, text }] : [];
};

const channels: Record<string, Channel> = {
  'Azure webhook (contract azure §4)': {
    marketplace: 'azure',
    operation: 'Subscribe',
    isAlone: true,
    make: async () => (await bench.sandbox.purchase({ autoActivate: true })).subscriptionId,
    arrived: () => at('/azure').flatMap(({ text, body }) => (body.action === 'Subscribe' ? [{ key: body.subscriptionId, text }] : [])),
  },
  'EventBridge to an address (contract aws §4.1, §4.3)': {
    marketplace: 'aws',
    operation: 'License Updated',
    isAlone: false,
    make: agreement,
    arrived: () => at('/bus').flatMap(bus),
  },
  'EventBridge to a queue (contract aws §4.1, §4.3)': {
    marketplace: 'aws',
    operation: 'License Updated',
    isAlone: false,
    make: agreement,
    arrived: async () => {
      const { items } = (await bench.sandbox.control('/aws/queues/marketplace-events/messages')).json as { items: { body: string }[] };
      return items.flatMap(({ body }) => bus({ text: body }));
    },
  },
  'SNS (contract aws §4.2)': {
    marketplace: 'aws',
    operation: 'Notification',
    isAlone: true,
    make: async () => (await legacyBuy(bench, { pays: true })).customerIdentifier,
    arrived: () =>
      at('/topic').flatMap(({ text }) => {
        const message = JSON.parse(text) as { Type: string; Message: string };
        return message.Type === 'Notification' ? [{ key: JSON.parse(message.Message)['customer-identifier'] as string, text }] : [];
      }),
  },
  'Pub/Sub (contract gcp §3, Delivery)': {
    marketplace: 'gcp',
    operation: 'ENTITLEMENT_CREATION_REQUESTED',
    isAlone: false,
    make: async () => (await bench.sandbox.control('/gcp/purchases', { body: { planId: 'standard' } })).json.entitlementId as string,
    arrived: () =>
      at('/push').flatMap(({ body }) => {
        const text = Buffer.from(body.message.data, 'base64').toString();
        const { eventType, entitlement } = JSON.parse(text) as { eventType: string; entitlement: { id: string } };
        return eventType === 'ENTITLEMENT_CREATION_REQUESTED' ? [{ key: entitlement.id, text }] : [];
      }),
  },
};

describe.each(Object.entries(channels))('%s', (name, channel) => {
  const fault = async (kind: string, extra: object = {}): Promise<void> => {
    const { marketplace, operation } = channel;
    const answer = await bench.sandbox.control('/faults', { body: { marketplace, operation, kind, ...extra } });
    expect(answer.status).toBe(201);
  };
  const of = async (key: string): Promise<Notice[]> => (await channel.arrived()).filter((one) => one.key === key);
  const comes = (key: string, count = 1): Promise<Notice[]> =>
    eventually(async () => {
      const found = await of(key);
      return found.length >= count && found;
    });
  beforeAll(() => bench.settings({ eventTarget: name.includes('queue') ? 'sqs' : 'api_destination' }));

  it('is doubled with the same bytes, and told apart from the next', async () => {
    await fault('duplicate_notification');
    const [twice, once] = [await channel.make(), await channel.make()];
    const [first, second] = await comes(twice, 2);
    expect(second!.text).toBe(first!.text);
    await comes(once);
    await bench.sandbox.advance(60);
    expect([(await of(twice)).length, (await of(once)).length]).toEqual([2, 1]);
  });

  it('is lost for good, and the next is not', async () => {
    await fault('lose_notification');
    const [lost, told] = [await channel.make(), await channel.make()];
    await comes(told);
    await bench.sandbox.advance(7_200, 3_600);
    expect(await of(lost)).toEqual([]);
  });

  it('comes after the one that was made after it', async () => {
    await fault('reorder_notification');
    const [late, next] = [await channel.make(), await channel.make()];
    await comes(late);
    await comes(next);
    expect([(await of(late)).length, (await of(next)).length]).toEqual([1, 1]);
    // Elsewhere another notification of the same purchase lets it go: `aws-agreements` and `gcp-pubsub` look at that order.
    if (channel.isAlone) {
      const order = (await channel.arrived()).map((one) => one.key);
      expect(order.indexOf(late)).toBeGreaterThan(order.indexOf(next));
    }
  });

  it('is held back when nothing follows, five minutes at most', async () => {
    await fault('reorder_notification');
    const alone = await channel.make();
    await bench.sandbox.advance(240);
    if (channel.isAlone) expect(await of(alone)).toEqual([]);
    await bench.sandbox.advance(120);
    await comes(alone);
  });

  it('is late by the business time that was told, while others pass', async () => {
    await fault('delay_notification', { delayMs: 1_800_000 });
    const [late, prompt] = [await channel.make(), await channel.make()];
    await comes(prompt);
    await bench.sandbox.advance(1_500);
    expect(await of(late)).toEqual([]);
    await bench.sandbox.advance(400);
    expect(await comes(late)).toHaveLength(1);
  });

  it('is lost by a seed: the same ones in each run', async () => {
    const run = async (seed: string): Promise<string> => {
      await fault('lose_notification', { rate: 0.5, seed });
      const keys: string[] = [];
      for (let index = 0; index < 12; index += 1) keys.push(await channel.make());
      await bench.sandbox.advance(60);
      await bench.sandbox.control('/faults', { method: 'DELETE' });
      const seen = new Set((await channel.arrived()).map((one) => one.key));
      return keys.map((key) => (seen.has(key) ? '.' : 'x')).join('');
    };
    const [first, again, other] = [await run('tide'), await run('tide'), await run('ebb')];
    expect(first).toMatch(/x.*\..*x|\..*x.*\./);
    expect(again).toBe(first);
    expect(other).not.toBe(first);
  });
});

describe('a change whose webhook is lost (contract azure §0.4, §4)', () => {
  it('is accepted by silence, as one that was answered and never patched', async () => {
    const { subscriptionId: id } = await bench.sandbox.purchase({ autoActivate: true });
    await eventually(async () => (await bench.sandbox.view(id)).status === 'Subscribed');
    await bench.sandbox.control('/faults', { body: { marketplace: 'azure', operation: 'ChangePlan', kind: 'lose_notification' } });
    await bench.sandbox.act(id, 'change-plan', { planId: 'premium' });
    await bench.sandbox.advance(11);
    const { planId, operations, webhooks } = await bench.sandbox.view(id);
    expect([planId, operations.at(-1).decidedBy]).toEqual(['premium', 'silence']);
    expect(webhooks.find((one: { action: string }) => one.action === 'ChangePlan')).toMatchObject({ state: 'lost', attempts: [] });
    expect(at('/azure').filter((one) => one.body.action === 'ChangePlan')).toEqual([]);
  });
});

describe('faults of the wire with a rate, at all three', () => {
  const calls: [string, string, () => Promise<number>][] = [
    ['azure', 'token', async () => (await bench.sandbox.tokenForm({ grant_type: 'client_credentials' })).status],
    [
      'aws',
      'getEntitlements',
      async () =>
        (
          await fetch(`${bench.sandbox.url}/aws/entitlement/`, {
            method: 'POST',
            headers: { 'x-amz-target': 'AWSMPEntitlementService.GetEntitlements', 'content-type': 'application/x-amz-json-1.1' },
            body: '{}',
          })
        ).status,
    ],
    [
      'gcp',
      'getAccount',
      async () => (await fetch(`${bench.sandbox.url}/gcp/procurement/v1/providers/harbor-storage-public/accounts/x`)).status,
    ],
  ];
  it.each(calls)('%s %s: the same calls are struck in each run', async (marketplace, operation, call) => {
    const run = async (seed: string): Promise<string> => {
      const { json } = await bench.sandbox.control('/faults', {
        body: { marketplace, operation, kind: 'status', status: 503, rate: 0.4, seed },
      });
      let pattern = '';
      for (let index = 0; index < 20; index += 1) pattern += (await call()) === 503 ? 'x' : '.';
      const [seen] = (await bench.sandbox.control('/faults')).json.items;
      expect([seen.struck, seen.seen[operation]]).toEqual([pattern.split('x').length - 1, 20]);
      expect((await bench.sandbox.control(`/faults/${json.id}`, { method: 'DELETE' })).status).toBe(204);
      return pattern;
    };
    const first = await run('tide');
    expect(first).toMatch(/x/);
    expect(first).toMatch(/\./);
    expect(await run('tide')).toBe(first);
    expect(await run('ebb')).not.toBe(first);
    expect((await bench.sandbox.control('/faults/none', { method: 'DELETE' })).status).toBe(404);
  });
});
