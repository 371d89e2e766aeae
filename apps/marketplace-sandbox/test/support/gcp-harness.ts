import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { PubSub } from '@google-cloud/pubsub';
import { type Answer, call, HOUR, type Running, startSandbox } from './harness.js';

export const PROVIDER = 'harbor-storage-public';
export const SERVICE = 'object-cells.endpoints.harbor-storage-public.cloud.goog';
export const SUBSCRIPTION = 'projects/harbor-storage-public/subscriptions/berth-marketplace';
export const TOPIC = 'projects/cloudcommerceproc-prod/topics/harbor-storage-public';
export const METRIC = `${SERVICE}/standard_mib_hours_stored`;
const DEMO = fileURLToPath(new URL('../../settings/demo.yaml', import.meta.url));

export interface Bought {
  entitlementId: string;
  accountId: string;
  orderId: string;
  signUp: { url: string; method: string; fields: Record<string, string> };
  notifications: string;
}

/** The Google side on the wire; nothing here knows the adapter. */
export class GcpWire {
  constructor(
    readonly running: Running,
    readonly pubsubHost: string,
  ) {}

  control(path: string, body?: object): Promise<Answer> {
    return this.running.control(`/gcp${path}`, body === undefined ? {} : { body });
  }

  settings(gcp: object): Promise<Answer> {
    return this.running.control('/settings', { method: 'PUT', body: { gcp } });
  }

  api(path: string, body?: object, headers: Record<string, string> = {}): Promise<Answer> {
    return call(
      `${this.running.url}/gcp/procurement/v1/providers/${PROVIDER}${path}`,
      body === undefined ? { headers } : { body, headers },
    );
  }

  patch(path: string, body: object): Promise<Answer> {
    return call(`${this.running.url}/gcp/procurement/v1/providers/${PROVIDER}${path}`, { method: 'PATCH', body });
  }

  service(verb: 'check' | 'report', body: object): Promise<Answer> {
    return call(`${this.running.url}/gcp/servicecontrol/v1/services/${SERVICE}:${verb}`, { body });
  }

  async buy(extra: object = {}): Promise<Bought> {
    const answer = await this.control('/purchases', { planId: 'standard', ...extra });
    if (answer.status !== 201) throw new Error(`purchase: ${answer.status} ${answer.text}`);
    return answer.json as Bought;
  }

  /** Bought, signed up and approved; answers with the consumer id, too. */
  async active(extra: object = {}): Promise<Bought & { consumerId: string }> {
    const bought = await this.buy(extra);
    const account = await this.api(`/accounts/${bought.accountId}:approve`, { approvalName: 'signup' });
    const approved = await this.api(`/entitlements/${bought.entitlementId}:approve`, {});
    if (account.status !== 200 || approved.status !== 200) throw new Error(`approve: ${account.text} ${approved.text}`);
    const { usageReportingId } = await this.get(bought.entitlementId);
    return { ...bought, consumerId: usageReportingId };
  }

  async get(id: string): Promise<any> {
    return (await this.api(`/entitlements/${id}`)).json;
  }

  act(id: string, action: string, body: object = {}): Promise<Answer> {
    return this.control(`/entitlements/${id}/${action}`, body);
  }

  operation(consumerId: string, startMs: number, endMs: number, extra: object = {}): any {
    return {
      operationId: randomUUID(),
      operationName: 'hourly-usage',
      consumerId,
      startTime: new Date(startMs).toISOString(),
      endTime: new Date(endMs).toISOString(),
      metricValueSets: [{ metricName: METRIC, metricValues: [{ int64Value: '150' }] }],
      ...extra,
    };
  }

  async check(operation: any): Promise<Answer> {
    const { operationId, operationName, consumerId, startTime } = operation;
    return this.service('check', { operation: { operationId, operationName, consumerId, startTime } });
  }

  async checkAndReport(operation: any): Promise<Answer> {
    await this.check(operation);
    return this.service('report', { operations: [operation] });
  }

  /** A window of one hour that has just passed, on an entitlement that has been active for longer. */
  async lastHour(): Promise<[number, number]> {
    const now = await this.running.now();
    const end = Math.floor(now / HOUR) * HOUR;
    return [end - HOUR, end];
  }

  async billed(externalId: string): Promise<any[]> {
    return (await this.running.control(`/billed?marketplace=gcp&externalId=${externalId}`)).json.items as any[];
  }

  /** Every message of an entitlement, with its body. */
  async messages(entitlementId: string): Promise<any[]> {
    return (await this.control(`/entitlements/${entitlementId}`)).json.notifications as any[];
  }

  client(): PubSub {
    return new PubSub({ projectId: PROVIDER, apiEndpoint: this.pubsubHost, emulatorMode: true });
  }
}

export async function startGcp(options: { dataFolder?: string } = {}): Promise<GcpWire & { stop(): Promise<void> }> {
  const running = await startSandbox({ settingsPath: DEMO, ...options });
  const { pubsubHost } = (await running.control('/settings')).json.gcp as { pubsubHost: string };
  return Object.assign(new GcpWire(running, pubsubHost), { stop: () => running.stop() });
}
