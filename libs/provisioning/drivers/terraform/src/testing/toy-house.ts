/** The driver with real Postgres, the real program and the real state protocol; nodes are folders, so that a test may do anything to them. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import { openDatabase, Sealer, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import { DriverError, readResult, type ClusterSpec, type DriverCall, type DriverPlan, type DriverResult } from '#provisioning/core';
import { aCall, FakeDriver, outputOf } from '#provisioning/core/testing';
import { createTestDatabase, type TestDatabase } from '../../../../../../test/support/database.js';
import { PgOperationStore, PgRunStore, PgStateWire, StateDoor, TerraformDriver, type TerraformDriverOptions } from '../index.js';
import type { BuiltNodes } from '../options.js';
import { RUN_MARK } from '../run/groups.js';

export const SPEC: ClusterSpec = { region: 'here', shape: 'small', nodes: 1, version: null, capacityBytes: null, labels: {} };

/** Folders as nodes. What needs tenants has its tests with real cells, in the app. */
class Folders extends FakeDriver implements BuiltNodes {
  constructor(
    clock: ManualClock,
    private readonly root: string,
  ) {
    super(clock);
  }

  override async observe(call: DriverCall) {
    const exists = existsSync(join(this.root, call.clusterRef));
    const seen = (await super.observe(call)).output!;
    return readResult(call.operationId, { ...seen, exists, health: exists ? ('ok' as const) : ('unknown' as const) });
  }

  protected override items() {
    return readdirSync(this.root).map((name) => ({
      externalId: name,
      kind: 'folder',
      clusterRef: name,
      state: 'running' as const,
      managed: true,
      detail: '',
    }));
  }

  override async delete(call: DriverCall): Promise<DriverResult<{ survivors: [] }>> {
    rmSync(join(this.root, call.clusterRef), { recursive: true, force: true });
    return readResult(call.operationId, { survivors: [] });
  }

  async specOf(): Promise<ClusterSpec> {
    return SPEC;
  }
}

export class ToyHouse {
  private refs = 0;
  readonly root = mkdtempSync(join(tmpdir(), 'berth-toy-'));
  readonly nodes = join(this.root, 'nodes');
  readonly work = join(this.root, 'work');
  readonly clock = new ManualClock(new Date('2026-03-01T10:00:00Z'));
  readonly sealer = new Sealer('a secret of the toy tests');
  readonly log: string[] = [];
  db!: Database;
  runs!: PgRunStore;
  door!: StateDoor;
  driver!: TerraformDriver;
  /** Every request of terraform, as `METHOD status`. */
  readonly requests: string[] = [];
  private database!: TestDatabase;
  private server!: Server;

  async start(): Promise<this> {
    mkdirSync(this.nodes);
    this.quick();
    this.database = await createTestDatabase();
    this.db = await openDatabase({ adminUrl: this.database.url(), secret: inject('databaseSecret'), poolSize: 4, assertions: true });
    this.runs = new PgRunStore(this.db, this.sealer, this.clock);
    this.door = new StateDoor(new PgStateWire(this.db, this.sealer));
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const url = new URL(request.url ?? '/', 'http://state');
        const md5 = request.headers['content-md5'];
        void this.door
          .handle({
            method: request.method ?? '',
            clusterRef: url.pathname.slice(1),
            lockId: url.searchParams.get('ID'),
            authorization: request.headers.authorization,
            contentMd5: typeof md5 === 'string' ? md5 : undefined,
            body: Buffer.concat(chunks),
          })
          .then(({ status, body }) => {
            this.requests.push(`${request.method} ${status}`);
            response.writeHead(status).end(body);
          });
      });
    });
    await new Promise<void>((up) => this.server.listen(0, '127.0.0.1', up));
    this.driver = this.another();
    return this;
  }

  another(change: Partial<TerraformDriverOptions> = {}, secret?: string): TerraformDriver {
    return new TerraformDriver({
      clock: this.clock,
      runs: this.runs,
      operations: new PgOperationStore(this.db),
      nodes: new Folders(this.clock, this.nodes),
      abilities: {
        suspendKinds: ['access'],
        protocols: [],
        signInModes: [],
        probes: false,
        maxPlacements: 10,
        keyRotation: false,
        hardQuota: false,
      },
      modules: [
        {
          name: 'toy',
          folder: fileURLToPath(new URL('./toy-module', import.meta.url)),
          regions: ['here', 'there'],
          shapes: [
            { name: 'small', minNodes: 1, maxNodes: 1 },
            { name: 'large', minNodes: 1, maxNodes: 1 },
          ],
          versions: [],
          dataBearing: ['terraform_data.node'],
          environment: { TOY_ROOT: this.nodes, TOY_SCRIPT: join(this.root, 'script.sh') },
          ...(secret === undefined ? {} : { secretEnvironment: { TF_VAR_token: secret } }),
          costOf: () => null,
        },
      ],
      backendUrl: () => `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`,
      workRoot: this.work,
      searchPath: process.env['PATH'] ?? '',
      graceMs: 3_000,
      onLog: (line) => void this.log.push(line.message),
      ...change,
    });
  }

  /** The name of a cluster that no test of this house has used. */
  newRef(): string {
    return `toy-${++this.refs}`;
  }

  /** What the module runs is done at once. */
  quick(): void {
    this.script('true');
  }

  /** What the creation (or a change) of a node does, beside making its folder. */
  script(text: string): void {
    writeFileSync(join(this.root, 'script.sh'), text);
  }

  planned(clusterRef: string, spec: ClusterSpec = SPEC, driver = this.driver): Promise<DriverPlan> {
    const call = aCall(clusterRef);
    return outputOf(() => driver.plan(call, spec));
  }

  async apply(clusterRef: string, spec: ClusterSpec = SPEC, fencingToken = 1, driver = this.driver) {
    const plan = await this.planned(clusterRef, spec, driver);
    const call = aCall(clusterRef, { fencingToken });
    return outputOf(() => driver.apply(call, { plan }));
  }

  /** Processes of writing runs, found as nobody's child: by the mark in their environment. */
  writers(clusterRef: string): number[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map(Number)
      .filter((pid) => {
        try {
          return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`${RUN_MARK}=${clusterRef}@${this.work}`);
        } catch {
          return false;
        }
      });
  }

  rows<T = Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<T[]> {
    return this.db.ops((tx) => tx.query<T>(sql, values));
  }

  async dispose(): Promise<void> {
    await this.driver?.idle();
    await new Promise((done) => this.server?.close(done));
    await this.db?.close();
    await this.database?.drop();
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Class and code of what was refused or failed. */
export async function failureOf(work: () => Promise<unknown>): Promise<{ class: string; code: string; detail: string }> {
  try {
    const result = (await work()) as DriverResult;
    if (result?.error) return result.error;
  } catch (error) {
    if (error instanceof DriverError) return error.toShape();
    throw error;
  }
  throw new Error('it was not refused');
}

/** Polls with a bound; for what another process does. */
export async function eventually<T>(look: () => Promise<T> | T, ms = 10_000): Promise<T> {
  const until = performance.now() + ms;
  for (;;) {
    const value = await look();
    if (value) return value;
    if (performance.now() > until) throw new Error(`not within ${ms} ms`);
    await new Promise((done) => setTimeout(done, 25));
  }
}
