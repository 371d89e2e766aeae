import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { isAway, isBusy, mayPass } from './database-away.js';
import { openDatabase, type Database } from './database.js';

describe('what a transaction failed of', () => {
  let base: TestDatabase;
  let db: Database;
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret, poolSize: 1 });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });

  it.each([
    ['40P01', true, true], // deadlock
    ['53100', true, true], // disk full
    ['55P03', true, true], // lock not available
    ['57014', true, true], // cancelled
    ['XX002', true, false], // a broken index
    ['23505', false, false], // unique violation
    ['22P02', false, false], // no number
    ['P0001', false, false], // said by a trigger
  ])('tells of a failure with the state %s whether the same may succeed later: %s, in a moment: %s', async (state, passing, busy) => {
    const failed = await db
      .ops((tx) => tx.query(`do $$ begin raise exception 'invented' using errcode = '${state}'; end $$`))
      .catch((e: unknown) => e);
    expect([mayPass(failed), isBusy(failed), isAway(failed)]).toEqual([passing, busy, false]);
  });

  it('tells of a lost connection that the database is away, which may pass', async () => {
    const lost = await db.ops((tx) => tx.query('select pg_terminate_backend(pg_backend_pid())')).catch((e: unknown) => e);
    expect([mayPass(lost), isBusy(lost), isAway(lost)]).toEqual([true, false, true]);
  });
});
