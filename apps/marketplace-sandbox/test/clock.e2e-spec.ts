import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { call, eventually, type Running, startSandbox } from './support/harness.js';
import { Receiver } from './support/receiver.js';

let sandbox: Running;
const order: string[] = [];
const opened: Receiver[] = [];
beforeAll(async () => {
  sandbox = await startSandbox({ settleLimitMs: 700 });
});
afterEach(async () => {
  for (const { name } of (await sandbox.control('/clock')).json.participants)
    await sandbox.control(`/clock/participants/${name}`, { method: 'DELETE' });
  await Promise.all(opened.splice(0).map((one) => one.stop()));
  order.length = 0;
});
afterAll(() => sandbox.stop());

async function join(name: string, rank: number, worked: (round: number) => boolean | undefined): Promise<Receiver> {
  const receiver = new Receiver();
  opened.push(receiver);
  let round = 0;
  receiver.answering = ({ body }) => {
    order.push(`${name}:${body.phase}`);
    if (body.phase === 'set') {
      round = 0;
      return { status: 200 };
    }
    round += 1;
    const answer = worked(round);
    return answer === undefined ? {} : { status: 200, body: { worked: answer } };
  };
  const answer = await sandbox.control('/clock/participants', {
    body: { name, url: `${await receiver.start()}/dev/clock`, token: `secret-of-${name}`, order: rank },
  });
  expect(answer.status).toBe(200);
  expect(answer.json).toEqual({ offsetMs: expect.any(Number), generation: expect.any(Number) });
  return receiver;
}

describe('the clock protocol (docs/guides/clock-protocol.md)', () => {
  it('sets everybody, then settles in order until nobody worked, step by step', async () => {
    const plane = await join('plane', 20, (round) => round === 1);
    await join('cell', 10, (round) => round === 1);
    const before = (await sandbox.control('/clock')).json;
    const answer = await sandbox.advance(700, 300);
    expect(answer.json).toMatchObject({ offsetMs: before.offsetMs + 700_000, generation: before.generation + 3, steps: 3, lost: [] });
    const perStep = ['set', 'set', 'cell:settle', 'plane:settle', 'cell:settle', 'plane:settle'];
    expect(order.map((one) => (one.endsWith(':set') ? 'set' : one))).toEqual([...perStep, ...perStep, ...perStep]);
    expect(plane.received[0]).toMatchObject({
      headers: { authorization: 'Bearer secret-of-plane' },
      body: { phase: 'set', offsetMs: before.offsetMs + 300_000, generation: before.generation + 1 },
    });
    expect(plane.received[1]?.body).toEqual({ phase: 'settle', generation: before.generation + 1 });
  });

  it('delivers its own messages in the rounds, and asks everybody once more after that', async () => {
    const webhook = new Receiver();
    opened.push(webhook);
    await sandbox.settings({ webhookUrl: await webhook.start() });
    webhook.answering = () => {
      order.push('webhook');
      return { status: 200 };
    };
    const { subscriptionId } = await sandbox.purchase({ autoActivate: true });
    await eventually(() => webhook.received.length === 1);
    order.length = 0;
    await join('plane', 20, () => false);
    await sandbox.advance(40 * 86_400);
    expect(order).toEqual(['plane:set', 'plane:settle', 'webhook', 'plane:settle']);
    expect(webhook.of('Renew')[0]?.body.subscriptionId).toBe(subscriptionId);
    await sandbox.act(subscriptionId, 'unsubscribe');
  });

  it('drops a participant that refuses the connection, names it, and goes on with the others', async () => {
    await join('there', 10, () => false);
    const gone = await join('gone', 20, () => false);
    await gone.stop();
    const answer = await sandbox.advance(300);
    expect(answer.status).toBe(200);
    expect(answer.json.lost).toEqual(['gone']);
    expect((await sandbox.control('/clock')).json.participants).toEqual([{ name: 'there', order: 10 }]);
    expect((await sandbox.advance(300)).json.lost).toEqual([]);
  });

  it('fails with 504 and the name of who never stops working, and can be moved again', async () => {
    await join('calm', 10, () => false);
    await join('busy', 20, () => true);
    const answer = await sandbox.advance(300);
    expect([answer.status, answer.json.code, answer.json.stillWorking]).toEqual([504, 'clock.not_settled', ['busy']]);
    expect(answer.json.message).toContain('busy');
    await sandbox.control('/clock/participants/busy', { method: 'DELETE' });
    expect((await sandbox.advance(300)).status).toBe(200);
  });

  it('fails the same way when a participant hangs', async () => {
    await join('hung', 20, () => undefined);
    expect((await sandbox.advance(300)).json).toMatchObject({ code: 'clock.not_settled', stillWorking: ['hung'] });
  });

  it('refuses a second advance while one is under way', async () => {
    await join('slow', 20, (round) => round < 60);
    const first = sandbox.advance(300);
    await eventually(() => order.length > 0);
    const second = await sandbox.advance(300);
    expect([second.status, second.json.code]).toEqual([409, 'clock.busy']);
    await first;
  });

  it('only goes forward, only to loopback, and never shows in the Date header', async () => {
    expect((await sandbox.control('/clock/advance', { body: { seconds: -5 } })).status).toBe(400);
    const foreign = await sandbox.control('/clock/participants', {
      body: { name: 'x', url: 'http://192.0.2.1/dev/clock', token: 't', order: 1 },
    });
    expect(foreign.status).toBe(400);
    await sandbox.advance(86_400);
    const answer = await call(`${sandbox.url}/sandbox/clock`);
    expect(Math.abs(Date.parse(answer.headers.get('date') ?? '') - Date.now())).toBeLessThan(60_000);
    expect(Date.parse(answer.json.now) - Date.now()).toBeGreaterThan(80_000_000);
    expect(answer.text).not.toContain('secret');
  });
});
