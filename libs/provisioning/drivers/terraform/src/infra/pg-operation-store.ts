/** Operations and fences in Postgres: a runner's disk may be lost at any time. */
import { realNow, type Database } from '#platform';
import { DriverError, type OperationRecord, type OperationStore } from '#provisioning/core';
import { fenceOf, raiseFence, DRIVER } from './rows.js';

/** Finished operations are forgotten after this; the engine keeps its own ledger. */
const KEEP_MS = 35 * 24 * 3_600_000;
const PRUNE_EVERY = 500;

export class PgOperationStore implements OperationStore {
  private saves = 0;

  constructor(private readonly db: Database) {}

  async load(operationId: string): Promise<OperationRecord | undefined> {
    if (operationId === '') throw new DriverError('validation', 'driver.bad_operation_id', 'An operation id is not empty.');
    const [row] = await this.db.ops((tx) =>
      tx.query<{ record: OperationRecord }>('select record from driver_operations where driver = $1 and operation_id = $2', [
        DRIVER,
        operationId,
      ]),
    );
    return row?.record;
  }

  async save(record: OperationRecord): Promise<void> {
    const now = realNow();
    await this.db.ops(async (tx) => {
      await tx.query(
        `insert into driver_operations (driver, operation_id, cluster_ref, record, updated_at) values ($1, $2, $3, $4, $5)
         on conflict (driver, operation_id) do update set record = excluded.record, updated_at = excluded.updated_at`,
        [DRIVER, record.operationId, record.clusterRef, JSON.stringify(record), now],
      );
      this.saves += 1;
      if (this.saves % PRUNE_EVERY === 0)
        await tx.query(`delete from driver_operations where driver = $1 and updated_at < $2 and record ->> 'phase' <> 'running'`, [
          DRIVER,
          new Date(now.getTime() - KEEP_MS),
        ]);
    });
  }

  fence(clusterRef: string): Promise<number> {
    return this.db.ops((tx) => fenceOf(tx, clusterRef));
  }

  raiseFence(clusterRef: string, token: number): Promise<void> {
    return this.db.ops((tx) => raiseFence(tx, DRIVER, clusterRef, token));
  }
}
