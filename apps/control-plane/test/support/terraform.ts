/** The terraform driver with everything real: Postgres, the state backend over HTTP, the program, and cells of this machine. */
import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential } from '@azure/storage-blob';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Module } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyInstance } from 'fastify';
import { inject } from 'vitest';
import { openDatabase, Sealer, type Database } from '#platform';
import { ManualClock } from '#platform/testing';
import type { ClusterSpec, DesiredPlacement, DriverPlan } from '#provisioning/core';
import { aCall, outputOf } from '#provisioning/core/testing';
import { defaultCellsProgram, LOCAL_CAPABILITIES, LocalDriver } from '#provisioning/drivers/local';
import {
  cellModule,
  PgOperationStore,
  PgRunStore,
  PgStateWire,
  StateDoor,
  TerraformDriver,
  type TerraformDriverOptions,
} from '#provisioning/drivers/terraform';
import { TerraformStateController } from '../../src/http/drivers/terraform-state.controller.js';
import { readBodies } from '../../src/http/support/read-body.js';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';

export const SPEC: ClusterSpec = { region: 'local', shape: 'cell', nodes: 1, version: null, capacityBytes: null, labels: {} };

/** Twelve clusters wait for each other's turn, on a machine that has other work too. */
export const PATIENCE_MS = 120_000;

export class TerraformHouse {
  readonly root = mkdtempSync(join(tmpdir(), 'berth-terraform-'));
  readonly clock = new ManualClock(new Date());
  readonly log: string[] = [];
  readonly cells: LocalDriver;
  db!: Database;
  driver!: TerraformDriver;
  url = '';
  private readonly sealer = new Sealer('a secret of the terraform tests');
  private database!: TestDatabase;
  private app!: NestFastifyApplication;
  private generation = 0;

  constructor(private readonly change: Partial<TerraformDriverOptions> = {}) {
    this.cells = new LocalDriver({ rootFolder: join(this.root, 'cells'), ingest: null, clock: this.clock, maxCells: 40 });
  }

  async start(): Promise<this> {
    this.database = await createTestDatabase();
    this.db = await openDatabase({ adminUrl: this.database.url(), secret: inject('databaseSecret'), poolSize: 6, assertions: true });
    const door = new StateDoor(new PgStateWire(this.db, this.sealer));
    @Module({ controllers: [TerraformStateController], providers: [{ provide: StateDoor, useValue: door }] })
    class StateModule {}
    this.app = await NestFactory.create<NestFastifyApplication>(StateModule, new FastifyAdapter(), { bodyParser: false, logger: false });
    readBodies(this.app.getHttpAdapter().getInstance() as unknown as FastifyInstance);
    await this.app.listen(0, '127.0.0.1');
    this.url = `http://127.0.0.1:${(this.app.getHttpServer().address() as { port: number }).port}/drivers/terraform/state`;
    this.driver = this.another();
    return this;
  }

  /** A second control plane on the same database and machine. */
  another(change: Partial<TerraformDriverOptions> = {}): TerraformDriver {
    const { regions, shapes, versions, suspendKinds, protocols, signInModes, probes, maxPlacements, keyRotation, hardQuota } =
      LOCAL_CAPABILITIES;
    return new TerraformDriver({
      clock: this.clock,
      runs: new PgRunStore(this.db, this.sealer, this.clock),
      operations: new PgOperationStore(this.db),
      nodes: this.cells,
      abilities: { suspendKinds, protocols, signInModes, probes, maxPlacements, keyRotation, hardQuota },
      modules: [
        cellModule({
          nodePath: process.execPath,
          entry: defaultCellsProgram(),
          root: join(this.root, 'cells'),
          maxCells: 40,
          regions,
          shapes,
          versions,
        }),
      ],
      backendUrl: () => this.url,
      workRoot: join(this.root, 'work'),
      searchPath: process.env['PATH'] ?? '',
      graceMs: 5_000,
      onLog: (line) => void this.log.push(line.message),
      ...this.change,
      ...change,
    });
  }

  async planned(clusterRef: string, spec: ClusterSpec = SPEC, driver = this.driver): Promise<DriverPlan> {
    const call = aCall(clusterRef);
    return outputOf(() => driver.plan(call, spec), PATIENCE_MS);
  }

  async cluster(clusterRef: string, spec: ClusterSpec = SPEC): Promise<void> {
    const plan = await this.planned(clusterRef, spec);
    const call = aCall(clusterRef);
    await outputOf(() => this.driver.apply(call, { plan }), PATIENCE_MS);
  }

  async configure(clusterRef: string, placements: readonly DesiredPlacement[]): Promise<string> {
    const call = aCall(clusterRef, { generation: ++this.generation });
    const { endpoints } = await outputOf(() => this.driver.configure(call, { placements, purge: [] }));
    return endpoints[0]!.endpoint;
  }

  /** The cell's own files say where it listens, also when a test has killed it. */
  private portOf(clusterRef: string): number {
    const file = join(this.root, 'cells/cells', clusterRef, 'cell.json');
    return (JSON.parse(readFileSync(file, 'utf8')) as { gatewayPort: number }).gatewayPort;
  }

  container(clusterRef: string, placement: DesiredPlacement) {
    const { accountName, keys } = placement;
    return new BlobServiceClient(
      `http://127.0.0.1:${this.portOf(clusterRef)}/${accountName}`,
      new StorageSharedKeyCredential(accountName, keys[0]!.secretBase64),
      { retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1, tryTimeoutInMs: 10_000 } },
    ).getContainerClient('data');
  }

  /** Processes of this machine that carry this house's folder in their command line: cells, and programs that make them. */
  processes(word = this.root): { pid: number; command: string }[] {
    return readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .flatMap((name) => {
        try {
          const command = readFileSync(`/proc/${name}/cmdline`, 'utf8').replaceAll('\0', ' ');
          return command.includes(word) && Number(name) !== process.pid ? [{ pid: Number(name), command }] : [];
        } catch {
          return [];
        }
      });
  }

  cellProcesses(): string[] {
    return this.processes().flatMap(({ command }) => / --berth-cell=(\S+)/.exec(command)?.[1] ?? []);
  }

  killCell(clusterRef: string): void {
    for (const { pid, command } of this.processes()) if (command.includes(`--berth-cell=${clusterRef} `)) process.kill(pid, 'SIGKILL');
  }

  /** Folders and files of the cells and all that the state backend keeps, as text. */
  async fingerprint(): Promise<string> {
    const cells = join(this.root, 'cells/cells');
    const files = readdirSync(cells, { recursive: true })
      .map(String)
      .filter((name) => !name.includes('blobs'))
      .sort()
      .map((name) => [name, statSync(join(cells, name)).mtimeMs, statSync(join(cells, name)).size]);
    const states = await this.rows('select cluster_ref, version, sha256 from terraform_state_versions order by 1, 2');
    return JSON.stringify([files, states]);
  }

  rows<T = Record<string, unknown>>(sql: string, values: unknown[] = []): Promise<T[]> {
    return this.db.ops((tx) => tx.query<T>(sql, values));
  }

  async dispose(): Promise<void> {
    await this.driver?.idle();
    await this.cells.shutdownAll();
    // Of cells whose folder a test took away.
    for (const { pid, command } of this.processes()) if (command.includes('--berth-cell=')) process.kill(pid, 'SIGKILL');
    await this.app?.close();
    await this.db?.close();
    await this.database?.drop();
    rmSync(this.root, { recursive: true, force: true });
  }
}
