// What bench/webhooks.mjs runs against: programs, an Entra whose key we hold, and messages without end.
import { generateKeyPairSync, randomUUID, sign } from 'node:crypto';
import { createServer, request as httpRequest } from 'node:http';
import { setTimeout as until } from 'node:timers/promises';
import { Pool } from 'undici';

export const TENANT = '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90';
export const CLIENT = 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68';
export const SECRET = 'hs8Q~sandbox-only-invented-secret-0001';
const MARKETPLACE = '20e940b3-4c77-4b0b-9a53-9e16a1b010a7';
const TOKENS = 2_000;

/** Entra with a key of ours, so that tokens can be signed ahead; what is not a key goes on to the sandbox's. */
export async function entra(stops, sandboxUrl) {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const kid = 'bench-key';
  const keys = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig', alg: 'RS256' }] });
  const server = createServer((incoming, reply) => {
    if (incoming.url.includes('/discovery/')) return void reply.writeHead(200, { 'content-type': 'application/json' }).end(keys);
    const onward = httpRequest(
      `${sandboxUrl}/azure/login${incoming.url}`,
      { method: incoming.method, headers: incoming.headers },
      (answer) => {
        reply.writeHead(answer.statusCode, answer.headers);
        answer.pipe(reply);
      },
    );
    incoming.pipe(onward);
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  stops.push(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const now = Math.floor(Date.now() / 1000);
  const token = (claims = {}) => {
    const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
    const text = `${part({ typ: 'JWT', alg: 'RS256', kid })}.${part({
      aud: CLIENT,
      iss: `https://sts.windows.net/${TENANT}/`,
      iat: now,
      nbf: now,
      exp: now + 3 * 3600,
      appid: MARKETPLACE,
      tid: TENANT,
      uti: randomUUID(),
      ver: '1.0',
      ...claims,
    })}`;
    return `${text}.${sign('RSA-SHA256', Buffer.from(text), privateKey).toString('base64url')}`;
  };
  const began = performance.now();
  const tokens = Array.from({ length: TOKENS }, () => token());
  console.log(`${TOKENS} tokens signed ahead in ${Math.round(performance.now() - began)} ms; each is verified on every request`);
  return { url: `http://127.0.0.1:${server.address().port}`, tokens, token };
}

/** Endless: another operation id in every body, the next token, one of the purchases. */
export function messages(purchases, tokens) {
  let count = 0;
  return () => {
    const i = count++;
    const id = randomUUID();
    return {
      token: tokens[i % tokens.length],
      body: JSON.stringify({
        id,
        activityId: id,
        publisherId: 'harbor-storage',
        offerId: 'object-cells',
        planId: 'standard',
        quantity: 1,
        subscriptionId: purchases[i % purchases.length],
        timeStamp: '2026-03-08T18:48:58.4449937Z',
        action: 'Renew',
        status: 'Succeeded',
        operationRequestSource: 'Azure',
        subscription: { id: purchases[i % purchases.length], name: 'bench', planId: 'standard', saasSubscriptionStatus: 'Subscribed' },
        purchaseToken: null,
      }),
    };
  };
}

/**
 * `rate` requests a second, one after another at even steps over at most `connections`, whatever the answers take. A latency
 * counts from the moment a request was due, so that a server that stalls answers for all who waited.
 */
export async function paced(url, next, { rate, seconds, connections }) {
  const pool = new Pool(url, { connections, pipelining: 1 });
  const latencies = [];
  const statuses = {};
  const sent = [];
  const send = async (due) => {
    const { token, body } = next();
    const { statusCode, body: answer } = await pool.request({
      method: 'POST',
      path: '/webhooks/azure',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body,
    });
    await answer.dump();
    latencies.push(performance.now() - due);
    statuses[statusCode] = (statuses[statusCode] ?? 0) + 1;
  };
  const began = performance.now();
  for (let i = 0; i < rate * seconds; i += 1) {
    const due = began + (i * 1_000) / rate;
    const wait = due - performance.now();
    if (wait > 0.5) await until(wait);
    sent.push(send(due));
  }
  await Promise.all(sent);
  await pool.close();
  latencies.sort((a, b) => a - b);
  const at = (share) => Math.round(latencies[Math.min(latencies.length - 1, Math.ceil(latencies.length * share) - 1)] * 10) / 10;
  const done = latencies.length;
  return { statuses, done, perSecond: done / ((performance.now() - began) / 1_000), p50: at(0.5), p99: at(0.99), max: at(1) };
}
