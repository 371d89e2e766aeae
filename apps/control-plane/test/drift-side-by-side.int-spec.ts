import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { lockWaiters } from '#platform/testing';
import type { TaskContext } from '#platform';
import { claimDriftLine, closeIfThrough, judgeDriftLine } from '#entitlements';
import { requestDriftRun, rereadDrifted } from '../src/processes/check-drift.js';
import { Flows } from './support/flows.js';
import { until } from './support/house.js';

/** Thousands of purchases may differ at once: a marketplace that forgot them, or a list that is not theirs. */
describe('the lines of one drift run', () => {
  let f: Flows;
  beforeEach(async () => {
    f = await Flows.open();
  });
  afterEach(() => f?.close());

  interface Run extends Record<string, unknown> {
    state: string;
    error: string | null;
    completed_at: Date | null;
  }
  const runOf = async (id: string): Promise<Run> =>
    (await f.rows<Run>('select state, error, completed_at from drift_runs where drift_run_id = $1', [id]))[0]!;
  const verdicts = async (id: string): Promise<string[]> =>
    (await f.rows<{ verdict: string }>('select verdict from drift_lines where drift_run_id = $1', [id])).map((l) => l.verdict);
  const waiting = (): Promise<number> => lockWaiters(f.db);

  /** A transaction that holds the rows of this statement until it is told to go. */
  async function hold(sql: string, values: unknown[]): Promise<() => Promise<void>> {
    let go = (): void => undefined;
    const released = new Promise<void>((resolve) => (go = resolve));
    let began = (): void => undefined;
    const held = new Promise<void>((resolve) => (began = resolve));
    const done = f.db.ops(async (tx) => {
      await tx.query(sql, values);
      began();
      await released;
    });
    await held;
    return async () => {
      go();
      await done;
    };
  }

  /** Purchases that were suspended there without a word, compared with the list: each is a line, none is judged. */
  async function compared(many: number): Promise<{ runId: string; ids: string[]; externalIds: string[] }> {
    const served: { id: string; externalId: string }[] = [];
    for (let i = 0; i < many; i += 1) served.push(await f.serve(`Buyer ${i}`));
    for (const { externalId } of served) f.market.patch(externalId, { state: 'suspended' });
    f.clock.advance(20 * 60_000);
    f.broken.add('drift.reread');
    const runId = await f.db.ops((tx) => requestDriftRun(f.p, tx, 'azure', 'a test'));
    await f.runner.drain();
    f.broken.clear();
    expect(await verdicts(runId)).toEqual(served.map(() => 'rereading'));
    return { runId, ids: served.map((s) => s.id), externalIds: served.map((s) => s.externalId) };
  }

  it('are judged while somebody holds the run’s row: none waits for another', async () => {
    const { runId } = await compared(4);
    const release = await hold('select 1 from drift_runs where drift_run_id = $1 for update', [runId]);
    // The task that ends the run is due later than this.
    f.clock.advance(400);
    await f.rows(`update tasks set next_run_at = $1 where handler = 'drift.reread' and state = 'queued' returning 1`, [f.clock.now()]);
    const judged = f.runner.drain();
    try {
      await until(
        () => verdicts(runId),
        (all) => all.every((v) => v === 'applied'),
        10_000,
      );
      expect(await runOf(runId)).toMatchObject({ state: 'rereading', completed_at: null });
    } finally {
      await release();
      await judged;
    }
    await f.settle(60_000);
    expect(await runOf(runId)).toMatchObject({ state: 'completed', error: null, completed_at: expect.any(Date) });
  });

  it('end the run exactly once, also where the last two are judged at the same moment', async () => {
    const { runId, externalIds } = await compared(2);
    let go = (): void => undefined;
    const together = new Promise<void>((resolve) => (go = resolve));
    const judged: string[] = [];
    const both = externalIds.map((externalSubscriptionId) =>
      f.db.ops(async (tx) => {
        expect(await claimDriftLine(tx, runId, externalSubscriptionId)).not.toBeNull();
        await judgeDriftLine(tx, runId, { externalSubscriptionId, verdict: 'agrees_now', note: '' }, f.clock.now());
        judged.push(externalSubscriptionId);
        await together;
      }),
    );
    await until(
      () => Promise.resolve(judged.length),
      (n) => n === 2,
    );
    const close = () => f.db.ops((tx) => closeIfThrough(tx, runId, f.clock.now()));
    expect(await close(), 'neither is judged before it is committed').toBe(false);
    go();
    await Promise.all(both);
    const ends = await Promise.all([close(), close(), close()]);
    expect(ends.filter(Boolean)).toHaveLength(1);
    const { completed_at: at } = await runOf(runId);
    await f.settle(120_000);
    expect(await runOf(runId)).toEqual({ state: 'completed', error: null, completed_at: at });
  });

  it('are judged once each, also where two workers have the same one: the second finds it done', async () => {
    const { runId, ids, externalIds } = await compared(1);
    const payload = { driftRunId: runId, marketplace: 'azure' as const, externalSubscriptionId: externalIds[0]! };
    const done: number[] = [];
    const worker = (n: number): TaskContext => ({
      taskId: `task-${n}`,
      lane: 'a lane',
      attempt: 1,
      completeIn: () => Promise.resolve(void done.push(n)),
    });
    const release = await hold('select 1 from subscriptions where subscription_id = $1 for update', [ids[0]]);
    const both = [1, 2].map((n) => rereadDrifted(f.p, payload, worker(n)));
    await until(waiting, (n) => n === 2, 10_000).finally(release);
    await Promise.all(both);
    expect(done.sort()).toEqual([1, 2]);
    expect(await verdicts(runId)).toEqual(['applied']);
    expect(
      await f.rows(`select outcome from fulfillment_events where subscription_id = $1 and note = 'found by comparing lists'`, [ids[0]]),
    ).toHaveLength(1);
    expect(await f.state(ids[0]!)).toBe('suspended');
  });

  it('that were left by a run that was given up are judged by nobody any more, and by the next run', async () => {
    const { runId, ids } = await compared(2);
    f.clock.advance(2 * 3_600_000);
    f.broken.add('drift.reread');
    const next = await f.db.ops((tx) => requestDriftRun(f.p, tx, 'azure', 'a test'));
    expect(next).not.toBe(runId);
    expect(await verdicts(runId)).toEqual(['unread', 'unread']);
    const given = await runOf(runId);
    expect(given).toMatchObject({ state: 'completed', error: expect.stringContaining('given up') });
    f.broken.clear();
    await f.rows(`update tasks set next_run_at = $1 where state = 'queued' returning 1`, [f.clock.now()]);
    await f.settle(120_000);
    expect(await runOf(runId), 'its own task leaves it alone').toEqual(given);
    expect(await runOf(next)).toMatchObject({ state: 'completed', error: null });
    expect(await verdicts(next)).toEqual(['applied', 'applied']);
    expect(await Promise.all(ids.map((id) => f.state(id)))).toEqual(['suspended', 'suspended']);
  });
});
