import {
  BatchMeterUsageCommand,
  type BatchMeterUsageCommandOutput,
  MarketplaceMeteringClient,
  ResolveCustomerCommand,
  type UsageRecord,
} from '@aws-sdk/client-marketplace-metering';
import { fileURLToPath } from 'node:url';
import { type Answer, eventually, HOUR, type Running, startSandbox } from './harness.js';
import { Receiver, type Received } from './receiver.js';

export const PRODUCT = '4harborobjectcells0000000';
export const OTHER_PRODUCT = '4harborarchive00000000000';
const DEMO = fileURLToPath(new URL('../../settings/demo.yaml', import.meta.url));

export interface Bought {
  licenseId: string;
  licenseArn: string;
  agreementId: string;
  accountId: string;
  registration: { url: string; method: string; fields: Record<string, string> };
}

/** A sandbox with two products, a seller that listens, and the real SDK pointed at it. */
export class AwsBench {
  private constructor(
    readonly sandbox: Running,
    readonly receiver: Receiver,
    readonly receiverUrl: string,
  ) {}

  static async start(settings: object = {}): Promise<AwsBench> {
    const sandbox = await startSandbox({ settingsPath: DEMO });
    const receiver = new Receiver();
    const url = await receiver.start();
    const bench = new AwsBench(sandbox, receiver, url);
    const products = (await sandbox.control('/settings')).json.aws.products as object[];
    await bench.settings({
      webhookUrl: url,
      ratePerSecond: 1000,
      products: [...products, { code: OTHER_PRODUCT, id: 'prod-harborarchive', title: 'Archive', dimensions: ['mib_egress'] }],
      ...settings,
    });
    return bench;
  }

  async stop(): Promise<void> {
    await this.sandbox.stop();
    await this.receiver.stop();
  }

  settings(aws: object): Promise<Answer> {
    return this.sandbox.control('/settings', { method: 'PUT', body: { aws } });
  }

  client(
    options: { secretAccessKey?: string; accessKeyId?: string; region?: string; maxAttempts?: number } = {},
  ): MarketplaceMeteringClient {
    return new MarketplaceMeteringClient({
      region: options.region ?? 'us-east-1',
      endpoint: `${this.sandbox.url}/aws/metering/`,
      maxAttempts: options.maxAttempts ?? 1,
      credentials: {
        accessKeyId: options.accessKeyId ?? 'AKIASANDBOX000000000',
        secretAccessKey: options.secretAccessKey ?? 'sandbox-only-not-a-secret',
      },
    });
  }

  resolve(
    token: string,
    client = this.client(),
  ): Promise<{ ProductCode?: string; CustomerAWSAccountId?: string; LicenseArn?: string; CustomerIdentifier?: string }> {
    return client.send(new ResolveCustomerCommand({ RegistrationToken: token }));
  }

  meter(records: UsageRecord[], extra: object = {}, client = this.client()): Promise<BatchMeterUsageCommandOutput> {
    return client.send(new BatchMeterUsageCommand({ UsageRecords: records, ...extra }));
  }

  async buy(extra: object = {}): Promise<Bought> {
    const startsAt = new Date((await this.sandbox.now()) - 72 * HOUR).toISOString();
    const answer = await this.sandbox.control('/aws/purchases', { body: { startsAt, ...extra } });
    if (answer.status !== 201) throw new Error(`purchase: ${answer.status} ${answer.text}`);
    return answer.json as Bought;
  }

  act(id: string, action: string, body: object = {}): Promise<Answer> {
    return this.sandbox.control(`/aws/agreements/${id}/${action}`, { body });
  }

  async view(id: string): Promise<any> {
    return (await this.sandbox.control(`/aws/agreements/${id}`)).json;
  }

  async record(bought: Bought, hoursAgo: number, extra: Partial<UsageRecord> = {}): Promise<UsageRecord> {
    const hour = Math.floor((await this.sandbox.now()) / HOUR) - hoursAgo;
    return {
      Timestamp: new Date(hour * HOUR),
      CustomerAWSAccountId: bought.accountId,
      LicenseArn: bought.licenseArn,
      Dimension: 'mib_egress',
      Quantity: 5,
      ...extra,
    };
  }

  async billed(bought: Bought): Promise<any[]> {
    return (await this.sandbox.control(`/billed?marketplace=aws&externalId=${bought.licenseId}`)).json.items;
  }

  events(agreementId: string): Received[] {
    return this.receiver.received.filter((one) => one.body?.detail?.agreement?.id === agreementId);
  }

  types(agreementId: string): string[] {
    return this.events(agreementId).map((one) => one.body['detail-type'] as string);
  }

  async received(agreementId: string, count: number): Promise<Received[]> {
    return eventually(() => this.events(agreementId).length >= count && this.events(agreementId));
  }

  fault(operation: string, kind: string, extra: object = {}): Promise<Answer> {
    return this.sandbox.control('/faults', { body: { marketplace: 'aws', operation, kind, ...extra } });
  }
}

/** The SDK's error name, or the text of what came instead. */
export async function nameOf(call: Promise<unknown>): Promise<string> {
  try {
    return `no error: ${JSON.stringify(await call)}`;
  } catch (error) {
    return (error as Error).name;
  }
}
