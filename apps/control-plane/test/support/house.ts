import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { projectRoot } from '#platform';

export interface Answer {
  status: number;
  headers: Headers;
  // Wire bodies have no types here: a black box is judged by what it says.
  json: Record<string, unknown> & { items?: Record<string, unknown>[] };
  text: string;
}

export interface Started {
  url: string;
  banner: Record<string, unknown>;
  child: ChildProcess;
  errors: () => string;
}

/** Starts a built program and waits for its one line of JSON. Rejects with what it wrote to standard error when it ends instead. */
export function startProgram(program: string, args: string[], env: Record<string, string>): Promise<Started> {
  const child = spawn(process.execPath, [join(projectRoot(), 'dist', program), ...args], {
    env: { PATH: process.env['PATH'], TZ: 'UTC', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => (errors += chunk.toString()));
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once('line', (line) => {
      const banner = JSON.parse(line) as Record<string, unknown>;
      resolve({ url: String(banner['url']), banner, child, errors: () => errors });
    });
    child.once('exit', (code) => reject(Object.assign(new Error(errors.trim()), { code })));
  });
}

/** A sandbox and a control plane of their own, on free ports, with an operator's key. */
export class House {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-e2e-'));
  sandbox!: Started;
  controlPlane!: Started;
  key = '';

  async start(): Promise<this> {
    this.sandbox = await startProgram('apps/marketplace-sandbox/src/main.js', [], { SANDBOX_PORT: '0' });
    this.controlPlane = await startProgram('apps/control-plane/src/main.js', [], this.environment());
    this.key = readFileSync(String(this.controlPlane.banner['operatorKeyFile']), 'utf8').trim();
    await this.call('PUT', `${this.sandbox.url}/sandbox/settings`, {
      azure: { landingUrl: `${this.controlPlane.url}/landing/azure`, webhookUrl: `${this.controlPlane.url}/webhooks/azure` },
    });
    return this;
  }

  environment(): Record<string, string> {
    return {
      BERTH_DATA: join(this.folder, 'berth'),
      PORT: '0',
      BERTH_LOG: 'warn',
      BERTH_RELAXED_DURABILITY: 'true',
      BERTH_STOP_CELLS: 'true',
      BERTH_SANDBOX_URL: this.sandbox.url,
      BERTH_REDIS: process.env['BERTH_TEST_REDIS'] === 'off' ? 'off' : 'auto',
      AZURE_TENANT_ID: '7b1d2c54-3a0e-4f6b-9c11-5f0e8a4d2b90',
      AZURE_CLIENT_ID: 'c2a5e0f3-64b7-4d19-8e2a-1b9f7c3d5a68',
      AZURE_CLIENT_SECRET: 'hs8Q~sandbox-only-invented-secret-0001',
    };
  }

  async stop(): Promise<void> {
    for (const one of [this.controlPlane, this.sandbox]) {
      if (!one || one.child.exitCode !== null) continue;
      one.child.kill('SIGTERM');
      await new Promise((resolve) => one.child.once('exit', resolve));
    }
    rmSync(this.folder, { recursive: true, force: true });
  }

  async call(method: string, url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const raw = typeof body === 'string' || body instanceof URLSearchParams;
    const answer = await fetch(url, {
      method,
      redirect: 'manual',
      headers: { ...(body !== undefined && !raw ? { 'content-type': 'application/json' } : {}), ...headers },
      body: body === undefined ? undefined : raw ? (body as string) : JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    const text = await answer.text();
    let json: unknown = {};
    try {
      json = JSON.parse(text);
    } catch {
      json = {};
    }
    return { status: answer.status, headers: answer.headers, json: json as Answer['json'], text };
  }

  api(method: string, path: string, body?: unknown, key = this.key): Promise<Answer> {
    return this.call(method, `${this.controlPlane.url}/api/v1${path}`, body, key ? { authorization: `Bearer ${key}` } : {});
  }

  shop(method: string, path: string, body?: unknown): Promise<Answer> {
    return this.call(method, `${this.sandbox.url}/sandbox${path}`, body);
  }

  /** Buys on Azure and opens the landing page. */
  async buy(name: string, planId = 'standard'): Promise<{ externalId: string; sessionId: string; landingUrl: string }> {
    const bought = await this.shop('POST', '/azure/purchases', { offerId: 'object-cells', planId, subscriptionName: name });
    const landingUrl = String(bought.json['landingUrl']);
    const arrived = await this.call('GET', landingUrl);
    return {
      externalId: String(bought.json['subscriptionId']),
      sessionId: (arrived.headers.get('location') ?? '').split('/').pop()!,
      landingUrl,
    };
  }

  session(sessionId: string): Promise<Answer> {
    return this.call('GET', `${this.controlPlane.url}/landing/api/sessions/${sessionId}`);
  }

  async land(sessionId: string, organisation: string): Promise<Answer> {
    const details = { organisation, region: 'local', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
    await this.call('POST', `${this.controlPlane.url}/landing/api/sessions/${sessionId}/details`, details);
    return until(
      () => this.session(sessionId),
      (a) => a.json['state'] === 'ready',
    );
  }

  async subscriptionOf(externalId: string): Promise<Record<string, unknown>> {
    const { json } = await this.api('GET', '/subscriptions?limit=200');
    return json.items!.find((s) => s['externalSubscriptionId'] === externalId)!;
  }
}

/** Polls with a bound; answers the first value that holds. */
export async function until<T>(ask: () => Promise<T>, holds: (value: T) => boolean, ms = 20_000): Promise<T> {
  const limit = performance.now() + ms;
  for (;;) {
    const value = await ask();
    if (holds(value)) return value;
    if (performance.now() > limit) throw new Error(`it did not come about within ${ms} ms; last: ${JSON.stringify(value).slice(0, 600)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
