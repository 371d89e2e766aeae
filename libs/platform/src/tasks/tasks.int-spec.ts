import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase, type Database } from '../db/database.js';
import { ManualClock } from '../testing/index.js';
import { SilentNudger, type Nudger } from './nudger.js';
import { Tasks, type NewTask } from './tasks.js';

class CountingNudger extends SilentNudger implements Nudger {
  readonly nudged: { taskId: string; delayMs: number }[] = [];
  override nudge(taskId?: string, delayMs?: number): void {
    this.nudged.push({ taskId: taskId!, delayMs: delayMs! });
  }
}

describe('tasks', () => {
  const clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
  let base: TestDatabase;
  let db: Database;
  let nudger: CountingNudger;
  let tasks: Tasks;

  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });
  beforeEach(async () => {
    await db.ops((tx) => tx.query('delete from tasks'));
    nudger = new CountingNudger();
    tasks = new Tasks(clock, nudger);
  });

  const enqueue = (task: Partial<NewTask> & { handler: string }): Promise<string> =>
    db.ops((tx) => tasks.enqueue(tx, { lane: 'lane:a', payload: {}, ...task }));

  it('enqueues one task per key and answers the first one to a repeat', async () => {
    const first = await enqueue({ handler: 'note', dedupeKey: 'purge:1' });
    const second = await enqueue({ handler: 'note', dedupeKey: 'purge:1', lane: 'lane:other' });
    expect(second).toBe(first);
    expect(await db.ops((tx) => tx.query('select 1 from tasks'))).toHaveLength(1);
    expect(nudger.nudged).toHaveLength(1);
  });

  it('leaves nothing of a task whose transaction rolled back: no row, no nudge, no action after commit', async () => {
    let after = 0;
    await expect(
      db.ops(async (tx) => {
        await tasks.enqueue(tx, { lane: 'lane:a', handler: 'note', payload: {} });
        tx.afterCommit(() => void (after += 1));
        throw new Error('changed my mind');
      }),
    ).rejects.toThrow('changed my mind');
    expect(await db.ops((tx) => tx.query('select 1 from tasks'))).toEqual([]);
    expect(nudger.nudged).toEqual([]);
    expect(after).toBe(0);
  });

  it('nudges after the commit only, with the time that is left until the task is due', async () => {
    await db.ops(async (tx) => {
      await tasks.enqueue(tx, { lane: 'lane:a', handler: 'note', payload: {}, runAt: new Date(clock.now().getTime() + 5_000) });
      expect(nudger.nudged).toEqual([]);
    });
    expect(nudger.nudged).toEqual([{ taskId: expect.any(String), delayMs: 5_000 }]);
  });

  it('publishes one task per subscribed handler, in the transaction of the fact', async () => {
    tasks.subscribe('thing.happened', 'one');
    tasks.subscribe('thing.happened', 'two');
    expect(() => tasks.subscribe('thing.happened', 'one')).toThrow(/already subscribed/);
    await db.ops((tx) => tasks.publish(tx, { type: 'thing.happened', lane: 'lane:a', payload: { thingId: 't1' } }));
    const rows = await db.ops((tx) => tx.query('select handler, payload_ref from tasks order by sequence'));
    expect(rows).toEqual([
      { handler: 'one', payload_ref: { thingId: 't1', eventType: 'thing.happened' } },
      { handler: 'two', payload_ref: { thingId: 't1', eventType: 'thing.happened' } },
    ]);
  });
});
