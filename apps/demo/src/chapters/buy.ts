import type { Buyer, Order, Purchase } from '../buyers/buyer.js';
import type { Landing } from '../control-plane.js';
import { Storage } from '../support/storage.js';
import { until } from '../support/wait.js';
import type { World } from '../world.js';

export const ORDERS = {
  tidewater: {
    label: 'Tidewater archive',
    organisation: 'Tidewater Robotics',
    contactName: 'Ines Ferreira',
    contactEmail: 'ines@tidewater.example',
    planId: 'standard',
    region: 'local',
  },
  meridian: {
    label: 'Meridian reads',
    organisation: 'Meridian Genomics',
    contactName: 'Otto Lindqvist',
    contactEmail: 'otto@meridian.example',
    planId: 'standard',
    region: 'local',
  },
  saltmarsh: {
    label: 'Saltmarsh sensors',
    organisation: 'Saltmarsh Survey',
    contactName: 'Mara Okoye',
    contactEmail: 'mara@saltmarsh.example',
    planId: 'standard',
    region: 'local-b',
  },
  northfjord: {
    label: 'Northfjord scans',
    organisation: 'Northfjord Imaging',
    contactName: 'Signe Dahl',
    contactEmail: 'signe@northfjord.example',
    planId: 'standard',
    region: 'local',
  },
  breakwater: {
    label: 'Breakwater tiles',
    organisation: 'Breakwater Maps',
    contactName: 'Lena Aalto',
    contactEmail: 'lena@breakwater.example',
    planId: 'standard',
    region: 'local',
  },
  eastmoor: {
    label: 'Eastmoor footage',
    organisation: 'Eastmoor Media',
    contactName: 'Tom Achterberg',
    contactEmail: 'tom@eastmoor.example',
    planId: 'standard',
    region: 'local',
  },
} as const satisfies Record<string, Order>;

const ORDERS_OF: Record<string, readonly Order[]> = {
  azure: [ORDERS.tidewater, ORDERS.meridian],
  gcp: [ORDERS.breakwater],
  aws: [ORDERS.northfjord, ORDERS.eastmoor],
};

export async function buy(w: World): Promise<void> {
  for (const buyer of w.buyers) {
    w.report.chapter(
      `${(ORDERS_OF[buyer.marketplace] ?? []).length === 1 ? 'A buyer' : 'Two buyers'} on ${buyer.marketplace}: purchase, landing page, working endpoint`,
    );
    for (const order of ORDERS_OF[buyer.marketplace] ?? []) {
      const purchase = await orderAndLand(w, buyer, order);
      await untilServing(w, purchase);
    }
  }
}

/** The purchase, the way to our page, and the form on it. */
export async function orderAndLand(w: World, buyer: Buyer, order: Order): Promise<Purchase> {
  const { report } = w;
  const bought = await buyer.buy(order);
  const purchase = w.add(buyer, order, bought);
  if (bought.signIn) {
    const { state, purchase: shown } = await w.controlPlane.landing(purchase.sessionId);
    report.expect('the link alone shows what was bought, and nobody', state === 'needs_access' && shown.beneficiaryEmail === null, state);
    purchase.sessionId = await bought.signIn(w.controlPlane.url);
  }
  const seen = await w.controlPlane.landing(purchase.sessionId);
  report.fact(`${order.organisation} bought ${seen.purchase.offerName} ${seen.purchase.planName} as ${purchase.externalId}`);
  report.expect(
    'the landing page shows this purchase',
    seen.state === 'needs_details' && (!buyer.namesPurchases || seen.purchase.subscriptionName === order.label),
    `${seen.purchase.subscriptionName}, ${seen.state}; ${seen.includes.map((i) => `${i.label} ${i.value}`).join(', ')}`,
  );
  report.expect(
    `it offers the region ${order.region}`,
    seen.regions.some((r) => r.id === order.region),
    seen.regions.map((r) => r.id).join(', '),
  );
  const { organisation, region, contactName, contactEmail } = order;
  await postForm(`${w.controlPlane.url}/landing/api/sessions/${purchase.sessionId}/details`, {
    organisation,
    region,
    contactName,
    contactEmail,
  });
  return purchase;
}

/** As the page without scripts does. */
async function postForm(url: string, fields: Record<string, string>): Promise<void> {
  const answer = await fetch(url, {
    method: 'POST',
    body: new URLSearchParams(fields),
    redirect: 'manual',
    signal: AbortSignal.timeout(20_000),
  });
  if (answer.status !== 303) throw new Error(`the landing form was answered ${answer.status}: ${(await answer.text()).slice(0, 400)}`);
}

/** Follows the progress on the page until there is an endpoint, and takes it. */
export async function untilServing(w: World, purchase: Purchase, seconds = 60): Promise<void> {
  const { report } = w;
  let told = '';
  const ready = await until(
    `${purchase.label} to be ready`,
    async () => {
      const page = await w.controlPlane.landing(purchase.sessionId);
      const text = progressText(page);
      if (text !== told) report.fact((told = text));
      if (page.state === 'failed' || page.state === 'ended')
        throw new Error(`the landing page says ${page.state}: ${page.problem?.detail ?? ''}`);
      return page.state === 'ready' && page.endpoint ? page : undefined;
    },
    { seconds, everyMs: 100 },
  );
  const { endpoint } = ready;
  const key = endpoint?.keys?.[0]?.secret;
  report.expect(
    'the page shows an endpoint, an account and a key',
    !!endpoint && !!key,
    `${endpoint?.url ?? '-'} (account ${endpoint?.accountName ?? '-'})`,
  );
  purchase.storage = new Storage({ url: endpoint!.url, accountName: endpoint!.accountName, key: key! });
  const mine = (await w.controlPlane.subscriptions()).find((s) => s.externalSubscriptionId === purchase.externalId);
  report.expect(
    'the API lists the purchase as active',
    mine?.state === 'active' && !!mine.tenantId,
    `${mine?.id ?? '-'} of ${mine?.tenantId ?? '-'}, ${mine?.state ?? '-'}`,
  );
  purchase.subscriptionId = mine!.id;
  purchase.tenantId = mine!.tenantId!;
}

function progressText(page: Landing): string {
  const p = page.progress;
  return p ? `${page.state}: ${p.phase}, step ${p.step} of ${p.steps}${p.message ? ` (${p.message})` : ''}` : page.state;
}
