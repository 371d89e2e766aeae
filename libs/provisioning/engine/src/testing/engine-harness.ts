/** A whole engine on a real database with a scripted fake driver, for this lib's tests. */
import pino from 'pino';
import { inject } from 'vitest';
import { openDatabase, RunAgainAt, Sealer, SilentNudger, TaskRunner, Tasks, uuidv7, type Database, type Tx } from '#platform';
import { ManualClock } from '#platform/testing';
import type { DriverCapabilities, IdentityKind, ProvisioningDriver } from '#provisioning/core';
import { FakeDriver } from '#provisioning/core/testing';
import { createTestDatabase } from '../../../../../test/support/database.js';
import { ProvisioningEngine, registerProvisioningHandlers, type ProvisioningEngineOptions } from '../index.js';

export const START = '2026-03-01T10:00:00.000Z';
type Method = Exclude<keyof ProvisioningDriver, 'capabilities'>;
type Hook = (run: () => Promise<never>, nth: number) => Promise<unknown>;

/** The fake with a script: a hook stands before one method's calls and decides what becomes of each. */
export class ScriptedDriver {
  readonly fake: FakeDriver;
  readonly calls: { method: string; operationId: string; fencingToken: number; clusterRef: string }[] = [];
  private readonly hooks = new Map<string, Hook>();
  /** Laid over what the fake can do. */
  can: Partial<DriverCapabilities> = {};
  readonly port: ProvisioningDriver;

  constructor(clock: ManualClock) {
    this.fake = new FakeDriver(clock);
    this.port = new Proxy(this.fake, {
      get: (target, name) => {
        const value: unknown = Reflect.get(target, name);
        if (name === 'capabilities') return () => ({ ...target.capabilities(), ...this.can });
        if (typeof value !== 'function') return value;
        return (...args: [{ operationId: string; fencingToken: number; clusterRef: string }, ...unknown[]]) => {
          this.calls.push({
            method: String(name),
            operationId: args[0].operationId,
            fencingToken: args[0].fencingToken,
            clusterRef: args[0].clusterRef,
          });
          const run = (): Promise<never> => (value as (...a: unknown[]) => Promise<never>).apply(target, args);
          const hook = this.hooks.get(String(name));
          return hook ? hook(run, this.count(String(name))) : run();
        };
      },
    }) as unknown as ProvisioningDriver;
  }

  on(method: Method, hook: Hook): void {
    this.hooks.set(method, hook);
  }
  off(method: Method): void {
    this.hooks.delete(method);
  }
  count(method: string): number {
    return this.calls.filter((c) => c.method === method).length;
  }
  of(method: string): { operationId: string; fencingToken: number }[] {
    return this.calls.filter((c) => c.method === method);
  }
}

export interface Harness {
  readonly db: Database;
  readonly clock: ManualClock;
  readonly driver: ScriptedDriver;
  readonly engine: ProvisioningEngine;
  readonly tasks: Tasks;
  /** Types of the events, in the order in which they were handled. */
  readonly events: { type: string; placementId: string }[];
  /** Another worker on the same database and driver. */
  another(options?: Partial<ProvisioningEngineOptions>): ProvisioningEngine;
  request(change?: {
    subscriptionId?: string;
    tenantId?: string;
    shape?: string;
    region?: string;
    bytes?: bigint | null;
    dedicated?: boolean;
    identity?: readonly IdentityKind[];
  }): Promise<{ placementId: string; operationId: string; subscriptionId: string; tenantId: string }>;
  /** Runs everything due, moves the clock to what comes next, until nothing is left or `maxMs` of business time is over. */
  settle(maxMs?: number): Promise<void>;
  drain(): Promise<void>;
  one<T>(sql: string, parameters?: unknown[]): Promise<T>;
  ops<T>(work: (tx: Tx) => Promise<T>): Promise<T>;
  /** The data of a placement whose access has ended is not wanted any more, and goes. */
  purge(placementId: string): Promise<void>;
  clusterOf(placementId: string): Promise<{ clusterId: string; name: string }>;
  placement(placementId: string): ReturnType<ProvisioningEngine['getPlacement']>;
  /** A placement that was asked for and serves, with its cluster. */
  serving(): Promise<Awaited<ReturnType<Harness['request']>> & { clusterId: string; name: string }>;
  /** Types of the events of a placement, in order. */
  eventsOf(placementId: string): string[];
  /** The newest of a placement or cluster. */
  lastOperation(subjectId: string): Promise<Awaited<ReturnType<ProvisioningEngine['listOperations']>>['items'][number]>;
  close(): Promise<void>;
}

