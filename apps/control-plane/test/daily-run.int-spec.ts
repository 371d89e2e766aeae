import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Metrics, type Tx } from '#platform';
import { listRuns, scheduledHealth, type NewRun, type RunRow, type StepRow } from '#metering';
import { requestRun } from '../src/processes/reconcile.js';
import { ReconciliationClock } from '../src/workers/reconciliation-clock.js';
import { Flows } from './support/flows.js';

type Run = RunRow & { steps: StepRow[] };
let f: Flows;
beforeEach(async () => {
  f = await Flows.open({ at: '2030-05-03T05:00:00Z' });
});
afterEach(() => f?.close());

const later = (ms = 1_200_000): void => f.clock.set(new Date(f.clock.now().getTime() + ms));
const wish = (over: Partial<NewRun> = {}): NewRun => ({
  kinds: ['sum_law', 'placements', 'read_back', 'subscriptions'],
  marketplace: null,
  from: new Date('2030-05-01T00:00:00Z'),
  to: new Date('2030-05-04T00:00:00Z'),
  requestedBy: 'Ada Winter',
  via: 'api',
  ...over,
});
const request = (over: Partial<NewRun> = {}): Promise<string> => f.db.ops((tx) => requestRun(f.p, tx, wish(over)));
const seen = (runId: string): Promise<Run> => f.db.ops(async (tx: Tx) => (await listRuns(tx, { limit: 1, after: null, runId })).items[0]!);
const run = async (over: Partial<NewRun> = {}): Promise<Run> => {
  const runId = await request(over);
  await f.settle();
  return seen(runId);
};

describe('the daily run', () => {
  it('is booked once a day, for the two days before, whoever looks [AZ-40]', async () => {
    const [one, another] = [new ReconciliationClock(f.p, new Metrics()), new ReconciliationClock(f.p, new Metrics())];
    expect(await one.tick(), 'too early').toBe(0);
    f.clock.set(new Date('2030-05-03T06:10:00Z'));
    expect((await Promise.all([one.tick(), another.tick()])).sort()).toEqual([0, 1]);
    expect(await f.rows('select kinds, from_at, to_at, requested_by, requested_via from reconciliation_runs')).toEqual([
      {
        kinds: ['sum_law', 'placements', 'read_back'],
        from_at: new Date('2030-05-01T00:00:00Z'),
        to_at: new Date('2030-05-03T00:00:00Z'),
        requested_by: 'schedule',
        requested_via: 'schedule',
      },
    ]);
    await f.settle();
    f.clock.set(new Date('2030-05-03T23:00:00Z'));
    expect(await one.tick()).toBe(0);
    f.clock.set(new Date('2030-05-04T06:00:00Z'));
    expect(await one.tick()).toBe(1);
  });

  it('waits for a person’s run of the same, and says in metrics that it failed', async () => {
    const metrics = new Metrics();
    const clock = new ReconciliationClock(f.p, metrics);
    await request({ kinds: ['sum_law'] });
    f.clock.set(new Date('2030-05-03T06:10:00Z'));
    expect(await clock.tick()).toBe(0);
    await f.settle();
    later();
    expect(await clock.tick()).toBe(1);
    f.market.failNext('readBack', 'refused');
    await f.settle();
    expect((await f.db.ops((tx) => scheduledHealth(tx))).filter((h) => h.failed).map((h) => h.kind)).toEqual(['read_back']);
    later();
    await clock.tick();
    const failed = async (): Promise<string | undefined> =>
      /berth_reconciliation_failed\{kind="read_back",marketplace="azure"\} (\d)/.exec(await metrics.registry.metrics())?.[1];
    expect(await failed()).toBe('1');
    // A person makes up for it.
    await run({ kinds: ['read_back'] });
    later();
    await clock.tick();
    expect(await failed()).toBe('0');
  });
});
