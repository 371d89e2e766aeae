import type { Sandbox } from '../sandbox.js';
import type { Bought, Buyer, Order } from './buyer.js';

interface AzureSettings {
  azure: {
    publishers: { id: string; tenantId: string; apps: { clientId: string; clientSecret: string }[] }[];
    offers: { id: string; publisherId: string; clientId: string }[];
    signIn: { clientId: string; clientSecret: string };
    buyers: { name: string; beneficiary: { emailId: string; objectId: string; tenantId: string; puid: string | null } }[];
  };
}

/** Buyers of the Azure Marketplace: they pay at Microsoft and come to the landing page with a token. */
export class AzureBuyer implements Buyer {
  readonly marketplace = 'azure';
  readonly usageOperation = 'batchUsageEvent';
  readonly everyHour = ['gib_hours_stored', 'gib_hours_provisioned'];
  readonly namesPurchases = true;
  readonly freeEgressMiB = 10n;
  readonly readsBack = true;
  private bought = 0;

  constructor(
    private readonly sandbox: Sandbox,
    private readonly offerId = 'object-cells',
  ) {}

  async environment(): Promise<Record<string, string>> {
    const { azure } = await this.sandbox.settings<AzureSettings>();
    const offer = azure.offers.find((one) => one.id === this.offerId);
    const publisher = azure.publishers.find((one) => one.id === offer?.publisherId);
    const app = publisher?.apps.find((one) => one.clientId === offer?.clientId);
    if (!publisher || !app) throw new Error(`the sandbox sells no offer ${this.offerId}`);
    return {
      AZURE_TENANT_ID: publisher.tenantId,
      AZURE_CLIENT_ID: app.clientId,
      AZURE_CLIENT_SECRET: app.clientSecret,
      AZURE_SIGN_IN_CLIENT_ID: azure.signIn.clientId,
      AZURE_SIGN_IN_CLIENT_SECRET: azure.signIn.clientSecret,
    };
  }

  async connect(controlPlaneUrl: string): Promise<void> {
    await this.sandbox.setSettings({
      azure: {
        landingUrl: `${controlPlaneUrl}/landing/azure`,
        webhookUrl: `${controlPlaneUrl}/webhooks/azure`,
        signIn: { redirectUris: [`${controlPlaneUrl}/landing/sign-in/callback`] },
      },
    });
  }

  async buy(order: Order): Promise<Bought> {
    const { azure } = await this.sandbox.settings<AzureSettings>();
    const person = azure.buyers[this.bought++ % azure.buyers.length]!.beneficiary;
    const bought = await this.sandbox.http.post<{ subscriptionId: string; landingUrl: string }>('/sandbox/azure/purchases', {
      offerId: this.offerId,
      planId: order.planId,
      subscriptionName: order.label,
      beneficiary: { ...person, emailId: order.contactEmail },
    });
    const sessionId = await visitLanding(bought.landingUrl);
    return {
      externalId: bought.subscriptionId,
      sessionId,
      signIn: (url) => signIn(`${url}/landing/sign-in/start/${sessionId}`, person.objectId),
    };
  }

  async changePlan(externalId: string, planId: string): Promise<void> {
    await this.sandbox.http.post(`/sandbox/azure/subscriptions/${externalId}/change-plan`, { planId });
  }

  async cancel(externalId: string): Promise<void> {
    await this.sandbox.http.post(`/sandbox/azure/subscriptions/${externalId}/unsubscribe`, {});
  }

  usageKeys(requestBody: unknown): string[] {
    const body = (typeof requestBody === 'string' ? JSON.parse(requestBody) : requestBody) as {
      request?: { resourceId: string; dimension: string; effectiveStartTime: string }[];
    } | null;
    return (body?.request ?? []).map((item) => `${item.resourceId.toLowerCase()}|${item.dimension}|${hourOf(item.effectiveStartTime)}`);
  }

  async adjustBilled(change: { externalId: string; dimension: string; hour: string; by: string }): Promise<void> {
    await this.sandbox.http.post('/sandbox/azure/billed/adjust', change);
  }
}

/** As a browser does: the marketplace's link leads to our page, without the token in its address. */
async function visitLanding(url: string): Promise<string> {
  const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(20_000) });
  const location = answer.headers.get('location') ?? '';
  const session = /^\/landing\/s\/([^/?#]+)$/.exec(location)?.[1];
  if (answer.status !== 303 || !session)
    throw new Error(`the landing page answered ${answer.status} ${location} ${(await answer.text()).slice(0, 200)}`);
  return session;
}

/** As a browser does: to Microsoft's page, one of the accounts there, and back with the cookie that our page had set. */
async function signIn(startUrl: string, account: string): Promise<string> {
  const go = async (url: string, init: RequestInit = {}): Promise<{ to: string; cookie: string }> => {
    const answer = await fetch(url, { redirect: 'manual', signal: AbortSignal.timeout(20_000), ...init });
    const to = answer.headers.get('location');
    if (!to) throw new Error(`signing in stopped at ${url.split('?')[0] ?? ''}: ${answer.status} ${(await answer.text()).slice(0, 200)}`);
    return { to: new URL(to, url).href, cookie: answer.headers.get('set-cookie')?.split(';')[0] ?? '' };
  };
  const began = await go(startUrl);
  const picked = await go(began.to, { method: 'POST', body: new URLSearchParams({ account }) });
  const { to } = await go(picked.to, { headers: { cookie: began.cookie } });
  const session = /\/landing\/s\/([\w-]+)$/.exec(to)?.[1];
  if (!session) throw new Error(`signing in led to ${to}`);
  return session;
}

/** The hour in the sandbox's form. Azure reads a time without a zone as UTC. */
function hourOf(text: string): string {
  const at = Date.parse(/(Z|[+-]\d{2}:\d{2})$/.test(text) ? text : `${text}Z`);
  return new Date(Math.floor(at / 3_600_000) * 3_600_000).toISOString();
}
