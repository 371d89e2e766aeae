import type { Sandbox } from '../sandbox.js';
import { postLanding } from './arrive.js';
import type { Buyer, Order } from './buyer.js';

/** The metrics' names begin with the listing's service name. */
const SERVICE = 'object-cells.endpoints.harbor-storage-public.cloud.goog';

interface GcpSettings {
  gcp: {
    providerId: string;
    projectId: string;
    subscription: string;
    serviceName: string;
    audiences: string[];
    pubsubHost: string;
  };
}

interface Bought {
  entitlementId: string;
  signUp: { url: string; fields: Record<string, string> };
}

/** Buyers on Google Cloud Marketplace: Google notifies first, then the buyer's browser posts a signed form to us. */
export class GcpBuyer implements Buyer {
  readonly marketplace = 'gcp';
  readonly usageOperation = 'report';
  readonly everyHour = ['standard_mib_hours_stored', 'standard_mib_hours_provisioned'].map((metric) => `${SERVICE}/${metric}`);
  readonly namesPurchases = false;
  readonly freeEgressMiB = 0n;
  readonly readsBack = false;

  constructor(private readonly sandbox: Sandbox) {}

  async environment(): Promise<Record<string, string>> {
    const { gcp } = await this.sandbox.settings<GcpSettings>();
    return {
      GCP_PROVIDER_ID: gcp.providerId,
      GCP_PROJECT_ID: gcp.projectId,
      GCP_SUBSCRIPTION: gcp.subscription,
      GCP_SERVICE_NAME: gcp.serviceName,
      GCP_AUDIENCES: gcp.audiences.join(','),
      GCP_PUBSUB_ENDPOINT: gcp.pubsubHost,
    };
  }

  async connect(controlPlaneUrl: string): Promise<void> {
    await this.sandbox.setSettings({ gcp: { signUpUrl: `${controlPlaneUrl}/landing/gcp` } });
  }

  async buy(order: Order): Promise<{ externalId: string; sessionId: string }> {
    const bought = await this.sandbox.http.post<Bought>('/sandbox/gcp/purchases', { planId: order.planId });
    return { externalId: bought.entitlementId, sessionId: await postLanding(bought.signUp.url, bought.signUp.fields) };
  }

  async changePlan(externalId: string, planId: string): Promise<void> {
    await this.sandbox.http.post(`/sandbox/gcp/entitlements/${externalId}/change-plan`, { planId });
  }

  async cancel(externalId: string): Promise<void> {
    await this.sandbox.http.post(`/sandbox/gcp/entitlements/${externalId}/cancel-now`, {});
  }

  usageKeys(): string[] {
    return [];
  }

  async adjustBilled(change: { externalId: string; dimension: string; hour: string; by: string }): Promise<void> {
    await this.sandbox.http.post('/sandbox/gcp/billed/adjust', change);
  }
}
