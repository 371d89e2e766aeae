// Buyers of all three marketplaces, each from an address of his own, by the marketplaces' own ways: bought in the sandbox, followed to
// the landing page, its form filled in, waited for until it serves.
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, fetch } from 'undici';
import { MARKETPLACES } from './terms.mjs';

const AT_ONCE = 8;
const PATIENCE_MS = 240_000;

/** Shares the number over the marketplaces: 100 is 34, 33 and 33. */
export const shareOut = (count) => Array.from({ length: count }, (_, i) => MARKETPLACES[i % MARKETPLACES.length]);

/** Buys for each marketplace named; answers the placements as the generator needs them. */
export async function buyAll(house, marketplaces, tell) {
  const bought = [];
  const waiting = marketplaces.map((marketplace, i) => ({ marketplace, i }));
  const buyer = async () => {
    for (let next; (next = waiting.shift());) bought.push(await buyOne(house, next.marketplace, next.i));
  };
  await Promise.all(Array.from({ length: AT_ONCE }, buyer));
  tell(`${bought.length} purchases made`);
  const limit = performance.now() + PATIENCE_MS;
  for (;;) {
    const active = (await house.all('/subscriptions')).filter((s) => s.state === 'active');
    if (active.length >= bought.length) return placementsOf(house, bought, active);
    if (performance.now() > limit)
      throw new Error(`only ${active.length} of ${bought.length} purchases serve after ${PATIENCE_MS / 1000} s`);
    // Marketplaces that show an activation later are asked again when business time goes on.
    await house.moveTo((await house.nowMs()) + 5_000, 5);
    await sleep(200);
  }
}

async function placementsOf(house, bought, active) {
  const [placements, clusters] = [await house.all('/placements'), await house.all('/clusters')];
  const cluster = new Map(clusters.map((c) => [c.id, c.name]));
  return bought.map(({ marketplace, externalId }) => {
    const subscription = active.find((s) => s.marketplace === marketplace && s.externalSubscriptionId === externalId);
    const placement = placements.find((p) => p.subscriptionId === subscription?.id);
    if (!placement) throw new Error(`${marketplace} ${externalId} is not served`);
    return {
      marketplace,
      externalId,
      subscriptionId: subscription.id,
      placementId: placement.id,
      source: `/cells/${cluster.get(placement.clusterId)}`,
    };
  });
}

async function buyOne(house, marketplace, i) {
  const dispatcher = new Agent({ localAddress: `127.0.0.${10 + (i % 200)}` });
  const go = (url, form) =>
    fetch(url, {
      dispatcher,
      redirect: 'manual',
      ...(form
        ? { method: 'POST', body: new URLSearchParams(form).toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } }
        : {}),
      signal: AbortSignal.timeout(60_000),
    });
  try {
    const { externalId, arrive } = await ways[marketplace](house, i, go);
    const visit = (answer) => /^\/landing\/s\/([^/?#]+)$/.exec(answer.headers.get('location') ?? '')?.[1];
    let arrived = await arrive();
    // A marketplace that is asked by a hundred buyers at once throttles; the page says so, and a buyer tries again.
    for (let n = 0; n < 20 && !visit(arrived); n += 1) {
      await sleep(500);
      arrived = await arrive();
    }
    const session = visit(arrived);
    if (!session) throw new Error(`${marketplace}: the landing page answered ${arrived.status} ${(await arrived.text()).slice(0, 300)}`);
    const sent = await go(`${house.api.url}/landing/api/sessions/${session}/details`, {
      organisation: `Buyer ${i}`,
      region: i % 2 ? 'local-b' : 'local',
      contactName: 'Ada Winter',
      contactEmail: `ada.${i}@winter.example`,
    });
    if (sent.status !== 303) throw new Error(`${marketplace}: the form was answered ${sent.status} ${(await sent.text()).slice(0, 300)}`);
    return { marketplace, externalId };
  } finally {
    await dispatcher.close();
  }
}

const ways = {
  async azure(house, i, go) {
    const made = await house.shop('POST', '/azure/purchases', {
      offerId: 'object-cells',
      planId: 'standard',
      subscriptionName: `Buyer ${i}`,
    });
    return { externalId: made.subscriptionId, arrive: () => go(made.landingUrl) };
  },
  async aws(house, i, go) {
    const made = await house.shop('POST', '/aws/purchases', { order: i % 2 ? 'licence_first' : 'landing_first' });
    return { externalId: made.licenseId, arrive: () => go(made.registration.url, made.registration.fields) };
  },
  async gcp(house, i, go) {
    const made = await house.shop('POST', '/gcp/purchases', { planId: 'standard' });
    return { externalId: made.entitlementId, arrive: () => go(made.signUp.url, made.signUp.fields) };
  },
};
