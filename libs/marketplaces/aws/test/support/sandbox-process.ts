import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { InboundRequest, StoredInbound } from '#marketplaces/core';
import { GuardedHttp, hostsOf, type Logger, OffsetClock, projectRoot } from '#platform';
import { createAwsAdapter, type AwsAdapter, type AwsSettingsInput } from '../../src/index.js';

export interface Captured {
  request: InboundRequest;
  stored: StoredInbound;
  body: { id: string; 'detail-type': string; detail: { agreement?: { id?: string } } };
}
export interface Bought {
  licenseId: string;
  licenseArn: string;
  agreementId: string;
  accountId: string;
  registration: { url: string; fields: Record<string, string> };
}

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

/** The sandbox as a process of its own, the target of its event bus, and an adapter that talks to it over real sockets. */
export class AwsSandbox {
  readonly clock = new OffsetClock();
  readonly captured: Captured[] = [];
  private readonly http: GuardedHttp;
  readonly adapter: AwsAdapter;

  private constructor(
    readonly url: string,
    private readonly process: ChildProcess,
    private readonly receiver: Server,
    settings: Partial<AwsSettingsInput>,
  ) {
    this.http = new GuardedHttp({ allow: [...hostsOf([url]), '127.0.0.1:9'] });
    this.adapter = this.adapterWith(settings);
  }

  static async start(aws: Record<string, unknown> = {}, settings: Partial<AwsSettingsInput> = {}): Promise<AwsSandbox> {
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
    const sandbox = new AwsSandbox(url, child, receiver, settings);
    sandbox.receive();
    await sandbox.control('PUT', '/settings', {
      aws: { ...aws, webhookUrl: `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/aws/events` },
    });
    // Hours of the month before are refused after 06:00 on the 1st; tests of a day's hours must not depend on today's date.
    const day = new Date().getUTCDate();
    if (day <= 2) await sandbox.advance((3 - day) * 24 * 3_600);
    return sandbox;
  }

  adapterWith(settings: Partial<AwsSettingsInput>, logger?: Logger): AwsAdapter {
    return createAwsAdapter(
      {
        productCodes: ['4harborobjectcells0000000'],
        region: 'us-east-1',
        endpoint: `${this.url}/aws/metering`,
        webhookSecret: 'right-secret-of-the-bus',
        credentials: { accessKeyId: 'AKIASANDBOX000000000', secretAccessKey: 'sandbox-only-not-a-secret' },
        ...settings,
      },
      { clock: this.clock, http: this.http, logger },
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
    return this.control('POST', '/faults', { marketplace: 'aws', operation, kind, ...extra });
  }

  /** Started three days ago, so that the hours of the last day lie inside the licence. */
  buy(extra: Record<string, unknown> = {}): Promise<Bought> {
    return this.control('POST', '/aws/purchases', {
      order: 'licence_first',
      startsAt: new Date(this.clock.now().getTime() - 3 * DAY).toISOString(),
      ...extra,
    });
  }

  act(agreementId: string, action: string, body: Record<string, unknown> = {}): Promise<Partial<Bought>> {
    return this.control('POST', `/aws/agreements/${agreementId}/${action}`, body);
  }

  /** Any event, from the sandbox's bus or with a wrong secret. */
  async send(event: { detailType: string; detail: unknown; secret?: string; source?: string; id: string }): Promise<Captured> {
    await this.control('POST', '/aws/events', event);
    return this.event((c) => c.body.id === event.id);
  }

  /** The event of an agreement, by the beginning of its detail-type. */
  told(agreementId: string, type: string): Promise<Captured> {
    return this.event((c) => c.body.detail.agreement?.id === agreementId && c.body['detail-type'].startsWith(type));
  }

  async event(wanted: (captured: Captured) => boolean): Promise<Captured> {
    for (const end = performance.now() + 15_000; performance.now() < end;) {
      const found = this.captured.find(wanted);
      if (found) return found;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`the event did not come in time; there were ${this.captured.map((c) => c.body['detail-type']).join(', ')}`);
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
        `/billed?marketplace=aws&externalId=${externalId}`,
      )
    ).items;
  }

  async stop(): Promise<void> {
    const ended = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGTERM');
    await ended;
    await this.http.close();
    this.receiver.closeAllConnections();
    await new Promise((resolve) => this.receiver.close(resolve));
  }

  private receive(): void {
    this.receiver.on('request', (request, reply) => {
      let text = '';
      request.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
      request.on('end', () => {
        const body = JSON.parse(text) as Captured['body'];
        const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
        this.captured.push({
          request: { headers, query: {}, body: text },
          stored: { source: 'aws.eventbridge', naturalKey: body.id, headers: {}, body: text, receivedAt: this.clock.now() },
          body,
        });
        reply.writeHead(200, { 'content-type': 'application/json' }).end('{}');
      });
    });
  }
}
