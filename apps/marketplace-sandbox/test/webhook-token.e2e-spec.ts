import { createRemoteJWKSet, decodeJwt, jwtVerify } from 'jose';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CLIENT, eventually, MARKETPLACE, type Running, startSandbox, TENANT } from './support/harness.js';
import { Receiver } from './support/receiver.js';

let sandbox: Running;
const receiver = new Receiver();
beforeAll(async () => {
  sandbox = await startSandbox();
  await sandbox.settings({ webhookUrl: `${await receiver.start()}/azure/webhook` });
});
afterAll(async () => {
  await sandbox.stop();
  await receiver.stop();
});
beforeEach(() => {
  receiver.received.length = 0;
  receiver.answering = () => ({ status: 200 });
});

const settled = async (id: string, index = 0): Promise<any> =>
  eventually(async () => {
    const webhook = (await sandbox.view(id)).webhooks[index];
    return webhook?.attempts.length > 0 && webhook;
  });
async function changing(): Promise<{ id: string; operationId: string }> {
  const id = await sandbox.subscribed();
  const { operationId } = (await sandbox.act(id, 'change-plan', { planId: 'premium' })).json;
  await settled(id);
  return { id, operationId };
}

describe('the token of a webhook (contract azure §4, JWT validation)', () => {
  it('names our app, our tenant and the marketplace, as v1 and as v2 in turn', async () => {
    const { id } = await changing();
    await sandbox.act(id, 'suspend');
    await eventually(() => receiver.received.length >= 2);
    const keys = createRemoteJWKSet(new URL(`${sandbox.url}/azure/login/${TENANT}/discovery/v2.0/keys`));
    const issuers = new Set<string>();
    for (const { headers } of receiver.received) {
      const { payload, protectedHeader } = await jwtVerify((headers.authorization ?? '').replace('Bearer ', ''), keys, {
        audience: CLIENT,
        algorithms: ['RS256'],
      });
      expect(protectedHeader.kid).toBeTruthy();
      expect(payload['tid']).toBe(TENANT);
      expect(payload['appid'] ?? payload['azp']).toBe(MARKETPLACE);
      issuers.add(payload.iss ?? '');
    }
    expect(issuers).toEqual(new Set([`https://sts.windows.net/${TENANT}/`, `https://login.microsoftonline.com/${TENANT}/v2.0`]));
  });

  it('is no key to the marketplace API', async () => {
    await changing();
    const token = (receiver.received[0]?.headers.authorization ?? '').replace('Bearer ', '');
    expect((await sandbox.api('/saas/subscriptions', { token })).status).toBe(401);
  });

  it('can be forged on order, and our answer is told', async () => {
    const keys = createRemoteJWKSet(new URL(`${sandbox.url}/azure/login/${TENANT}/discovery/v2.0/keys`));
    receiver.answering = async ({ headers }) => {
      try {
        const { payload } = await jwtVerify((headers.authorization ?? '').replace('Bearer ', ''), keys, { audience: CLIENT });
        return { status: (payload['appid'] ?? payload['azp']) === MARKETPLACE && payload['tid'] === TENANT ? 200 : 401 };
      } catch {
        return { status: 401 };
      }
    };
    const answers: Record<string, number> = {};
    for (const forge of ['none', 'wrong_key', 'wrong_audience', 'wrong_appid', 'wrong_tenant', 'expired', 'no_token']) {
      answers[forge] = (await sandbox.control('/azure/webhooks', { body: { body: { action: 'Suspend' }, forge } })).json.status;
    }
    expect(answers).toEqual({
      none: 200,
      wrong_key: 401,
      wrong_audience: 401,
      wrong_appid: 401,
      wrong_tenant: 401,
      expired: 401,
      no_token: 401,
    });
    expect(decodeJwt((receiver.received[1]?.headers.authorization ?? '').replace('Bearer ', '')).aud).toBe(CLIENT);
  });
});
