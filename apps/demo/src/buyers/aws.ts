import type { Sandbox } from '../sandbox.js';
import { postLanding } from './arrive.js';
import type { Buyer } from './buyer.js';

interface AwsSettings {
  aws: { webhookSecret: string; products: { code: string }[] };
}

interface Bought {
  licenseId: string;
  agreementId: string;
  registration: { url: string; fields: Record<string, string> };
}

/** Buyers on AWS Marketplace: the licence event and the registration come in either order. */
export class AwsBuyer implements Buyer {
  readonly marketplace = 'aws';
  readonly usageOperation = 'batchMeterUsage';
  /** Zeros too: AWS wants a record for each hour of an active licence. */
  readonly everyHour = ['mib_hours_stored', 'mib_hours_provisioned', 'mib_egress'];
  readonly namesPurchases = false;
  readonly freeEgressMiB = 10n;
  readonly readsBack = false;
  private readonly agreements = new Map<string, string>();
  private bought = 0;

  constructor(private readonly sandbox: Sandbox) {}

  async environment(): Promise<Record<string, string>> {
    const { aws } = await this.sandbox.settings<AwsSettings>();
    return { AWS_PRODUCT_CODES: aws.products.map((p) => p.code).join(','), AWS_WEBHOOK_SECRET: aws.webhookSecret };
  }

  async connect(controlPlaneUrl: string): Promise<void> {
    await this.sandbox.setSettings({
      aws: { registrationUrl: `${controlPlaneUrl}/landing/aws`, webhookUrl: `${controlPlaneUrl}/webhooks/aws/eventbridge` },
    });
  }

  /** Each further purchase takes the other order. */
  async buy(): Promise<{ externalId: string; sessionId: string }> {
    const order = this.bought++ % 2 === 0 ? 'licence_first' : 'landing_first';
    const bought = await this.sandbox.http.post<Bought>('/sandbox/aws/purchases', { order });
    this.agreements.set(bought.licenseId, bought.agreementId);
    return { externalId: bought.licenseId, sessionId: await postLanding(bought.registration.url, bought.registration.fields) };
  }

  changePlan(): Promise<void> {
    return Promise.reject(new Error('an AWS agreement is replaced, not changed'));
  }

  async cancel(externalId: string): Promise<void> {
    await this.sandbox.http.post(`/sandbox/aws/agreements/${this.agreements.get(externalId) ?? externalId}/cancel`, {});
  }

  usageKeys(): string[] {
    return [];
  }

  async adjustBilled(change: { externalId: string; dimension: string; hour: string; by: string }): Promise<void> {
    await this.sandbox.http.post('/sandbox/aws/billed/adjust', change);
  }
}
