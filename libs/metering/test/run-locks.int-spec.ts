import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase, type Database, type Tx } from '#platform';
import { eventually, gate, lockWaiters } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { advanceStep, beginStep, insertRun, openStepOf } from '../src/index.js';

const NOW = new Date('2030-05-01T10:00:00Z');

/** Worker, schedule and operators hold a run and its steps at once: all in one order, or two of them wait for each other. */
describe('a run that several hold at once', () => {
  let base: TestDatabase;
  let db: Database;
  let runId: string;
  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });
  beforeEach(async () => {
    const run = {
      kinds: ['subscriptions'],
      marketplace: 'azure',
      from: new Date(NOW.getTime() - 3_600_000),
      to: NOW,
      requestedBy: 'a-key',
      via: 'api',
    } as const;
    runId = await db.ops(async (tx) => {
      await tx.query('delete from reconciliation_steps');
      await tx.query('delete from reconciliation_runs');
      return insertRun(tx, run, [{ kind: 'subscriptions', marketplace: 'azure', reference: null }], NOW);
    });
  });

  const somebodyWaits = (): Promise<void> => eventually('the other one waits', async () => (await lockWaiters(db)) > 0);

  /** One holds the run and then begins its next step; the other comes in between. */
  async function meets<T>(other: (tx: Tx) => Promise<T>): Promise<T> {
    const [held, open] = [gate(), gate()];
    const first = db.ops(async (tx) => {
      await tx.query('select 1 from reconciliation_runs where run_id = $1 for update', [runId]);
      held.open();
      await open.opened;
      return beginStep(tx, runId, NOW);
    });
    await held.opened;
    const second = db.ops(other);
    await somebodyWaits();
    open.open();
    expect((await first)?.step?.kind).toBe('subscriptions');
    return second;
  }

  it('is advanced by one while another begins its step', async () => {
    expect(await meets((tx) => advanceStep(tx, { run_id: runId, step: 1 }, { compared: 3 }, NOW))).toBe(true);
  });

  it('is looked for by one while another begins its step', async () => {
    expect(await meets((tx) => openStepOf(tx, 'subscriptions', 'azure'))).toMatchObject({
      run: { run_id: runId },
      step: { state: 'running' },
    });
  });

  it('is none where it ended while somebody waited for it', async () => {
    const end = (tx: Tx): Promise<boolean> => advanceStep(tx, { run_id: runId, step: 1 }, { end: { state: 'done' } }, NOW);
    const [held, open] = [gate(), gate()];
    const first = db.ops(async (tx) => {
      await end(tx);
      held.open();
      await open.opened;
    });
    await held.opened;
    const second = db.ops((tx) => openStepOf(tx, 'subscriptions', 'azure'));
    await somebodyWaits();
    open.open();
    await first;
    expect(await second).toBeNull();
  });
});
