import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { HOUR, type Running, startSandbox } from './support/harness.js';

let sandbox: Running;
let now: number;
beforeAll(async () => {
  sandbox = await startSandbox();
  now = await sandbox.now();
});
afterAll(() => sandbox.stop());

const send = (item: object): ReturnType<Running['api']> => sandbox.api('/usageEvent', { body: item });
const batch = (items: object[]): ReturnType<Running['api']> => sandbox.api('/batchUsageEvent', { body: { request: items } });
const statusOf = async (item: object): Promise<string> => (await batch([item])).json.result[0].status;
const billed = async (id: string): Promise<any[]> => (await sandbox.control(`/billed?marketplace=azure&externalId=${id}`)).json.items;

describe('one usage event (contract azure §6)', () => {
  it('is accepted with a receipt, and billed with the digits that were sent', async () => {
    const id = await sandbox.subscribed();
    const item = sandbox.usage(id, now - HOUR);
    const answer = await sandbox.api('/usageEvent', { text: JSON.stringify(item).replace('"quantity":5', '"quantity":0.187500') });
    expect(answer.status).toBe(200);
    expect(answer.json).toMatchObject({
      status: 'Accepted',
      resourceId: id,
      dimension: 'gib_hours_stored',
      planId: 'standard',
      quantity: 0.1875,
    });
    expect(answer.text).toContain('"quantity":0.187500');
    const [line] = await billed(id);
    expect(line).toEqual({
      marketplace: 'azure',
      externalId: id,
      planId: 'standard',
      dimension: 'gib_hours_stored',
      hour: new Date(Math.floor((now - HOUR) / HOUR) * HOUR).toISOString(),
      quantity: '0.187500',
      receipt: answer.json.usageEventId,
      acceptedAt: answer.json.messageTime,
    });
  });

  it('keeps digits that a double would lose', async () => {
    const id = await sandbox.subscribed();
    await sandbox.api('/usageEvent', {
      text: JSON.stringify(sandbox.usage(id, now - HOUR)).replace('"quantity":5', '"quantity":9007199254740993.000000001'),
    });
    expect((await billed(id))[0].quantity).toBe('9007199254740993.000000001');
  });

  it('sent twice for one hour answers 409 with the accepted message, and the first one stays', async () => {
    const id = await sandbox.subscribed();
    const start = Math.floor((now - HOUR) / HOUR) * HOUR;
    const first = await send(sandbox.usage(id, start, { quantity: 5 }));
    const second = await send(sandbox.usage(id, start + 59 * 60_000 + 59_999, { quantity: 7 }));
    expect(second.status).toBe(409);
    expect(second.json).toMatchObject({
      code: 'Conflict',
      message: 'This usage event already exist.',
      additionalInfo: { acceptedMessage: { usageEventId: first.json.usageEventId, status: 'Duplicate', quantity: 5 } },
    });
    expect((await billed(id)).map((line) => line.quantity)).toEqual(['5']);
  });

  it('of another hour or dimension is no duplicate', async () => {
    const id = await sandbox.subscribed();
    const start = Math.floor((now - HOUR) / HOUR) * HOUR;
    expect((await send(sandbox.usage(id, start))).status).toBe(200);
    expect((await send(sandbox.usage(id, start - 1))).status).toBe(200);
    expect((await send(sandbox.usage(id, start, { dimension: 'mib_egress' }))).status).toBe(200);
  });

  it('refused answers 400 with details, and 403 for an app of another seller', async () => {
    const id = await sandbox.subscribed();
    const { resourceId: _resourceId, ...without } = sandbox.usage(id, now - HOUR);
    expect((await send(without)).json).toEqual({
      message: 'One or more errors have occurred.',
      target: 'usageEventRequest',
      details: [{ message: 'The resourceId is required.', target: 'ResourceId', code: 'BadArgument' }],
      code: 'BadArgument',
    });
    const other = await sandbox.token('f5d81326-97ea-404c-b15d-4ec2af608d9b', 'other-secret', '1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f0');
    const foreign = await sandbox.api('/usageEvent', { body: sandbox.usage(id, now - HOUR), token: other });
    expect([foreign.status, foreign.json]).toEqual([
      403,
      { message: 'Client is not authorized for this usage resource.', code: 'Forbidden' },
    ]);
  });

  it('takes a time without a zone for UTC', async () => {
    const id = await sandbox.subscribed();
    const hour = new Date(Math.floor((now - HOUR) / HOUR) * HOUR).toISOString();
    expect((await send(sandbox.usage(id, now, { effectiveStartTime: hour.slice(0, 19) }))).status).toBe(200);
    expect((await billed(id))[0].hour).toBe(hour);
  });
});