export async function engineHarness(options: Partial<ProvisioningEngineOptions> = {}): Promise<Harness> {
  const database = await createTestDatabase();
  const db = await openDatabase({ adminUrl: database.url(), secret: inject('databaseSecret'), poolSize: 4, assertions: true });
  const clock = new ManualClock(new Date(START));
  const tasks = new Tasks(clock, new SilentNudger());
  const logger = pino({ level: 'silent' });
  const driver = new ScriptedDriver(clock);
  const another = (more: Partial<ProvisioningEngineOptions> = {}): ProvisioningEngine =>
    new ProvisioningEngine({
      db,
      tasks,
      clock,
      sealer: new Sealer('test'),
      drivers: new Map([['fake', driver.port]]),
      logger,
      issueCellKey: async (_tx, id) => `cell-key-of-${id}`,
      ingestUrl: () => 'http://ingest.test/usage',
      retry: { attempts: 6, baseDelayMs: 100, maxDelayMs: 5_000 },
      ...options,
      ...more,
    });
  const engine = another();
  const events: Harness['events'] = [];
  for (const type of ['active', 'suspended', 'resumed', 'access_ended', 'export_closed', 'limits_changed', 'failed', 'purged'])
    tasks.subscribe(`placement.${type}`, 'test.events');
  const runner = new TaskRunner(db, clock, new SilentNudger(), logger);
  registerProvisioningHandlers(runner, engine);
  runner.register('test.events', async (p) => void events.push({ type: String(p['eventType']), placementId: String(p['placementId']) }));

  const one = async <T>(sql: string, parameters?: unknown[]): Promise<T> => (await db.ops((tx) => tx.query<T>(sql, parameters)))[0]!;
  const harness: Harness = {
    db,
    clock,
    driver,
    engine,
    tasks,
    events,
    another,
    one,
    ops: (work) => db.ops(work),
    async request(change = {}) {
      const ids = { subscriptionId: change.subscriptionId ?? uuidv7(), tenantId: change.tenantId ?? uuidv7() };
      const made = await db.ops((tx) =>
        engine.requestPlacement(tx, {
          ...ids,
          region: change.region ?? 'here',
          shape: change.shape ?? 'small',
          limits: { hardQuotaBytes: change.bytes === undefined ? 1_000_000n : change.bytes },
          ...(change.dedicated === undefined ? {} : { dedicated: change.dedicated }),
          ...(change.identity ? { identity: change.identity } : {}),
        }),
      );
      return { ...made, ...ids };
    },
    async drain() {
      await runner.drain();
    },
    async settle(maxMs = 3_600_000) {
      const end = clock.now().getTime() + maxMs;
      for (;;) {
        await runner.drain();
        const next = await one<{ at: Date | null }>(
          `select min(next_run_at) as at from tasks t where state = 'queued' and not exists (select 1 from tasks o where o.lane = t.lane and o.state <> 'done' and o.sequence < t.sequence)`,
        );
        if (!next.at || next.at.getTime() > end) return;
        if (next.at > clock.now()) clock.set(next.at);
      }
    },
    async purge(placementId) {
      await db.ops(async (tx) => {
        await engine.decideExport(tx, placementId, { state: 'confirmed', by: 'operator:test', reason: 'The test wants it gone.' });
        await engine.purge(tx, placementId);
      });
    },
    async clusterOf(placementId) {
      const row = await one<{ cluster_id: string; name: string }>(
        'select c.cluster_id, c.name from placements p join clusters c using (cluster_id) where placement_id = $1',
        [placementId],
      );
      return { clusterId: row.cluster_id, name: row.name };
    },
    placement: (placementId) => db.ops((tx) => engine.getPlacement(tx, placementId)),
    async serving() {
      const made = await harness.request();
      await harness.settle();
      return { ...made, ...(await harness.clusterOf(made.placementId)) };
    },
    eventsOf: (placementId) => events.filter((e) => e.placementId === placementId).map((e) => e.type),
    lastOperation: async (subjectId) => (await db.ops((tx) => engine.listOperations(tx, { limit: 1 }, { subjectId }))).items[0]!,
    async close() {
      await db.close();
      await database.drop();
    },
  };
  return harness;
}

/** A run outside the task runner: what the runner would do later is not an error. */
export async function runOnce(engine: ProvisioningEngine, clusterId: string): Promise<RunAgainAt | undefined> {
  try {
    await engine.reconcile(clusterId);
    return undefined;
  } catch (error) {
    if (error instanceof RunAgainAt) return error;
    throw error;
  }
}
