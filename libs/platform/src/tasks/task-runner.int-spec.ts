import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase, type Database, type Tx } from '../db/database.js';
import { eventually, gate, ManualClock, silentLogger } from '../testing/index.js';
import { Pressure } from './pressure.js';
import { SilentNudger } from './nudger.js';
import { PermanentTaskError, RunAgainAt } from './task-handler.js';
import { TaskRunner, type TaskRunnerOptions } from './task-runner.js';
import { Tasks, type NewTask } from './tasks.js';

interface TaskState {
  state: string;
  attempts: number;
  last_error: string | null;
  next_run_at: Date;
}

describe('the task runner', () => {
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

  it('steps back while senders wait, and finishes all the same when it is drained', async () => {
    const pressure = new Pressure();
    const ran: number[] = [];
    const r = runner({ pressure, pollMs: 20 });
    r.register('note', async () => void ran.push(performance.now()));
    for (let i = 0; i < 4; i += 1) await enqueue({ handler: 'note', lane: `lane:${i}` });
    const waiting = gate();
    const senders = Array.from({ length: 4 }, () => pressure.around(() => waiting.opened));
    await r.start();
    await eventually('two tasks have run', () => ran.length >= 2);
    expect(ran[1]! - ran[0]!).toBeGreaterThan(40);
    await r.drain();
    expect(ran).toHaveLength(4);
    waiting.open();
    await Promise.all(senders);
    await r.stop();
  });

  it('parks a lane whose head cannot succeed, reports it in the same transaction and lets other lanes go on', async () => {
    const ran: string[] = [];
    const reported: string[] = [];
    const r = runner({
      onParked: async (tx: Tx, task) => {
        const [row] = await tx.query<{ state: string }>('select state from tasks where task_id = $1', [task.taskId]);
        reported.push(`${task.lane} ${task.handler} ${row!.state}: ${task.error}`);
      },
    });
    r.register('poison', async () => {
      throw new PermanentTaskError('no such purchase');
    });
    r.register('note', async (_payload, context) => void ran.push(context.lane));
    const head = await enqueue({ handler: 'poison', lane: 'lane:a' });
    await enqueue({ handler: 'note', lane: 'lane:a' });
    await enqueue({ handler: 'note', lane: 'lane:b' });
    await r.drain();
    expect(reported).toEqual(['lane:a poison parked: no such purchase']);
    expect(ran).toEqual(['lane:b']);
    expect(await state(head)).toMatchObject({ state: 'parked', attempts: 1, last_error: 'no such purchase' });
  });

  it('parks nothing when the report cannot be written', async () => {
    const r = runner({
      onParked: async () => {
        throw new Error('no place for a finding');
      },
    });
    r.register('poison', async () => {
      throw new PermanentTaskError('broken');
    });
    const head = await enqueue({ handler: 'poison' });
    const run = r.drain();
    await eventually('the claim was made', async () => (await state(head)).attempts === 1);
    expect((await state(head)).state).toBe('running');
    await db.ops((tx) => tx.query(`update tasks set state = 'done' where task_id = $1`, [head]));
    await run;
  });

  it('gives a task up after the allowed number of attempts', async () => {
    const reported: string[] = [];
    const r = runner({ maxAttempts: 3, onParked: async (_tx, task) => void reported.push(task.error) });
    let attempts = 0;
    r.register('fail', async () => {
      throw new Error(`attempt ${++attempts}`);
    });
    const id = await enqueue({ handler: 'fail' });
    for (let i = 0; i < 6; i++) {
      await r.drain();
      clock.advance(600_000);
    }
    expect(attempts).toBe(3);
    expect(reported).toEqual(['attempt 3']);
    expect((await state(id)).state).toBe('parked');
  });

  it('parks a task whose runs end their process instead of running it for ever', async () => {
    const reported: string[] = [];
    const r = runner({ maxAttempts: 3, onParked: async (_tx, task) => void reported.push(task.error) });
    let ran = 0;
    r.register('kill', async () => void (ran += 1));
    const id = await enqueue({ handler: 'kill' });
    // What three dead workers leave behind: a claim whose lease has run out.
    await db.ops((tx) =>
      tx.query(`update tasks set state = 'running', attempts = 3, lease_until = now() - interval '1 minute' where task_id = $1`, [id]),
    );
    await r.drain();
    expect(ran).toBe(0);
    expect(reported).toHaveLength(1);
    expect((await state(id)).state).toBe('parked');
  });

  it('retries a failed task later, each time with more patience', async () => {
    const attempts: number[] = [];
    const r = runner();
    r.register('fail twice', async (_payload, context) => {
      attempts.push(context.attempt);
      if (context.attempt < 3) throw new Error('not yet');
    });
    const id = await enqueue({ handler: 'fail twice' });
    await r.drain();
    const waits = [(await state(id)).next_run_at.getTime() - clock.now().getTime()];
    expect(await r.drain()).toBe(false);
    clock.advance(waits[0]!);
    await r.drain();
    waits.push((await state(id)).next_run_at.getTime() - clock.now().getTime());
    clock.advance(waits[1]!);
    await r.drain();
    expect(attempts).toEqual([1, 2, 3]);
    expect(waits[0]).toBeGreaterThanOrEqual(250);
    expect(waits[0]).toBeLessThanOrEqual(1_250);
    expect(waits[1]).toBeGreaterThanOrEqual(500);
    expect(waits[1]).toBeLessThanOrEqual(2_500);
    expect(await state(id)).toMatchObject({ state: 'done', last_error: null });
  });

  it('does not count a run that only waits for a fact', async () => {
    const attempts: number[] = [];
    const r = runner({ maxAttempts: 2 });
    r.register('await', async (_payload, context) => {
      attempts.push(context.attempt);
      if (attempts.length < 5) throw new RunAgainAt(new Date(clock.now().getTime() + 1_000), 'not there yet');
    });
    const id = await enqueue({ handler: 'await' });
    for (let i = 0; i < 5; i++) {
      await r.drain();
      if (i < 4) expect(await state(id)).toMatchObject({ state: 'queued', attempts: 0, last_error: 'not there yet' });
      clock.advance(1_000);
    }
    expect(attempts).toEqual([1, 1, 1, 1, 1]);
    expect((await state(id)).state).toBe('done');
  });

  it('commits the effect and the completion together', async () => {
    const r = runner();
    r.register('effect', async (_payload, context) => {
      await db.ops(async (tx) => {
        await context.completeIn(tx);
        if (context.attempt === 1) throw new Error('rolled back');
      });
    });
    const id = await enqueue({ handler: 'effect' });
    await r.drain();
    expect(await state(id)).toMatchObject({ state: 'queued', attempts: 1 });
    clock.advance(2_000);
    await r.drain();
    expect((await state(id)).state).toBe('done');
  });

  it('drains a long lane and all that follows from it', async () => {
    const r = runner({ concurrency: 2 });
    let ran = 0;
    r.register('lead', async (payload, context) => {
      ran += 1;
      await db.ops(async (tx) => {
        await tasks.enqueue(tx, { lane: `follow:${String(payload['n'])}`, handler: 'follow', payload: {} });
        await context.completeIn(tx);
      });
    });
    r.register('follow', async () => void (ran += 1));
    await db.ops(async (tx) => {
      for (let n = 0; n < 60; n++) await tasks.enqueue(tx, { lane: 'lane:a', handler: 'lead', payload: { n } });
    });
    expect(await r.drain()).toBe(true);
    expect(ran).toBe(120);
    expect(await r.drain()).toBe(false);
  });

  it('counts what a clock made as work, and a clock that fails hinders no other', async () => {
    const r = runner();
    const made = [1, 0];
    r.addClock(async () => {
      throw new Error('broken clock');
    });
    r.addClock(async () => made.shift() ?? 0);
    expect(await r.drain()).toBe(true);
    expect(made).toEqual([]);
  });

  it('leaves tasks alone that it has no handler for', async () => {
    const r = runner();
    r.register('known', async () => undefined);
    const id = await enqueue({ handler: 'of another version' });
    expect(await r.drain()).toBe(false);
    expect(await state(id)).toMatchObject({ state: 'queued', attempts: 0 });
  });

  it('refuses a second handler of one name', () => {
    const r = runner();
    r.register('note', async () => undefined);
    expect(() => r.register('note', async () => undefined)).toThrow(/twice/);
  });
});
