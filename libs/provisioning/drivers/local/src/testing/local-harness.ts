/** A driver over a temporary root, and a buyer's SDK client for its placements. */
import { BlobServiceClient, StorageRetryPolicyType, StorageSharedKeyCredential, type ContainerClient } from '@azure/storage-blob';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ClusterSpec, DesiredPlacement } from '#provisioning/core';
import { aCall, outputOf } from '#provisioning/core/testing';
import { LocalDriver, type LocalDriverOptions } from '../index.js';
import { cellPaths, readJson, removeSocketFolder } from '../files.js';
import type { CellFile, CellStatus, PidFile } from '../wire.js';
import { callCell } from '../cell-client.js';
import { builtCell } from './build-cell.js';

export const SPEC: ClusterSpec = { region: 'local', shape: 'cell', nodes: 1, version: null, capacityBytes: null, labels: {} };

export class LocalHarness {
  readonly root = mkdtempSync(join(tmpdir(), 'berth-local-'));
  readonly entry = builtCell();
  readonly driver: LocalDriver;
  private generation = 0;

  constructor(private readonly options: Partial<LocalDriverOptions> = {}) {
    this.driver = this.another();
  }

  /** A second control plane over the same machine. */
  another(options: Partial<LocalDriverOptions> = {}): LocalDriver {
    return new LocalDriver({
      rootFolder: this.root,
      cellEntry: this.entry,
      ingest: null,
      clock: { now: () => new Date() },
      ...this.options,
      ...options,
    });
  }

  async cell(clusterRef: string, placements: readonly DesiredPlacement[] = []): Promise<void> {
    const plan = await outputOf(() => this.driver.plan(aCall(clusterRef), SPEC));
    const call = aCall(clusterRef);
    await outputOf(() => this.driver.apply(call, { plan }));
    if (placements.length > 0) await this.configure(clusterRef, placements);
  }

  async configure(clusterRef: string, placements: readonly DesiredPlacement[], purge: readonly string[] = []) {
    const call = aCall(clusterRef, { generation: ++this.generation });
    return outputOf(() => this.driver.configure(call, { placements, purge }));
  }

  file(clusterRef: string): CellFile {
    return readJson<CellFile>(cellPaths(this.folder(clusterRef)).cell)!;
  }

  pid(clusterRef: string): PidFile {
    return readJson<PidFile>(cellPaths(this.folder(clusterRef)).pid)!;
  }

  folder(clusterRef: string): string {
    return join(this.root, 'cells', clusterRef);
  }

  status(clusterRef: string): Promise<CellStatus> {
    return callCell<CellStatus>(this.file(clusterRef), 'GET', '/status');
  }

  async counters(clusterRef: string, placementId: string): Promise<{ in: number; out: number; requests: number; stored: number }> {
    const p = (await this.status(clusterRef)).placements.find((x) => x.placementId === placementId)!;
    return {
      in: Number(p.counters.ingressBytes),
      out: Number(p.counters.egressBytes),
      requests: Number(p.counters.requests),
      stored: Number(p.storedBytes),
    };
  }

  kill(clusterRef: string): void {
    process.kill(this.pid(clusterRef).pid, 'SIGKILL');
  }

  service(clusterRef: string, placement: DesiredPlacement, secretBase64 = placement.keys[0]!.secretBase64): BlobServiceClient {
    const url = `http://127.0.0.1:${this.file(clusterRef).gatewayPort}/${placement.accountName}`;
    return new BlobServiceClient(url, new StorageSharedKeyCredential(placement.accountName, secretBase64), {
      retryOptions: { retryPolicyType: StorageRetryPolicyType.FIXED, maxTries: 1, tryTimeoutInMs: 10_000 },
    });
  }

  container(clusterRef: string, placement: DesiredPlacement): ContainerClient {
    return this.service(clusterRef, placement).getContainerClient('data');
  }

  async dispose(): Promise<void> {
    await this.driver.shutdownAll();
    // Of cells that a test has killed.
    for (const name of readdirSync(join(this.root, 'cells'))) removeSocketFolder(this.folder(name));
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** Polls with a bound; for what another process does. */
export async function eventually<T>(look: () => Promise<T> | T, good: (value: T) => boolean = Boolean, ms = 10_000): Promise<T> {
  const until = performance.now() + ms;
  for (;;) {
    const value = await look();
    if (good(value)) return value;
    if (performance.now() > until) throw new Error(`not within ${ms} ms: ${JSON.stringify(value)}`);
    await new Promise((done) => setTimeout(done, 25));
  }
}

/** Status and error code of a refused SDK call. */
export async function refusalOf(work: Promise<unknown>): Promise<{ status: number | undefined; code: string | undefined }> {
  try {
    await work;
  } catch (error) {
    const e = error as { statusCode?: number; code?: string; details?: { errorCode?: string } };
    return { status: e.statusCode, code: e.details?.errorCode ?? e.code };
  }
  throw new Error('the call was not refused');
}
