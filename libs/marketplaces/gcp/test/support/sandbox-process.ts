import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { PubSub } from '@google-cloud/pubsub';
import type { PulledMessage, StoredInbound, SubscriptionTruth } from '#marketplaces/core';
import type { TestMessage, TestPurchase } from '#marketplaces/core/testing';
import { GuardedHttp, hostsOf, type Logger, OffsetClock, projectRoot } from '#platform';
import { createGcpAdapter, type GcpAdapter, type GcpSettings } from '../../src/index.js';

const HOUR = 3_600_000;
const PROVIDER = 'harbor-storage-public';
export const SERVICE = 'object-cells.endpoints.harbor-storage-public.cloud.goog';
export const CLOSED_HOURS = 12;

export interface Bought {
  entitlementId: string;
  accountId: string;
  signUp: { url: string; fields: Record<string, string> };
}

/** The sandbox as a process of its own, with the settings of the demo, and an adapter that talks to it over real sockets. */
export class GcpSandbox {
  readonly clock = new OffsetClock();
  readonly pulled: PulledMessage[] = [];
  readonly http: GuardedHttp;
  readonly adapter: GcpAdapter;
  private readonly youngestHour = new Map<string, number>();
  private pulling: { stop(): Promise<void> } | null = null;

  private constructor(
    readonly url: string,
    readonly pubsub: string,
    private readonly process: ChildProcess,
  ) {
    this.http = new GuardedHttp({ allow: hostsOf([url]) });
    this.adapter = this.adapterWith({});
  }

