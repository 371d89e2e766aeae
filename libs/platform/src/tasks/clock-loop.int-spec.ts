import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../../test/support/database.js';
import { openDatabase, type Database } from '../db/database.js';
import { eventually, gate, ManualClock, silentLogger } from '../testing/index.js';
import { SilentNudger } from './nudger.js';
import { TaskRunner, type TaskRunnerOptions } from './task-runner.js';
import { Tasks } from './tasks.js';

describe("the runner's clocks", () => {
  let base: TestDatabase;
  let db: Database;
  const clock = new ManualClock(new Date('2030-05-01T10:00:00Z'));

  beforeAll(async () => {
    base = await createTestDatabase();
    db = await openDatabase({ adminUrl: base.url(), secret: base.secret });
  });
  afterAll(async () => {
    await db?.close();
    await base?.drop();
  });
  const runner = (options: TaskRunnerOptions = {}): TaskRunner => new TaskRunner(db, clock, new SilentNudger(), silentLogger(), options);
  const enqueue = (handler: string): Promise<string> =>
    db.ops((tx) => new Tasks(clock, new SilentNudger()).enqueue(tx, { lane: 'lane:a', payload: {}, handler }));

  it('lets a clock with a loop of its own wait for somebody without holding up tasks or other clocks', async () => {
    const held = gate();
    const ran: string[] = [];
    let waiting = 0;
    let more = 0;
    const r = runner({ pollMs: 10 });
    r.register('note', async () => void ran.push('task'));
    r.addClock(async () => (more-- > 0 ? ran.push('clock') : 0));
    r.addClock(async () => {
      waiting += 1;
      await held.opened;
      return 0;
    }, 'outside');
    await r.start();
    await eventually('one clock waits', () => waiting === 1);
    more = 1;
    await enqueue('note');
    await eventually('the others go on', () => ran.includes('task') && ran.includes('clock'));
    let drained = false;
    const drain = r.drain().then(() => (drained = true));
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect([drained, waiting]).toEqual([false, 1]);
    held.open();
    await drain;
    const stopped = r.stop();
    await stopped;
    const passes = waiting;
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(waiting).toBe(passes);
  });

  it('drains with a pass that begins after the call: one under way may have looked before time moved', async () => {
    const looked = gate();
    const held = gate();
    const r = runner({ pollMs: 60_000 });
    let due = false;
    let done = 0;
    r.addClock(async () => {
      const seen = due;
      looked.open();
      await held.opened;
      if (!seen || done > 0) return 0;
      return (done += 1);
    });
    await r.start();
    await looked.opened;
    due = true;
    const drain = r.drain();
    held.open();
    expect([await drain, done]).toEqual([true, 1]);
    await r.stop();
  });

  it('wakes the other loops when a clock has made something', async () => {
    const r = runner({ pollMs: 60_000 });
    let closed = false;
    let sent = 0;
    const first = gate();
    r.addClock(async () => {
      await first.opened;
      if (closed) return 0;
      closed = true;
      return 1;
    });
    r.addClock(async () => (closed && sent === 0 ? (sent += 1) : 0), 'outside');
    await r.start();
    first.open();
    await eventually('it was sent before the next poll', () => sent === 1);
    await r.stop();
  });
});
