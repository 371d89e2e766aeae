import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { startProgram, type Started } from '../../../../test/support/program.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { connectSandbox, sellerEnvironment } from '../../../../scripts/lib/sandbox-shop.mjs';

export interface Answer {
  status: number;
  headers: Headers;
  // Wire bodies have no types here: a black box is judged by what it says.
  json: Record<string, unknown> & { items?: Record<string, unknown>[] };
  text: string;
}

/**
 * A sandbox and a control plane of their own that sells on all its marketplaces, on free ports, with an operator's key. The database
 * is a copy of the suite's template; a database that Berth starts by itself has its tests in the demo and in `start-faults`.
 */
export class House {
  readonly folder = mkdtempSync(join(tmpdir(), 'berth-e2e-'));
  sandbox!: Started;
  controlPlane!: Started;
  key = '';
  private seller: Record<string, string> = {};
  private database!: TestDatabase;

  private settings: Record<string, string> = {};

  /** The control plane's settings beside those every house has; may be read from the sandbox. */
  constructor(private readonly given: Record<string, string> | ((sandboxUrl: string) => Promise<Record<string, string>>) = {}) {}

  async start(): Promise<this> {
    this.database = await createTestDatabase();
    this.sandbox = await startProgram('apps/marketplace-sandbox/src/main.js', [], { SANDBOX_PORT: '0' });
    this.seller = await sellerEnvironment(this.sandbox.url);
    this.settings = typeof this.given === 'function' ? await this.given(this.sandbox.url) : this.given;
    this.controlPlane = await startProgram('apps/control-plane/src/main.js', [], this.environment());
    this.key = readFileSync(String(this.controlPlane.banner['operatorKeyFile']), 'utf8').trim();
    await connectSandbox(this.sandbox.url, this.controlPlane.url);
    return this;
  }

  environment(): Record<string, string> {
    return {
      BERTH_DATA: join(this.folder, 'berth'),
      PORT: '0',
      BERTH_LOG: 'warn',
      DATABASE_URL: this.database.url(),
      BERTH_SECRET: this.database.secret,
      BERTH_STOP_CELLS: 'true',
      BERTH_ASSERTIONS: 'true',
      BERTH_SANDBOX_URL: this.sandbox.url,
      BERTH_REDIS: process.env['BERTH_TEST_REDIS'] === 'off' ? 'off' : 'auto',
      ...this.seller,
      ...this.settings,
    };
  }

