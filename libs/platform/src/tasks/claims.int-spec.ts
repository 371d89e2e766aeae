import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase, type Database } from '../db/database.js';
import { eventually, gate, ManualClock, silentLogger } from '../testing/index.js';
import { CLAIM, CLAIM_ALONE } from './claims.js';
import { SilentNudger } from './nudger.js';
import { PermanentTaskError } from './task-handler.js';
import { TaskRunner, type TaskRunnerOptions } from './task-runner.js';
import { Tasks, type NewTask } from './tasks.js';

interface TaskState {
  state: string;
  attempts: number;
  fence: string;
}

describe('claims of tasks', () => {
  let base: TestDatabase;
  let db: Database;
  let clock: ManualClock;
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
    clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
    tasks = new Tasks(clock, new SilentNudger());
  });

  const runner = (options: TaskRunnerOptions = {}): TaskRunner => new TaskRunner(db, clock, new SilentNudger(), silentLogger(), options);
  const enqueue = (task: Partial<NewTask> & { handler: string }): Promise<string> =>
    db.ops((tx) => tasks.enqueue(tx, { lane: 'lane:a', payload: {}, ...task }));
  const state = async (taskId: string): Promise<TaskState> =>
    (await db.ops((tx) => tx.query<TaskState>('select * from tasks where task_id = $1', [taskId])))[0]!;

  it('reads a handful of rows to claim, however many wait, also with statistics from before the burst', async () => {
    await db.ops(async (tx) => {
      await tx.query(
        `insert into tasks (task_id, lane, handler, payload_ref, next_run_at, created_at)
         select gen_random_uuid(), 'lane:' || n, 'note', '{}', $1::timestamptz - interval '1 ms' * (20000 - n), $1 from generate_series(1, 20000) n`,
        [clock.now()],
      );
    });
    const plan = await db.ops(async (tx) => {
      await tx.query(CLAIM_ALONE);
      const parameters = [clock.now(), clock.now(), clock.now(), 3, ['note']];
      return tx.query<{ 'QUERY PLAN': [{ Plan: Record<string, number> }] }>(`explain (analyze, buffers, format json) ${CLAIM}`, parameters);
    });
    const { Plan: read } = plan[0]!['QUERY PLAN'][0];
    expect(read['Actual Rows']).toBe(3);
    expect(read['Shared Hit Blocks']! + read['Shared Read Blocks']!).toBeLessThan(300);
  });

  it('runs the tasks of a lane one at a time in the order they were enqueued', async () => {
    const ran: string[] = [];
    let active = 0;
    const r = runner({ concurrency: 5 });
    r.register('note', async (payload) => {
      active += 1;
      expect(active).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 5));
      ran.push(String(payload['n']));
      active -= 1;
    });
    for (let n = 1; n <= 8; n++) await enqueue({ handler: 'note', payload: { n } });
    await r.drain();
    expect(ran).toEqual(['1', '2', '3', '4', '5', '6', '7', '8']);
  });

  it('runs different lanes side by side', async () => {
    const both = gate();
    const begun = new Set<string>();
    const r = runner({ concurrency: 2 });
    r.register('meet', async (_payload, context) => {
      begun.add(context.lane);
      if (begun.size === 2) both.open();
      await both.opened;
    });
    await enqueue({ handler: 'meet', lane: 'lane:a' });
    await enqueue({ handler: 'meet', lane: 'lane:b' });
    await r.drain();
    expect(begun.size).toBe(2);
  });

  it('leaves a due task alone while an older one of its lane waits for its time', async () => {
    const ran: string[] = [];
    const r = runner();
    r.register('note', async (payload) => void ran.push(String(payload['n'])));
    await enqueue({ handler: 'note', payload: { n: 1 }, runAt: new Date('2030-05-01T11:00:00Z') });
    await enqueue({ handler: 'note', payload: { n: 2 } });
    expect(await r.drain()).toBe(false);
    expect(ran).toEqual([]);
    clock.advance(3_600_000);
    expect(await r.drain()).toBe(true);
    expect(ran).toEqual(['1', '2']);
  });

  it('never runs one lane in two runners at once, and every task exactly once', async () => {
    const active = new Map<string, number>();
    const ran: string[] = [];
    const handler = async (payload: Record<string, unknown>, lane: string): Promise<void> => {
      active.set(lane, (active.get(lane) ?? 0) + 1);
      expect(active.get(lane)).toBe(1);
      await new Promise((resolve) => setTimeout(resolve, 3));
      ran.push(`${lane}#${String(payload['n'])}`);
      active.set(lane, active.get(lane)! - 1);
    };
    const runners = [runner({ concurrency: 4 }), runner({ concurrency: 4 })];
    for (const r of runners) r.register('note', (payload, context) => handler(payload, context.lane));
    const expected: string[] = [];
    await db.ops(async (tx) => {
      for (let n = 0; n < 12; n++) {
        for (const lane of ['lane:a', 'lane:b', 'lane:c']) {
          await tasks.enqueue(tx, { lane, handler: 'note', payload: { n } });
          expected.push(`${lane}#${n}`);
        }
      }
    });
    await Promise.all(runners.map((r) => r.drain()));
    expect([...ran].sort()).toEqual([...expected].sort());
    for (const lane of ['lane:a', 'lane:b', 'lane:c']) {
      expect(ran.filter((x) => x.startsWith(lane))).toEqual(expected.filter((x) => x.startsWith(lane)));
    }
  });

  it('does not start an older task that was committed late while a younger one of its lane runs', async () => {
    const commit = gate();
    const inserted = gate();
    const held = gate();
    const order: string[] = [];
    const older = db.ops(async (tx) => {
      await tasks.enqueue(tx, { lane: 'lane:a', handler: 'note', payload: { n: 'older' } });
      inserted.open();
      await commit.opened;
    });
    await inserted.opened;
    const younger = await enqueue({ handler: 'note', payload: { n: 'younger' } });
    const runners = [runner(), runner()];
    for (const r of runners) {
      r.register('note', async (payload) => {
        order.push(`${String(payload['n'])} begins`);
        if (payload['n'] === 'younger') await held.opened;
        order.push(`${String(payload['n'])} ends`);
      });
    }
    const first = runners[0]!.drain();
    await eventually('the younger one runs', async () => (await state(younger)).state === 'running');
    commit.open();
    await older;
    const second = runners[1]!.drain();
    await new Promise((resolve) => setTimeout(resolve, 150));
    held.open();
    await Promise.all([first, second]);
    expect(order).toEqual(['younger begins', 'younger ends', 'older begins', 'older ends']);
  });

  it('takes over a task whose lease ran out and refuses the completion of the old holder', async () => {
    const held = gate();
    const late: string[] = [];
    const slow = runner({ leaseMs: 150 });
    slow.register('work', async (_payload, context) => {
      await held.opened;
      await db
        .ops(async (tx) => {
          await tx.query(
            `insert into tasks (task_id, lane, handler, payload_ref, next_run_at, created_at) values (gen_random_uuid(), 'effect', 'none', '{}', now(), now())`,
          );
          await context.completeIn(tx);
        })
        .catch((error: Error) => {
          late.push(error.message);
          throw error;
        });
    });
    const attempts: number[] = [];
    const next = runner();
    next.register('work', async (_payload, context) => void attempts.push(context.attempt));
    const id = await enqueue({ handler: 'work' });
    const first = slow.drain();
    await eventually('the first runner holds the task', async () => (await state(id)).state === 'running');
    await next.drain();
    expect(attempts).toEqual([2]);
    expect(await state(id)).toMatchObject({ state: 'done', fence: '2' });
    held.open();
    await first;
    expect(late).toEqual([expect.stringMatching(/taken over/)]);
    expect(await state(id)).toMatchObject({ state: 'done', fence: '2', attempts: 2 });
    expect(await db.ops((tx) => tx.query(`select 1 from tasks where lane = 'effect'`))).toEqual([]);
  });

  it('neither parks nor reports a task that failed in the hands of an old holder', async () => {
    const held = gate();
    const reported: string[] = [];
    const slow = runner({ leaseMs: 150, onParked: async (_tx, task) => void reported.push(task.error) });
    slow.register('work', async () => {
      await held.opened;
      throw new PermanentTaskError('too late to matter');
    });
    const next = runner();
    next.register('work', async () => undefined);
    const id = await enqueue({ handler: 'work' });
    const first = slow.drain();
    await eventually('the first runner holds the task', async () => (await state(id)).state === 'running');
    await next.drain();
    held.open();
    await first;
    expect(reported).toEqual([]);
    expect((await state(id)).state).toBe('done');
  });
});
