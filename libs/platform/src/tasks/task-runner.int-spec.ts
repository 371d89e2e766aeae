import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase, type Database, type Tx } from '../db/database.js';
import { eventually, gate, ManualClock, silentLogger } from '../testing/index.js';
import { CLAIM, CLAIM_ALONE } from './claim.js';
import { Pressure } from './pressure.js';
import { SilentNudger, type Nudger } from './nudger.js';
import { PermanentTaskError, RunAgainAt, TaskRunner, type TaskRunnerOptions } from './task-runner.js';
import { Tasks, type NewTask } from './tasks.js';

class CountingNudger extends SilentNudger implements Nudger {
  readonly nudged: { taskId: string; delayMs: number }[] = [];
  override nudge(taskId?: string, delayMs?: number): void {
    this.nudged.push({ taskId: taskId!, delayMs: delayMs! });
  }
}

interface TaskState {
  task_id: string;
  state: string;
  attempts: number;
  fence: string;
  last_error: string | null;
  next_run_at: Date;
  lease_until: Date | null;
}

describe('the task runner', () => {
  let base: TestDatabase;
  let db: Database;
  let clock: ManualClock;
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
    clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));
    nudger = new CountingNudger();
    tasks = new Tasks(clock, nudger);
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
