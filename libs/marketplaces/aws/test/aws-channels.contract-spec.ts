import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { PulledMessage } from '#marketplaces/core';
import type { AwsRefs, AwsSettingsInput } from '../src/index.js';
import { Purchases } from './support/purchases.js';
import { AwsSandbox } from './support/sandbox-process.js';

const PRODUCT = '4harborobjectcells0000000';
const LEGACY = '4harborlegacy000000000000';
const TOPIC = `arn:aws:sns:us-east-1:287250355862:aws-mp-subscription-notification-${LEGACY}`;
const ROLE = 'arn:aws:iam::999900001111:role/berth-marketplace';
const RUNTIME = { accessKeyId: 'AKIARUNTIME000000000', secretAccessKey: 'runtime-secret' };
const SELLER = { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' };

let sandbox: AwsSandbox;
beforeAll(async () => {
  const products = [
    { code: PRODUCT, id: 'prod-harborcells', title: 'Object Cells', dimensions: ['mib_egress'] },
    { code: LEGACY, id: 'prod-harborlegacy', title: 'Old', dimensions: ['mib_egress'], contract: 'legacy' },
  ];
  sandbox = await AwsSandbox.start({
    products,
    credentials: [SELLER, { ...RUNTIME, accountId: '555500005555' }],
    roles: [{ arn: ROLE, externalId: 'harbor-external', trusted: [RUNTIME.accessKeyId] }],
    queues: [{ name: 'marketplace-events' }, { name: 'bare' }, { name: 'guarded', maxReceives: 5 }],
  });
});
afterAll(() => sandbox?.stop());

const adapter = (more: Partial<AwsSettingsInput> = {}) => {
  const at = (service: string): string => `${sandbox.url}/aws/${service}`;
  return sandbox.adapterWith({ sqsEndpoint: at('sqs'), entitlementEndpoint: at('entitlement'), ...more });
};
const queueOf = async (name: string): Promise<{ url: string; items: { receives: number }[] }> =>
  sandbox.control('GET', `/aws/queues/${name}/messages`);
const eventually = async <T>(ask: () => Promise<T>, holds: (value: T) => boolean): Promise<T> => {
  for (const end = performance.now() + 15_000; ; await new Promise((resolve) => setTimeout(resolve, 20))) {
    const value = await ask();
    if (holds(value)) return value;
    if (performance.now() > end) throw new Error(`not in time: ${JSON.stringify(value)}`);
  }
};
const eventText = (id: string): string =>
  JSON.stringify({ id, source: 'aws.agreement-marketplace', 'detail-type': 'License Updated - Manufacturer', detail: {} });

describe("the seller's role in another account", () => {
  const role = (externalId: string) => ({ arn: ROLE, externalId, endpoint: `${sandbox.url}/aws/sts` });

  it('resolves what a foreign key cannot, and only with its external id [AW-85]', async () => {
    const { registration } = await sandbox.buy();
    const landing = (more: Partial<AwsSettingsInput>) => adapter({ credentials: RUNTIME, ...more }).resolveLanding(registration.fields);
    expect(await landing({})).toMatchObject({ ok: false });
    expect(await landing({ role: role('guessed') })).toMatchObject({ ok: false, code: 'landing.unavailable' });
    expect(await landing({ role: role('harbor-external') })).toMatchObject({ ok: true, truth: { externalOfferId: PRODUCT } });
  });

  it('is what doctor names where it cannot be taken [AW-86]', async () => {
    const checks = await adapter({ credentials: RUNTIME, role: role('guessed') }).doctor!({});
    expect(checks.find((one) => one.check === 'aws.credentials')).toMatchObject({
      result: 'fail',
      remedy: expect.stringContaining(ROLE) as string,
    });
    const good = await adapter({ credentials: RUNTIME, role: role('harbor-external') }).doctor!({});
    expect(good.find((one) => one.check === 'aws.credentials')).toMatchObject({
      result: 'pass',
      detail: expect.stringContaining(ROLE) as string,
    });
  });
});

describe('a queue', () => {
  it('gives a message again until it is stored, and only then loses it [AW-76]', async () => {
    const { url } = await queueOf('bare');
    const taken: PulledMessage[] = [];
    const pulling = await adapter({ queues: [url] }).pull!((message) => {
      taken.push(message);
      return taken.length === 1 ? Promise.reject(new Error('the database is away')) : Promise.resolve();
    });
    await sandbox.control('POST', '/aws/queues/bare/messages', { body: eventText('one') });
    await eventually(
      () => queueOf('bare'),
      ({ items }) => items.length === 0,
    );
    expect(taken.map((m) => [m.source, m.naturalKey])).toEqual([
      ['aws.eventbridge', 'one'],
      ['aws.eventbridge', 'one'],
    ]);
    await pulling.stop();
  });

  it('hides a message for as long as it is being stored, and waits for that when it is stopped [AW-76]', async () => {
    const { url } = await queueOf('bare');
    let release = (): void => undefined;
    let times = 0;
    const pulling = await adapter({ queues: [url], queueVisibilitySeconds: 2 }).pull!(() => {
      times += 1;
      return new Promise<void>((resolve) => (release = resolve));
    });
    const calls = async () =>
      (await sandbox.control<{ items: unknown[] }>('GET', '/calls?marketplace=aws&operation=changeMessageVisibility')).items.length;
    const before = await calls();
    await sandbox.control('POST', '/aws/queues/bare/messages', { body: eventText('two') });
    // Three halves of its time: without an extension it would have come back by now.
    await eventually(calls, (many) => many >= before + 3);
    expect([times, (await queueOf('bare')).items.map((one) => one.receives)]).toEqual([1, [1]]);
    const stopped = pulling.stop();
    release();
    await stopped;
    expect((await queueOf('bare')).items).toEqual([]);
  });
});

describe('usage of an old listing', () => {
  it('goes by product code and customer identifier, once per hour, and never by licence [AW-83]', async () => {
    const ours = adapter({ productCodes: [PRODUCT, LEGACY], legacyProducts: { [LEGACY]: {} } });
    const body = { productCode: LEGACY, pays: true };
    const bought = await sandbox.control<{ customerIdentifier: string; registration: { fields: Record<string, string> } }>(
      'POST',
      '/aws/legacy/purchases',
      body,
    );
    const landed = await ours.resolveLanding(bought.registration.fields);
    if (!landed.ok) throw new Error(landed.code);
    const { externalSubscriptionId, refs } = landed.truth;
    const hourStart = new Date(Math.floor(sandbox.clock.now().getTime() / 3_600_000 - 1) * 3_600_000);
    const hour = { hourStart, hourEnd: new Date(hourStart.getTime() + 3_600_000), externalPlanId: 'standard', dimension: 'mib_egress' };
    const item = ours.buildUsageItem({ itemId: 'i-1', externalSubscriptionId, refs, quantity: '7', ...hour } as never);
    for (let times = 0; times < 2; times++) expect(await ours.submitUsage([item])).toMatchObject([{ itemId: 'i-1', outcome: 'accepted' }]);
    expect(await sandbox.billed(bought.customerIdentifier)).toMatchObject([{ dimension: 'mib_egress', quantity: '7' }]);
    // The same listing after its move: what was frozen by the old key is held back, not sent.
    const moved = adapter({ productCodes: [LEGACY], legacyProducts: {} });
    await expect(moved.submitUsage([item])).rejects.toMatchObject({ code: 'aws.both_keys' });
  });
});

describe('entitlements of a licence', () => {
  it('are read with the resolved spelling, over empty pages, by landing and by event [AW-80]', async () => {
    await sandbox.control('PUT', '/settings', { aws: { emptyEntitlementPages: 2 } });
    const ours = adapter({ contractProducts: { [PRODUCT]: { quantityDimension: 'nodes' } } });
    const bought = await sandbox.buy();
    await sandbox.act(bought.agreementId, 'entitle', { dimension: 'nodes', value: 5 });
    const kept = new Purchases(ours);
    const resolution = await ours.resolveLanding(bought.registration.fields);
    if (!resolution.ok) throw new Error(resolution.code);
    expect(resolution.truth.quantity).toBe(5);
    const { licenseId: externalSubscriptionId } = bought;
    kept.apply({
      kind: 'purchased',
      marketplace: 'aws',
      externalSubscriptionId,
      occurredAt: sandbox.clock.now(),
      truth: resolution.truth,
      note: 'landing',
    });
    await sandbox.act(bought.agreementId, 'entitle', { dimension: 'nodes', value: 9 });
    const { stored } = await sandbox.told(bought.agreementId, 'License Updated');
    const recall = (id: string) => Promise.resolve(kept.truths.get(id)?.refs ?? null);
    for (const event of await ours.normalise(stored, recall)) kept.apply(event);
    expect(kept.truths.get(externalSubscriptionId)!.quantity).toBe(9);
  });

  it('are read again when the purchase is asked for, in a derived spelling too [AW-121]', async () => {
    const agreements = { productIds: { 'prod-harborcells': PRODUCT }, endpoint: `${sandbox.url}/aws/agreement` };
    const ours = adapter({ contractProducts: { [PRODUCT]: { quantityDimension: 'nodes' } }, agreements });
    const bought = await sandbox.buy();
    await sandbox.act(bought.agreementId, 'entitle', { dimension: 'nodes', value: 6 });
    const landed = await ours.resolveLanding(bought.registration.fields);
    if (!landed.ok) throw new Error(landed.code);
    await sandbox.act(bought.agreementId, 'entitle', { dimension: 'nodes', value: 11 });
    const { licenseArn, ...refs } = landed.truth.refs as AwsRefs;
    for (const spelling of [
      { licenseArn, derivedArn: null },
      { licenseArn: null, derivedArn: licenseArn },
    ])
      expect(await ours.askTruth!(bought.licenseId, { ...refs, ...spelling })).toMatchObject({ quantity: 11 });
    await sandbox.fault('getEntitlements', 'status', { status: 500 });
    expect(await ours.askTruth!(bought.licenseId, landed.truth.refs)).toMatchObject({ quantity: 6 });
  });

  it('that do not come do not cost the buyer the landing, old listing or new [AW-122]', async () => {
    const contractProducts = { [PRODUCT]: { quantityDimension: 'nodes' }, [LEGACY]: { quantityDimension: 'nodes' } };
    const ours = adapter({ productCodes: [PRODUCT, LEGACY], legacyProducts: { [LEGACY]: {} }, contractProducts });
    const bought = await sandbox.buy();
    const old = await sandbox.control<typeof bought>('POST', '/aws/legacy/purchases', { productCode: LEGACY, pays: true });
    await sandbox.act(bought.agreementId, 'entitle', { dimension: 'nodes', value: 6 });
    for (const one of [bought, old]) {
      await sandbox.fault('getEntitlements', 'status', { status: 500 });
      const landed = await ours.resolveLanding(one.registration.fields);
      expect(landed).toMatchObject({ ok: true, truth: { quantity: null, incomplete: 'quantity' } });
      if (one === bought && landed.ok) {
        const { externalSubscriptionId, refs } = landed.truth;
        const later = await ours.readTruth(externalSubscriptionId, refs);
        expect(later).toMatchObject({ quantity: 6 });
        expect(later).not.toHaveProperty('incomplete');
      }
    }
  });
});

describe('doctor', () => {
  /** Entitlements are told twenty times a second: what was asked before this test may have used that up. */
  const calm = async <T extends Record<string, string>>(look: () => Promise<T>): Promise<T> => {
    for (let tries = 0; tries < 50; tries += 1) {
      const seen = await look();
      if (seen[`aws.entitlements.${PRODUCT}`] !== 'unknown') return seen;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    throw new Error('the sandbox throttles for five seconds');
  };

  it('says of each topic, queue and contract what is wrong and how to mend it [AW-86]', async () => {
    const [bare, guarded] = [(await queueOf('bare')).url, (await queueOf('guarded')).url];
    const look = async (more: Partial<AwsSettingsInput>) => {
      const checks = await adapter({
        productCodes: [PRODUCT, LEGACY],
        legacyProducts: { [LEGACY]: {} },
        contractProducts: { [PRODUCT]: {} },
        sns: { topics: [TOPIC], endpoint: `${sandbox.url}/aws/sns`, subscriptionUrl: null },
        queues: [bare, guarded, `${guarded}x`],
        ...more,
      }).doctor!({});
      return Object.fromEntries(checks.map((one) => [one.check, one.result]));
    };
    const topic = `aws.topic.${TOPIC.split(':').pop()}`;
    expect(await calm(() => look({}))).toMatchObject({
      'aws.queue.bare': 'warn',
      'aws.queue.guarded': 'pass',
      'aws.queue.guardedx': 'fail',
      [`aws.entitlements.${PRODUCT}`]: 'pass',
      [topic]: 'fail',
    });
    await sandbox.control('POST', '/aws/sns/subscriptions', { topicArn: TOPIC, protocol: 'sqs', endpoint: 'bare' });
    expect((await look({}))[topic]).toBe('pass');
    expect(await look({ sns: null, queues: [] })).toMatchObject({ 'aws.topics': 'fail' });
    expect((await look({ contractProducts: { nosuchproduct: {} } }))['aws.entitlements.nosuchproduct']).toBe('fail');
  });
});