describe('the status of a batch item (contract azure §6, status table)', () => {
  it.each([
    ['ResourceNotFound', 'an unknown resource', { resourceId: '00000000-0000-4000-8000-000000000000' }],
    ['InvalidQuantity', 'zero', { quantity: 0 }],
    ['InvalidQuantity', 'less than zero', { quantity: -0.5 }],
    ['InvalidDimension', 'a dimension the offer lacks', { dimension: 'gpu_hours' }],
    ['BadArgument', 'a quantity as text', { quantity: '5' }],
    ['BadArgument', 'no quantity', { quantity: undefined }],
    ['BadArgument', 'no plan', { planId: undefined }],
    ['BadArgument', 'a plan never in force', { planId: 'premium' }],
    ['BadArgument', 'no time', { effectiveStartTime: 'yesterday' }],
    ['BadArgument', 'a resource that is no GUID', { resourceId: 'abc' }],
  ])('is %s for %s', async (status, _case, change) => {
    const id = await sandbox.subscribed();
    expect(await statusOf(sandbox.usage(id, now - HOUR, change))).toBe(status);
    expect(await billed(id)).toEqual([]);
  });

  it('is BadArgument in the future, by a minute', async () => {
    const id = await sandbox.subscribed();
    expect(await statusOf(sandbox.usage(id, (await sandbox.now()) + 60_000))).toBe('BadArgument');
  });

  it('is ResourceNotActive before activation and while suspended, and Accepted once reinstated', async () => {
    const { subscriptionId: pending } = await sandbox.purchase();
    expect(await statusOf(sandbox.usage(pending, now - HOUR))).toBe('ResourceNotActive');
    const id = await sandbox.subscribed();
    await sandbox.act(id, 'suspend');
    expect(await statusOf(sandbox.usage(id, now - HOUR))).toBe('ResourceNotActive');
    await sandbox.act(id, 'reinstate');
    expect(await statusOf(sandbox.usage(id, now - HOUR))).toBe('Accepted');
  });

  it('is ResourceNotAuthorized for an app of another seller', async () => {
    const id = await sandbox.subscribed();
    const other = await sandbox.token('f5d81326-97ea-404c-b15d-4ec2af608d9b', 'other-secret', '1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f0');
    const answer = await sandbox.api('/batchUsageEvent', { body: { request: [sandbox.usage(id, now - HOUR)] }, token: other });
    expect(answer.json.result[0].status).toBe('ResourceNotAuthorized');
  });

  it('is Duplicate with the accepted message, also inside one batch', async () => {
    const id = await sandbox.subscribed();
    const item = sandbox.usage(id, now - HOUR);
    const { json } = await batch([item, { ...item, quantity: 9 }]);
    expect(json.count).toBe(2);
    expect(json.result[1]).toMatchObject({
      status: 'Duplicate',
      messageTime: '0001-01-01T00:00:00',
      quantity: 9,
      error: { code: 'Conflict', additionalInfo: { acceptedMessage: { usageEventId: json.result[0].usageEventId, quantity: 5 } } },
    });
  });

  it('answers 200 for good and bad items together, each with its own status', async () => {
    const id = await sandbox.subscribed();
    const answer = await batch([sandbox.usage(id, now - HOUR), sandbox.usage(id, now - HOUR, { quantity: 0 })]);
    expect(answer.status).toBe(200);
    expect(answer.json.result.map((one: { status: string }) => one.status)).toEqual(['Accepted', 'InvalidQuantity']);
  });
});

