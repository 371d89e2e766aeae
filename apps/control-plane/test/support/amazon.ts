import { randomBytes, randomUUID } from 'node:crypto';
import { until, type Answer, type House } from './house.js';

export interface Bought {
  licenseId: string;
  agreementId: string;
  registration: { fields: Record<string, string> };
}
export type Item = Record<string, unknown>;

export const FIELD = 'x-amzn-marketplace-token';
const SECRET = 'x-berth-webhook-secret';
export const tokenOf = (bought: Pick<Bought, 'registration'>): string => bought.registration.fields[FIELD]!;
export const newLicence = (): string => `l-${randomBytes(16).toString('hex')}`;
export const newAgreement = (): string => `agmt-${randomBytes(12).toString('hex')}`;

/** What an event is about; a licence is spelled as in AWS's events. */
export const about = (what: { licence?: string; agreement?: string; status?: string; code?: string }): object => ({
  requestId: randomUUID(),
  catalog: 'AWSMarketplace',
  ...(what.agreement ? { agreement: { id: what.agreement, status: what.status } } : {}),
  ...(what.licence
    ? {
        license: { arn: `aws:license-manager:us-east-1:294400000000:${what.licence}` },
        product: { code: what.code ?? '4harborobjectcells0000000' },
      }
    : {}),
  acceptor: { accountId: '111122223333' },
  offer: { id: 'offer-exampleoffer1' },
});

/** AWS's side of the sandbox, as a test uses it. */
export class Amazon {
  constructor(private readonly house: House) {}

  async buy(extra: object = {}): Promise<Bought> {
    return (await this.house.shop('POST', '/aws/purchases', extra)).json as unknown as Bought;
  }

  /** "Set up your account" once more: a fresh token. */
  async register(bought: Bought): Promise<string> {
    return tokenOf((await this.house.shop('POST', `/aws/agreements/${bought.agreementId}/register`)).json as unknown as Bought);
  }

  async settings(): Promise<{ webhookSecret: string; products: Item[] }> {
    return (await this.house.shop('GET', '/settings')).json['aws'] as { webhookSecret: string; products: Item[] };
  }

  set(aws: object): Promise<Answer> {
    return this.house.shop('PUT', '/settings', { aws });
  }

  land(token: string): Promise<string> {
    return this.house.post('aws', { [FIELD]: token });
  }

  subscription(licenseId: string, state: string): Promise<Item> {
    return until(
      () => this.house.subscriptionOf(licenseId),
      (s) => s?.['state'] === state,
    );
  }

  /** Waits until so many events have come to this state: of each purchase there are two. */
  deliveries(state: string, many: number): Promise<Item[]> {
    return until(
      async () => (await this.house.list('inbound-events')).filter((e) => e['source'] === 'aws.eventbridge' && e['state'] === state),
      (events) => events.length === many,
    );
  }

  /** Has the sandbox send an event as EventBridge would; how it was answered. */
  async send(detailType: string, detail: unknown, extra: object = {}): Promise<{ id: string; status: unknown; code: unknown }> {
    const { json } = await this.house.shop('POST', '/aws/events', { detailType, detail, ...extra });
    const body = String(json['body'] ?? '');
    const code = body.startsWith('{') ? (JSON.parse(body) as Item)['code'] : null;
    return { id: (json['event'] as { id: string }).id, status: json['status'], code };
  }

  /** Sends it and waits for what became of it. */
  async told(detailType: string, detail: unknown, extra: object = {}): Promise<Item> {
    const { id, status } = await this.send(detailType, detail, extra);
    if (status !== 200) throw new Error(`the event was answered ${String(status)}`);
    return this.house.stored('aws.eventbridge', id);
  }

  /** A body of any kind, straight to our door; with the right secret unless the headers say otherwise. */
  async knock(body: string, headers: Record<string, string> = {}): Promise<Answer> {
    const { webhookSecret } = await this.settings();
    const all: Record<string, string> = { 'content-type': 'application/json', [SECRET]: webhookSecret, ...headers };
    return this.house.call('POST', `${this.house.controlPlane.url}/webhooks/aws/eventbridge`, body, all);
  }
}
