import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase, type Database } from '../db/database.js';
import { eventually, gate, ManualClock, silentLogger } from '../testing/index.js';
import { SilentNudger } from './nudger.js';
import { TaskRunner } from './task-runner.js';
import { Tasks } from './tasks.js';

interface TaskState {
  state: string;
  attempts: number;
  lease_until: Date | null;
}

describe('a task runner that is told to stop', () => {
  const clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
  const tasks = new Tasks(clock, new SilentNudger());
  let base: TestDatabase;
  let db: Database;

  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });
  beforeEach(() => db.ops((tx) => tx.query('delete from tasks')));

  const runner = (over = db): TaskRunner => new TaskRunner(over, clock, new SilentNudger(), silentLogger(), { pollMs: 10 });
  const enqueue = (): Promise<string> => db.ops((tx) => tasks.enqueue(tx, { lane: 'lane:a', handler: 'work', payload: {} }));
  const state = async (taskId: string): Promise<TaskState> =>
    (await db.ops((tx) => tx.query<TaskState & Record<string, unknown>>('select * from tasks where task_id = $1', [taskId])))[0]!;

  it('begins nothing any more', async () => {
    const held = gate();
    let begun = 0;
    const r = runner();
    r.register('work', async () => {
      begun += 1;
      await held.opened;
    });
    for (let i = 0; i < 4; i++) await enqueue();
    await r.start();
    await eventually('the first task runs', () => begun === 1);
    const stopped = r.stop();
    held.open();
    await stopped;
    // Long enough for what would be begun after the stop to be seen.
    await new Promise((resolve) => setTimeout(resolve, 150));
    const after = await db.ops((tx) => tx.query<{ state: string }>('select state from tasks order by sequence'));
    expect(after.map((row) => row.state)).toEqual(['done', 'queued', 'queued', 'queued']);
    expect(begun).toBe(1);
  });

  it('gives back at once what it had just claimed', async () => {
    const held = gate();
    const slow: Database = Object.create(db) as Database;
    slow.ops = async (work) => {
      const claimed = await db.ops(work);
      if (Array.isArray(claimed) && (claimed as { task_id?: string }[])[0]?.task_id) await held.opened;
      return claimed;
    };
    const r = runner(slow);
    let begun = 0;
    r.register('work', async () => void (begun += 1));
    const id = await enqueue();
    await r.start();
    await eventually('it is claimed', async () => (await state(id)).state === 'running');
    const stopped = r.stop();
    held.open();
    await stopped;
    expect([begun, await state(id)]).toMatchObject([0, { state: 'queued', attempts: 0, lease_until: null }]);
  });
});