describe('a batch (contract azure §6)', () => {
  it('of 25 is taken and of 26 refused whole', async () => {
    const id = await sandbox.subscribed();
    const items = Array.from({ length: 26 }, (_, index) =>
      sandbox.usage(id, now - (index % 23) * HOUR - 1, { dimension: index < 23 ? 'gib_hours_stored' : 'mib_egress' }),
    );
    const tooMany = await batch(items);
    expect([tooMany.status, tooMany.json.code]).toEqual([400, 'BadArgument']);
    expect(await billed(id)).toEqual([]);
    expect((await batch(items.slice(0, 25))).json.result.every((one: { status: string }) => one.status === 'Accepted')).toBe(true);
  });

  it('of none, or without a list, is refused', async () => {
    expect((await batch([])).status).toBe(400);
    expect((await sandbox.api('/batchUsageEvent', { body: {} })).status).toBe(400);
    expect((await sandbox.api('/batchUsageEvent', { text: '{"request":' })).status).toBe(400);
  });
});

describe('the window of 24 h, on the virtual clock (contract azure §6, rules)', () => {
  it('takes usage until it is 24 h old and calls it Expired then, even when it was accepted before', async () => {
    const id = await sandbox.subscribed();
    const start = await sandbox.now();
    await sandbox.advance(86_400 - 60);
    expect(await statusOf(sandbox.usage(id, start))).toBe('Accepted');
    expect(await statusOf(sandbox.usage(id, start))).toBe('Duplicate');
    await sandbox.advance(120);
    expect(await statusOf(sandbox.usage(id, start, { dimension: 'mib_egress' }))).toBe('Expired');
    expect(await statusOf(sandbox.usage(id, start))).toBe('Expired');
    const single = await send(sandbox.usage(id, start));
    expect([single.status, single.json.details[0].code]).toEqual([400, 'Expired']);
  });

  it('takes usage from before an Unsubscribe for 24 h, and none from after it', async () => {
    const id = await sandbox.subscribed();
    await sandbox.advance(7200);
    const before = (await sandbox.now()) - 1000;
    await sandbox.act(id, 'unsubscribe');
    await sandbox.advance(3600);
    expect(await statusOf(sandbox.usage(id, before))).toBe('Accepted');
    expect(await statusOf(sandbox.usage(id, before + 2 * 60_000, { dimension: 'mib_egress' }))).toBe('ResourceNotActive');
    await sandbox.advance(23 * 3600);
    expect(await statusOf(sandbox.usage(id, before, { dimension: 'mib_egress' }))).toBe('Expired');
  });

  it('never takes usage of a purchase that was never activated', async () => {
    const { subscriptionId: id } = await sandbox.purchase();
    const start = await sandbox.now();
    await sandbox.act(id, 'unsubscribe');
    expect(await statusOf(sandbox.usage(id, start - 1000))).toBe('ResourceNotActive');
  });
});

describe('usage around a plan change (contract azure §6, status table and rules)', () => {
  it('takes the old plan for its own hours, the new plan from then on, and only dimensions of that plan', async () => {
    const id = await sandbox.subscribed();
    const { operationId } = (await sandbox.act(id, 'change-plan', { planId: 'premium' })).json;
    await sandbox.api(`/saas/subscriptions/${id}/operations/${operationId}`, { method: 'PATCH', body: { status: 'Success' } });
    const changedAt = await sandbox.now();
    await sandbox.advance(7200);
    expect(await statusOf(sandbox.usage(id, changedAt))).toBe('Accepted');
    expect(await statusOf(sandbox.usage(id, changedAt, { planId: 'premium' }))).toBe('Duplicate');
    const later = await sandbox.now();
    expect(await statusOf(sandbox.usage(id, later))).toBe('BadArgument');
    expect(await statusOf(sandbox.usage(id, later, { planId: 'premium', dimension: 'mib_egress' }))).toBe('InvalidDimension');
    expect(await statusOf(sandbox.usage(id, later, { planId: 'premium' }))).toBe('Accepted');
  });

  it('can be told to refuse the old plan from the change on', async () => {
    const id = await sandbox.subscribed();
    const { operationId } = (await sandbox.act(id, 'change-plan', { planId: 'premium' })).json;
    await sandbox.api(`/saas/subscriptions/${id}/operations/${operationId}`, { method: 'PATCH', body: { status: 'Success' } });
    await sandbox.settings({ oldPlanUsage: 'refused' });
    const status = await statusOf(sandbox.usage(id, await sandbox.now()));
    await sandbox.settings({ oldPlanUsage: 'accepted' });
    expect(status).toBe('BadArgument');
  });
});

