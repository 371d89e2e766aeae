import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { eventually, HOUR, type Running, startSandbox } from './support/harness.js';

let sandbox: Running;
beforeAll(async () => {
  sandbox = await startSandbox();
});
afterEach(async () => {
  await sandbox.control('/faults', { method: 'DELETE' });
});
afterAll(() => sandbox.stop());

const fault = (operation: string, kind: string, extra: object = {}): ReturnType<Running['control']> =>
  sandbox.control('/faults', { body: { marketplace: 'azure', operation, kind, ...extra } });
const lastCall = async (operation: string): Promise<any> => (await sandbox.control(`/calls?operation=${operation}&limit=1`)).json.items[0];
const billed = async (id: string): Promise<number> => (await sandbox.control(`/billed?externalId=${id}`)).json.items.length;

async function ready(): Promise<{ id: string; item: object }> {
  const id = await sandbox.subscribed();
  return { id, item: sandbox.usage(id, (await sandbox.now()) - HOUR) };
}

describe('scripted faults', () => {
  it('a status strikes as often as told, has no effect, and then it is over', async () => {
    const { id, item } = await ready();
    await fault('usageEvent', 'status', { status: 503, times: 2, retryAfter: 7 });
    const first = await sandbox.api('/usageEvent', { body: item });
    expect([first.status, first.headers.get('retry-after')]).toEqual([503, '7']);
    expect((await sandbox.control('/faults')).json.items).toMatchObject([{ kind: 'status', remaining: 1 }]);
    expect((await sandbox.api('/usageEvent', { body: item })).status).toBe(503);
    expect(await billed(id)).toBe(0);
    expect((await sandbox.api('/usageEvent', { body: item })).status).toBe(200);
  });

  it('throttling answers 429 with Retry-After (contract azure §3, Throttling), for the named operation only', async () => {
    await fault('list', 'throttle', { retryAfter: 3 });
    const { id } = await ready();
    expect((await sandbox.api(`/saas/subscriptions/${id}`)).status).toBe(200);
    const answer = await sandbox.api('/saas/subscriptions');
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '3']);
  });

  it('strikes the token endpoint as well', async () => {
    await fault('token', 'status', { status: 503 });
    expect(await sandbox.token()).toBeUndefined();
    expect(await sandbox.token()).toBeTypeOf('string');
  });

  it('a drop before has no effect; a drop after has, and its answer is lost', async () => {
    const { id, item } = await ready();
    await fault('usageEvent', 'drop_before');
    await expect(sandbox.api('/usageEvent', { body: item })).rejects.toThrow();
    expect(await billed(id)).toBe(0);
    await fault('usageEvent', 'drop_after');
    await expect(sandbox.api('/usageEvent', { body: item })).rejects.toThrow();
    expect(await billed(id)).toBe(1);
    expect(await lastCall('usageEvent')).toMatchObject({ fault: 'drop_after', status: 200, unanswered: true, inFlight: false });
    expect((await sandbox.api('/usageEvent', { body: item })).status).toBe(409);
  });

  it.each([
    ['time_out_before', 0],
    ['time_out_after', 1],
  ])('%s holds the call in flight until the caller is gone', async (kind, effects) => {
    const { id, item } = await ready();
    const before = (await lastCall('usageEvent'))?.sequence ?? 0;
    await fault('usageEvent', kind);
    const stop = new AbortController();
    const pending = fetch(`${sandbox.url}/azure/api/usageEvent?api-version=2018-08-31`, {
      method: 'POST',
      body: JSON.stringify(item),
      headers: { 'content-type': 'application/json', authorization: `Bearer ${await sandbox.token()}` },
      signal: stop.signal,
    });
    pending.catch(() => undefined);
    const held = await eventually(async () => {
      const found = await lastCall('usageEvent');
      return found?.sequence > before && found.fault === kind && (kind === 'time_out_before' || found.status === 200) && found;
    });
    expect(held.inFlight).toBe(true);
    expect(await billed(id)).toBe(effects);
    stop.abort();
    await expect(pending).rejects.toThrow();
    await eventually(async () => (await lastCall('usageEvent')).inFlight === false);
    expect((await lastCall('usageEvent')).unanswered).toBe(true);
  });

  it('a delay after keeps the answer back while the effect is there already', async () => {
    const { id, item } = await ready();
    await fault('usageEvent', 'delay_after', { delayMs: 400 });
    const pending = sandbox.api('/usageEvent', { body: item });
    await eventually(async () => (await billed(id)) === 1);
    expect((await lastCall('usageEvent')).inFlight).toBe(true);
    expect((await pending).status).toBe(200);
    expect((await lastCall('usageEvent')).inFlight).toBe(false);
  });

  it('a delay before keeps the effect back', async () => {
    const { id, item } = await ready();
    await fault('usageEvent', 'delay_before', { delayMs: 300 });
    const started = performance.now();
    const pending = sandbox.api('/usageEvent', { body: item });
    await eventually(async () => (await lastCall('usageEvent'))?.inFlight === true);
    expect(await billed(id)).toBe(0);
    expect((await pending).status).toBe(200);
    expect(performance.now() - started).toBeGreaterThan(290);
  });

  it('of an unknown kind is refused', async () => {
    expect((await fault('usageEvent', 'explode')).status).toBe(400);
  });
});

