import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InboundRequest, StoredInbound } from '#marketplaces/core';
import { GuardedHttp, hostsOf, type Logger, OffsetClock, projectRoot } from '#platform';
import { createAzureAdapter, type AzureAdapter, type AzureSettingsInput } from '../../src/index.js';

export interface Captured {
  request: InboundRequest;
  stored: StoredInbound;
  body: Record<string, unknown>;
}

/** The sandbox as a process of its own, a webhook receiver, and an adapter that talks to it over real sockets. */
export class AzureSandbox {
  readonly clock = new OffsetClock();
  readonly captured: Captured[] = [];
  /** The receiver's answer to a webhook; 200 unless a test says otherwise. */
  answer: (body: Record<string, unknown>) => { status: number; body?: unknown } = () => ({ status: 200 });
  readonly http: GuardedHttp;
  readonly adapter: AzureAdapter;

  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
    private readonly receiver: Server,
  ) {
    this.http = new GuardedHttp({ allow: hostsOf([url]) });
    this.adapter = this.adapterWith({});
  }

  static async start(azure: Record<string, unknown> = {}): Promise<AzureSandbox> {
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
      env: { PATH: process.env['PATH'], SANDBOX_PORT: '0', SANDBOX_SETTINGS: fileURLToPath(new URL('./sandbox.yaml', import.meta.url)) },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const url = await new Promise<string>((resolve, reject) => {
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('\n')) resolve((JSON.parse(text.split('\n')[0]!) as { url: string }).url);
      });
      child.once('exit', (code) => reject(new Error(`the sandbox ended with ${code}`)));
    });
    const receiver = createServer();
    await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve));
    const sandbox = new AzureSandbox(url, child, receiver);
    sandbox.receive();
    await sandbox.control('PUT', '/settings', {
      azure: {
        ...azure,
        webhookUrl: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/azure/webhook`,
        managedApps: { endpoint: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/managed` },
      },
    });
    return sandbox;
  }

  adapterWith(settings: Partial<AzureSettingsInput>, logger?: Logger): AzureAdapter {
    return createAzureAdapter(
      {
        apiUrl: `${this.url}/azure/api`,
        authorityUrl: `${this.url}/azure/login`,
        tenantId: '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90',
        clientId: 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68',
        clientSecret: 'right-secret',
        armUrl: `${this.url}/azure/arm`,
        managedAppSignature: 'sandbox-managed-app-sig',
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
    return this.control('POST', '/faults', { marketplace: 'azure', operation, kind, ...extra });
  }

  buy(extra: Record<string, unknown> = {}): Promise<{ subscriptionId: string; token: string }> {
    return this.control('POST', '/azure/purchases', { offerId: 'object-cells', planId: 'standard', ...extra });
  }

  async act(subscriptionId: string, action: string, body: Record<string, unknown> = {}): Promise<Captured> {
    const { operationId } = await this.control<{ operationId: string }>('POST', `/azure/subscriptions/${subscriptionId}/${action}`, body);
    return this.webhook((c) => c.body['id'] === operationId);
  }

  /** Any body, signed by the sandbox's Microsoft or forged. */
  async deliver(body: Record<string, unknown>, forge = 'none'): Promise<Captured> {
    const before = this.captured.length;
    await this.control('POST', '/azure/webhooks', { body, forge, offerId: 'object-cells' });
    return this.webhook((c, i) => i >= before && c.body['id'] === body['id']);
  }

  async webhook(wanted: (captured: Captured, index: number) => boolean): Promise<Captured> {
    return this.until(() => this.captured.find(wanted));
  }

  async until<T>(look: () => T | undefined | false | Promise<T | undefined | false>): Promise<T> {
    for (const end = performance.now() + 10_000; performance.now() < end;) {
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

  billed(externalId: string): Promise<{ items: { dimension: string; hour: string; quantity: string }[] }> {
    return this.control('GET', `/billed?marketplace=azure&externalId=${externalId}`);
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
    this.receiver.closeAllConnections();
    await new Promise((resolve) => this.receiver.close(resolve));
    await this.http.close();
  }

  private receive(): void {
    this.receiver.on('request', (request, reply) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      request.on('end', () => {
        const body = JSON.parse(text) as Record<string, unknown>;
        const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
        this.captured.push({
          request: { headers, query: Object.fromEntries(new URL(request.url ?? '/', 'http://x').searchParams), body: text },
          stored: { source: 'azure.webhook', naturalKey: String(body['id']), headers: {}, body: text, receivedAt: this.clock.now() },
          body,
        });
        const answer = this.answer(body);
        reply.writeHead(answer.status, { 'content-type': 'application/json' }).end(JSON.stringify(answer.body ?? {}));
      });
    });
  }
}
