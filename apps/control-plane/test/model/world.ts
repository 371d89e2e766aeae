import type { ChildProcess } from 'node:child_process';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createLogger, GuardedHttp, hostsOf, loadConfig, ProblemError, Sealer } from '#platform';
import type { InboundRequest, Marketplace } from '#marketplaces/core';
import { sellerEnvironment } from '../../../../scripts/lib/sandbox-shop.mjs';
import { makeAdapters } from '../../src/marketplaces.js';
import { requestDriftRun } from '../../src/processes/check-drift.js';
import { openLanding } from '../../src/processes/open-landing.js';
import { receiveWebhook } from '../../src/processes/receive-webhook.js';
import { Flows } from '../support/flows.js';
import { startProgram } from '../../../../test/support/program.js';

/** What becomes of a notification on its way to us. `late`: we answer, and look at it only after what follows. */
export const FATES = ['deliver', 'twice', 'lose', 'late'] as const;
export type Fate = (typeof FATES)[number];

/** A purchase as the sandbox has it, in our words. */
export interface There {
  externalId: string;
  state: 'pending_fulfillment' | 'active' | 'suspended' | 'ended';
  planId: string;
  /** Where the model moves it: the end of the term, to the second. */
  termEndsAt?: string | null;
  /** Its place has been taken by another purchase, with its tenant. */
  isSuperseded?: boolean;
}

interface Landing {
  field: string;
  fields: Record<string, string>;
}

/** One marketplace's side: how things are done in the sandbox, and what they look like there. */
export interface Counter {
  marketplace: Marketplace;
  settings(url: string): Record<string, unknown>;
  environment: Record<string, string>;
  /** How long all may take to come to rest after the last message, in seconds. */
  restSeconds: number;
  buy(world: World, planId: string, auto: boolean): Promise<{ externalId: string; landing: Landing }>;
  /** What the buyer brings where it is not what he brought the first time: he comes for the newest renewal. */
  visit?(world: World, externalId: string): Promise<Landing | null>;
  act(world: World, externalId: string, action: Action): Promise<void>;
  list(world: World): Promise<There[]>;
}
export type Action = 'change' | 'suspend' | 'reinstate' | 'cancel' | 'renew';

/** The real sandbox as a process, the real adapter and all flows on a real database, and a wire that loses, doubles and delays. */
export class World {
  readonly bought: { externalId: string; landing: Landing }[] = [];
  fate: Fate = 'deliver';
  private readonly late: InboundRequest[] = [];
  private readonly sealer = new Sealer('a secret of the tests');

  private constructor(
    private readonly counter: Counter,
    private readonly sandbox: { url: string; child: ChildProcess },
    private readonly wire: Server,
    private readonly http: GuardedHttp,
    readonly flows: Flows,
  ) {}

  static async open(counter: Counter): Promise<World> {
    const sandbox = await startProgram('apps/marketplace-sandbox/src/main.js', [], { SANDBOX_PORT: '0' });
    const config = loadConfig({
      ...(await sellerEnvironment(sandbox.url)),
      ...counter.environment,
      BERTH_SANDBOX_URL: sandbox.url,
      BERTH_SECRET: 'a secret of the tests, long enough',
    });
    const http = new GuardedHttp({ allow: hostsOf([sandbox.url]) });
    const logger = createLogger('test', 'silent');
    const at = await nowOf(sandbox.url);
    const flows = await Flows.open({
      at: at.toISOString(),
      maxAttempts: 12,
      adapters: (clock) => makeAdapters(config, { http, clock, logger }).filter((one) => one.marketplace === counter.marketplace),
    });
    const wire = createServer();
    await new Promise<void>((resolve) => wire.listen(0, '127.0.0.1', resolve));
    const world = new World(counter, sandbox, wire, http, flows);
    wire.on('request', (request, reply) => void world.take(request, reply));
    await world.shop('PUT', '/settings', counter.settings(`http://127.0.0.1:${(wire.address() as AddressInfo).port}`));
    return world;
  }

  async close(): Promise<void> {
    this.wire.closeAllConnections();
    this.wire.close();
    this.sandbox.child.kill('SIGKILL');
    await this.flows.close();
    await this.http.close();
  }

  /** A 4xx means that the step is not possible just now; it is left out. */
  async shop<T = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<T> {
    const answer = await fetch(`${this.sandbox.url}/sandbox${path}`, {
      method,
      ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    if (answer.status >= 500) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return (text ? JSON.parse(text) : {}) as T;
  }

  async buy(planId: string, auto: boolean): Promise<void> {
    this.bought.push(await this.counter.buy(this, planId, auto));
  }

  /** The buyer of the nth purchase comes and gives the details; a second time it is a visit. */
  async land(n: number): Promise<void> {
    const { marketplace } = this.counter;
    const bought = this.bought[n % this.bought.length]!;
    const landing = (await this.counter.visit?.(this, bought.externalId)) ?? bought.landing;
    const opened = await openLanding(this.flows.p, this.sealer, marketplace, landing.field, landing.fields);
    if (!opened.ok) return;
    const details = { organisation: `Buyer ${n}`, region: 'here', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
    await this.flows.db
      .ops((tx) => this.flows.p.landings.complete(tx, opened.sessionId, details))
      .catch((error: unknown) => {
        if (!(error instanceof ProblemError)) throw error;
      });
  }

  act(n: number, action: Action): Promise<void> {
    return this.counter.act(this, this.bought[n % this.bought.length]!.externalId, action);
  }

  /** Both sides' clocks go on together, and everything that is due is done. */
  async pass(seconds: number, steps = 1): Promise<void> {
    for (let i = 0; i < steps; i += 1) {
      await this.shop('POST', '/clock/advance', { seconds: seconds / steps, stepSeconds: seconds / steps });
      const now = await nowOf(this.sandbox.url);
      if (now > this.flows.clock.now()) this.flows.clock.set(now);
      while (await this.flows.runner.drain());
    }
  }

  /** What was held back comes now, in an order of its own. */
  async flush(order: (n: number) => number): Promise<void> {
    while (this.late.length > 0) {
      const [request] = this.late.splice(order(this.late.length) % this.late.length, 1);
      await this.receive(request!);
    }
    await this.pass(120, 4);
  }

  async drift(): Promise<void> {
    await this.flows.db.ops((tx) => requestDriftRun(this.flows.p, tx, this.counter.marketplace, 'a model'));
    await this.pass(300, 5);
  }

  there(): Promise<There[]> {
    return this.counter.list(this);
  }

  private async take(request: IncomingMessage, reply: ServerResponse): Promise<void> {
    let body = '';
    for await (const chunk of request) body += String(chunk);
    const headers = Object.fromEntries(Object.entries(request.headers).map(([name, value]) => [name, String(value)]));
    const { fate } = this;
    const message: InboundRequest = { headers, query: {}, body };
    let status = 200;
    if (fate === 'late') this.late.push(message);
    if (fate === 'deliver' || fate === 'twice') status = await this.receive(message);
    if (fate === 'twice') await this.receive(message);
    reply.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  }

  private async receive(message: InboundRequest): Promise<number> {
    try {
      return (await receiveWebhook(this.flows.p, this.counter.marketplace, message)).status;
    } catch (error) {
      if (error instanceof ProblemError) return error.status;
      throw error;
    }
  }
}

const nowOf = async (url: string): Promise<Date> => {
  const { offsetMs } = (await (await fetch(`${url}/sandbox/clock`)).json()) as { offsetMs: number };
  return new Date(Date.now() + offsetMs);
};