describe('the calls log', () => {
  it('names the operation, keeps bodies, and never a secret', async () => {
    const before = (await sandbox.control('/calls?limit=1')).json.items[0]?.sequence ?? 0;
    const bought = await sandbox.purchase();
    const token = await sandbox.token();
    await sandbox.api('/saas/subscriptions/resolve', { method: 'POST', headers: { 'x-ms-marketplace-token': bought.token }, token });
    await sandbox.api('/batchUsageEvent', { text: '{"request":[{"quantity":0.10}]}', token });
    const answer = await sandbox.control(`/calls?since=${before}&marketplace=azure`);
    expect(answer.json.items.map((one: { operation: string; status: number }) => [one.operation, one.status])).toEqual([
      ['token', 200],
      ['resolve', 200],
      ['batchUsageEvent', 200],
    ]);
    expect(answer.json.items[2].request.body).toBe('{"request":[{"quantity":0.10}]}');
    expect(JSON.parse(answer.json.items[2].response).result[0].status).toBe('BadArgument');
    for (const secret of [token, token.split('.')[2] ?? '', bought.token, 'right-secret']) expect(answer.text).not.toContain(secret);
  });

  it.each([
    ['truncated', 200, (text: string) => text.startsWith('{') && !text.endsWith('}')],
    ['html', 200, (text: string) => text.includes('<h1>')],
    ['empty', 200, (text: string) => text === ''],
  ])('an answer is malformed (%s) after its effect, with its status', async (shape, status, looks) => {
    const { id, item } = await ready();
    await fault('usageEvent', 'malformed_after', { shape });
    const answer = await sandbox.api('/usageEvent', { body: item });
    expect(answer.status).toBe(status);
    expect(looks(answer.text)).toBe(true);
    expect(answer.headers.get('content-type')).toMatch(shape === 'html' ? /^text\/html/ : /json/);
    expect(await billed(id)).toBe(1);
    expect(await lastCall('usageEvent')).toMatchObject({ fault: 'malformed_after', status: 200, unanswered: true });
  });

  it('an answer is cut in the middle after its effect', async () => {
    const { id, item } = await ready();
    await fault('usageEvent', 'malformed_after', { shape: 'cut' });
    const began = performance.now();
    await expect(sandbox.api('/usageEvent', { body: item })).rejects.toThrow();
    expect(performance.now() - began).toBeLessThan(2_000);
    expect(await billed(id)).toBe(1);
  });

  it('an answer comes byte by byte', async () => {
    const { id } = await ready();
    await fault('get', 'slow_after', { delayMs: 2 });
    const began = performance.now();
    const answer = await sandbox.api(`/saas/subscriptions/${id}`);
    expect(answer.json.id).toBe(id);
    expect(performance.now() - began).toBeGreaterThan(answer.text.length);
  });

  it('the Date of an answer is skewed as told, and nothing else', async () => {
    const { id } = await ready();
    await fault('get', 'skew', { skewMs: -3_600_000 });
    const answer = await sandbox.api(`/saas/subscriptions/${id}`);
    expect(answer.status).toBe(200);
    const apart = Date.now() - Date.parse(answer.headers.get('date')!);
    expect(Math.abs(apart - 3_600_000)).toBeLessThan(60_000);
  });
});