  async stop(): Promise<void> {
    for (const one of [this.controlPlane, this.sandbox]) {
      if (!one || one.child.exitCode !== null) continue;
      one.child.kill('SIGTERM');
      await new Promise((resolve) => one.child.once('exit', resolve));
    }
    await this.database?.drop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Past the API: what no outsider can make or see. */
  async sql(text: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
    const client = new pg.Client({ connectionString: this.database.url() });
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(text, values)).rows;
    } finally {
      await client.end();
    }
  }

  async call(method: string, url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    const raw = typeof body === 'string' || body instanceof URLSearchParams;
    const answer = await fetch(url, {
      method,
      redirect: 'manual',
      headers: { ...(body !== undefined && !raw ? { 'content-type': 'application/json' } : {}), ...headers },
      body: body === undefined ? undefined : raw ? (body as string) : JSON.stringify(body),
      // A clock that goes on by days is answered when all of the work of those days is done.
      signal: AbortSignal.timeout(120_000),
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

  /** As a buyer's browser posts the marketplace's form; where it is sent to. */
  async post(marketplace: 'gcp' | 'aws', fields: Record<string, string>): Promise<string> {
    const answer = await this.call('POST', `${this.controlPlane.url}/landing/${marketplace}`, new URLSearchParams(fields));
    if (answer.status !== 303)
      throw new Error(`the landing page answered ${answer.status} ${answer.text}; it logged ${this.controlPlane.errors().slice(-2_000)}`);
    return answer.headers.get('location') ?? '';
  }

  /** The newest of what was refused at the door. */
  async lastRefused(): Promise<Record<string, unknown>> {
    return (await this.api('GET', '/refused-events?limit=1')).json.items![0]!;
  }

  /** Says how much it is going to send and sends nothing: a body that is refused unread cannot be sent to its end. */
  announce(path: string, bytes: number): Promise<{ status: number; json: unknown }> {
    return new Promise((resolve, reject) => {
      const sending = request(this.controlPlane.url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/x-www-form-urlencoded', 'content-length': bytes },
        timeout: 20_000,
      });
      sending.once('error', reject).once('timeout', () => sending.destroy(new Error('no answer')));
      sending.once('response', (answer) => {
        let text = '';
        answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
        answer.once('end', () => {
          sending.destroy();
          resolve({ status: answer.statusCode ?? 0, json: JSON.parse(text) as unknown });
        });
      });
      sending.flushHeaders();
    });
  }

  /** The finding about a source whose clock is ahead of ours by hours. */
  async clockAhead(): Promise<Record<string, unknown>> {
    const data = { through: new Date(Date.now() + 30 * 3_600_000).toISOString(), sequence: '1' };
    const mark = { specversion: '1.0', id: 'ahead', source: '/imports/ahead', type: 'berth.watermark.v1', data };
    const { text } = await this.api('POST', '/usage-events', [mark]);
    if (!text.includes('usage.time_in_future')) throw new Error(`a clock that is ahead was answered ${text}`);
    const found = await until(
      () => this.api('GET', '/findings?open=true&kind=clock_skew'),
      (a) => a.json.items!.length > 0,
    );
    return found.json.items![0]!;
  }

  /** All of a list, page by page. */
  async list(path: string): Promise<Record<string, unknown>[]> {
    const all: Record<string, unknown>[] = [];
    for (let cursor = ''; ;) {
      const { json } = await this.api('GET', `/${path}?limit=200${cursor}`);
      all.push(...json.items!);
      if (!json['nextCursor']) return all;
      cursor = `&cursor=${String(json['nextCursor'])}`;
    }
  }

  /** The stored message of this key, once it is no longer in work. */
  async stored(source: string, naturalKey: string): Promise<Record<string, unknown>> {
    const its = (e: Record<string, unknown>): boolean => e['source'] === source && e['naturalKey'] === naturalKey;
    const found = await until(
      async () => (await this.list('inbound-events')).filter(its),
      (events) => events.length > 0 && events.every((e) => e['state'] !== 'received'),
    );
    if (found.length !== 1) throw new Error(`${source} ${naturalKey} is stored ${found.length} times`);
    return found[0]!;
  }

  /** All that an outsider could want to change; equal pictures mean that nothing has. */
  async picture(): Promise<Record<string, unknown>> {
    const plain = ['tenants', 'subscriptions', 'entitlements', 'quotas'];
    const moving = ['placements', 'operations', 'findings', 'submissions'];
    const picture: Record<string, unknown> = {};
    // What is still at work would change it by itself.
    await until(
      () => this.list('operations'),
      (all) => all.every((o) => o['state'] !== 'running'),
    );
    for (const name of plain) picture[name] = await this.list(name);
    for (const name of moving) picture[name] = (await this.list(name)).map(({ id, state, kind }) => ({ id, state, kind }));
    return picture;
  }

  /** A purchase that has ended, without what its settling changes by itself. */
  async endOf(externalId: string): Promise<Record<string, unknown>> {
    const { state, updatedAt: _, ...facts } = await this.subscriptionOf(externalId);
    if (state !== 'closing' && state !== 'cancelled') throw new Error(`the purchase is ${String(state)}`);
    return facts;
  }

  async subscriptionOf(externalId: string): Promise<Record<string, unknown>> {
    const { json } = await this.api('GET', '/subscriptions?limit=200');
    return json.items!.find((s) => s['externalSubscriptionId'] === externalId)!;
  }
}

/** The visit that a redirect leads to. */
export const sessionOf = (location: string): string => /^\/landing\/s\/([\w-]+)$/.exec(location)?.[1] ?? `no session: ${location}`;

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
