/** Operations and fences as files under the driver's root: they outlive the control plane, as a cloud's records would. */
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { DriverError, sha256Hex, type OperationRecord, type OperationStore } from '#provisioning/core';
import { readJson, writeJsonAtomic } from './files.js';

/** Finished operations beyond this are forgotten, oldest first; the control plane keeps its own. */
const KEEP = 2000;

export class FileOperationStore implements OperationStore {
  private readonly operations: string;
  private readonly fences: string;
  private saves = 0;

  constructor(root: string) {
    this.operations = join(root, 'operations');
    this.fences = join(root, 'fences');
    for (const folder of [this.operations, this.fences]) mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  async load(operationId: string): Promise<OperationRecord | undefined> {
    return readJson<OperationRecord>(this.path(operationId));
  }

  async save(record: OperationRecord): Promise<void> {
    writeJsonAtomic(this.path(record.operationId), record);
    this.saves += 1;
    if (this.saves % 500 === 0) this.prune();
  }

  async fence(clusterRef: string): Promise<number> {
    return readJson<{ token: number }>(join(this.fences, `${clusterRef}.json`))?.token ?? 0;
  }

  async raiseFence(clusterRef: string, token: number): Promise<void> {
    writeJsonAtomic(join(this.fences, `${clusterRef}.json`), { token });
  }

  private path(operationId: string): string {
    if (operationId === '') throw new DriverError('validation', 'driver.bad_operation_id', 'An operation id is not empty.');
    // An id is the caller's text: never a path.
    return join(this.operations, `${/^[0-9a-f-]{36}$/.test(operationId) ? operationId : sha256Hex(operationId)}.json`);
  }

  private prune(): void {
    const files = readdirSync(this.operations).map((name) => ({
      path: join(this.operations, name),
      at: statSync(join(this.operations, name)).mtimeMs,
    }));
    for (const { path } of files.sort((a, b) => b.at - a.at).slice(KEEP)) rmSync(path, { force: true });
  }
}