describe('a batch of which a part is left (fault unprocessed)', () => {
  it('says Error for its last items, bills none of them, and takes them the next time', async () => {
    const id = await sandbox.subscribed();
    const hour = (await sandbox.now()) - HOUR;
    const items = ['gib_hours_stored', 'mib_egress'].map((dimension) => sandbox.usage(id, hour, { dimension }));
    await sandbox.control('/faults', { body: { marketplace: 'azure', operation: 'batchUsageEvent', kind: 'unprocessed', records: 1 } });
    const answer = await batch(items);
    expect([answer.status, answer.json.result.map((one: { status: string }) => one.status)]).toEqual([200, ['Accepted', 'Error']]);
    expect((await billed(id)).map((line) => line.dimension)).toEqual(['gib_hours_stored']);
    expect((await batch(items)).json.result.map((one: { status: string }) => one.status)).toEqual(['Duplicate', 'Accepted']);
  });
});

describe('the daily read-back (contract azure §6, Reconciliation)', () => {
  it('sums a day exactly, per resource, plan and dimension, as a bare array', async () => {
    // Noon of a day of the virtual clock, so that the hours lie in one day.
    const today = Math.floor((await sandbox.now()) / 86_400_000) * 86_400_000;
    await sandbox.advance((today + 86_400_000 + 12 * HOUR - (await sandbox.now())) / 1000);
    const noon = today + 86_400_000 + 12 * HOUR;
    const id = await sandbox.subscribed();
    await batch([
      sandbox.usage(id, noon - HOUR, { quantity: 0.1 }),
      sandbox.usage(id, noon - 2 * HOUR, { quantity: 0.2 }),
      sandbox.usage(id, noon - 3 * HOUR, { dimension: 'mib_egress', quantity: 7 }),
      sandbox.usage(id, noon - 14 * HOUR, { quantity: 1 }),
    ]);
    const day = new Date(noon).toISOString().slice(0, 10);
    const answer = await sandbox.api(`/usageEvents?usageStartDate=${day}&UsageEndDate=${day}`);
    const mine = answer.json.filter((row: { usageResourceId: string }) => row.usageResourceId === id);
    expect(mine).toHaveLength(2);
    expect(mine[0]).toMatchObject({
      usageDate: `${day}T00:00:00Z`,
      dimension: 'gib_hours_stored',
      planId: 'standard',
      planName: 'Standard',
      offerId: 'object-cells',
      offerType: 'SaaS',
      reconStatus: 'Accepted',
      submittedQuantity: 0.3,
      processedQuantity: 0.3,
      submittedCount: 2,
    });
    const azureId = mine[0].azureSubscriptionId;
    const rows = async (query: string): Promise<number> =>
      (await sandbox.api(`/usageEvents?usageStartDate=2020-01-01&azureSubscriptionId=${azureId}${query}`)).json.length;
    expect(await rows('')).toBe(3);
    expect(await rows('&dimension=mib_egress')).toBe(1);
    expect(await rows('&planId=premium')).toBe(0);
    expect(await rows('&offerId=object-cells')).toBe(3);
    expect(await rows(`&UsageEndDate=${day}`)).toBe(3);
    expect(await rows('&reconStatus=Submitted')).toBe(0);
    await sandbox.settings({ reconDelaySeconds: 3600 });
    expect(await rows('&reconStatus=Submitted')).toBe(3);
    await sandbox.settings({ reconDelaySeconds: 0 });
  });

  it('needs a start date and shows nothing of another seller', async () => {
    expect((await sandbox.api('/usageEvents')).status).toBe(400);
    const other = await sandbox.token('f5d81326-97ea-404c-b15d-4ec2af608d9b', 'other-secret', '1f2e3d4c-5b6a-4978-8695-a4b3c2d1e0f0');
    expect((await sandbox.api('/usageEvents?usageStartDate=2020-01-01', { token: other })).json).toEqual([]);
  });
});