  static async start(settings: Record<string, unknown> = {}, pull = true): Promise<GcpSandbox> {
    const main = join(projectRoot(), 'dist/apps/marketplace-sandbox/src/main.js');
    // The compiler emits although other rooms may have type errors.
    if (!existsSync(main)) {
      try {
        execFileSync(process.execPath, ['node_modules/tsgo/bin/tsc', '-p', 'tsconfig.json'], { cwd: projectRoot(), stdio: 'ignore' });
      } catch {
        if (!existsSync(main)) throw new Error('the sandbox could not be built: run npm run build');
      }
    }
    const child = spawn(process.execPath, [main], {
      env: { PATH: process.env['PATH'], SANDBOX_PORT: '0' },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const ready = await new Promise<{ url: string; pubsub: string }>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('\n')) resolve(JSON.parse(text.split('\n')[0]!) as { url: string; pubsub: string });
      });
      child.once('exit', (code) => reject(new Error(`the sandbox ended with ${code}`)));
    });
    const sandbox = new GcpSandbox(ready.url, ready.pubsub, child);
    if (Object.keys(settings).length > 0) await sandbox.control('PUT', '/settings', { gcp: settings });
    await sandbox.adapter.prepareUsage();
    if (pull) sandbox.pulling = await sandbox.adapter.pull!(async (message) => void sandbox.pulled.push(message));
    return sandbox;
  }

  adapterWith(settings: Partial<GcpSettings>, logger?: Logger): GcpAdapter {
    return createGcpAdapter(
      {
        providerId: PROVIDER,
        projectId: PROVIDER,
        subscription: 'berth-marketplace',
        serviceName: SERVICE,
        audiences: ['harbor-storage.example'],
        procurementUrl: `${this.url}/gcp/procurement`,
        serviceControlUrl: `${this.url}/gcp/servicecontrol`,
        serviceManagementUrl: `${this.url}/gcp/servicemanagement`,
        signUpKeysUrl: `${this.url}/gcp/robot/v1/metadata/x509/cloud-commerce-partner@system.gserviceaccount.com`,
        pubsubEndpoint: this.pubsub,
        push: null,
        oidcKeysUrl: `${this.url}/gcp/oauth2/v1/certs`,
        safeResend: true,
        unreadMetricType: null,
        anonymous: true,
        ...settings,
      },
      { http: this.http, clock: this.clock, logger },
    );
  }

  async control<T = Record<string, unknown>>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`${this.url}/sandbox${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text ? JSON.parse(text) : {}) as T;
  }

  fault(operation: string, kind: string, extra: Record<string, unknown> = {}): Promise<unknown> {
    return this.control('POST', '/faults', { marketplace: 'gcp', operation, kind, ...extra });
  }

  buy(extra: Record<string, unknown> = {}): Promise<Bought> {
    return this.control('POST', '/gcp/purchases', { planId: 'standard', buyer: `buyer ${this.pulled.length} ${Math.random()}`, ...extra });
  }

  act(entitlementId: string, action: string, body: Record<string, unknown> = {}): Promise<unknown> {
    return this.control('POST', `/gcp/entitlements/${entitlementId}/${action}`, body);
  }

  testPurchase(bought: Bought): TestPurchase {
    return {
      externalSubscriptionId: bought.entitlementId,
      externalPlanId: 'standard',
      dimensions: [`${SERVICE}/standard_mib_hours_stored`, `${SERVICE}/standard_mib_egress`],
      refs: {},
      landing: bought.signUp.fields,
    };
  }

  async truth(entitlementId: string): Promise<SubscriptionTruth> {
    const truth = await this.adapter.readTruth(entitlementId);
    if (!truth) throw new Error('there is no such entitlement');
    return truth;
  }

  /** Approved, and then enough hours later that there are closed ones: Google takes no usage from before the start. */
  async acknowledge(truth: SubscriptionTruth, tenantId: string): Promise<void> {
    await this.adapter.acknowledge(truth, { tenantId });
    if (this.youngestHour.has(truth.externalSubscriptionId)) return;
    const thisHour = Math.floor(this.clock.now().getTime() / HOUR) + CLOSED_HOURS + 1;
    this.youngestHour.set(truth.externalSubscriptionId, thisHour);
    await this.advance(CLOSED_HOURS * 3_600 + 3_600);
  }

  closedHour(entitlementId: string, n: number): Date {
    return new Date((this.youngestHour.get(entitlementId)! - n) * HOUR);
  }

  message(entitlementId: string, eventType: string): Promise<TestMessage> {
    return this.until(() => {
      const found = this.pulled.find((m) => m.externalSubscriptionId === entitlementId && m.naturalKey.includes(`|${eventType}|`));
      return found && { request: null, stored: this.stored(found) };
    });
  }

  stored({ source, naturalKey, headers, body }: PulledMessage): StoredInbound {
    return { source, naturalKey, headers, body, receivedAt: this.clock.now() };
  }

  /** Anything, on Google's topic. */
  async publish(data: Buffer): Promise<void> {
    const client = new PubSub({
      projectId: PROVIDER,
      apiEndpoint: this.pubsub,
      emulatorMode: true,
      clientOptions: { universeDomain: 'googleapis.com' },
    });
    try {
      await client.topic(`projects/cloudcommerceproc-prod/topics/${PROVIDER}`).publishMessage({ data });
    } finally {
      await client.close();
    }
  }

  async until<T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
    for (const end = performance.now() + 15_000; performance.now() < end;) {
      const found = await look();
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error('it did not happen in time');
  }

  async advance(seconds: number): Promise<void> {
    const { offsetMs, generation } = await this.control<{ offsetMs: number; generation: number }>('POST', '/clock/advance', {
      seconds,
      stepSeconds: seconds,
    });
    this.clock.apply(offsetMs, generation);
  }

  async billed(externalId: string): Promise<{ dimension: string; hour: string; quantity: string }[]> {
    return (
      await this.control<{ items: { dimension: string; hour: string; quantity: string }[] }>(
        'GET',
        `/billed?marketplace=gcp&externalId=${externalId}`,
      )
    ).items;
  }

  async stop(): Promise<void> {
    await this.pulling?.stop();
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
    await this.http.close();
  }
}
