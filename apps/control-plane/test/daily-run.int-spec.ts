import pg from 'pg';
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

  it('asks once more a day for earlier days that did not tell yet how submissions ended', async () => {
    const clock = new ReconciliationClock(f.p, new Metrics());
    const admin = new pg.Client({ connectionString: f.base.url() });
    await admin.connect();
    await admin.query('set session_replication_role = replica');
    for (const [hour, marketplace] of [
      ['2030-03-01T10:00:00Z', 'azure'],
      ['2030-04-20T10:00:00Z', 'gcp'],
      ['2030-04-28T10:00:00Z', 'azure'],
    ])
      await admin.query(
        `insert into submission_items (item_id, record_id, tenant_id, subscription_id, marketplace, hour, gate, state, target_at, hard_at, next_attempt_at, created_at)
         values (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), $2, $1, '', 'unknown', $1, $1, $1, $1)`,
        [hour, marketplace],
      );
    f.clock.set(new Date('2030-05-03T06:10:00Z'));
    const spans = () => f.rows('select kinds, from_at, to_at from reconciliation_runs order by run_id');
    expect(await clock.tick()).toBe(1);
    await f.settle();
    f.clock.set(new Date('2030-05-03T06:30:00Z'));
    expect(await clock.tick()).toBe(1);
    await f.settle();
    expect((await spans()).slice(1)).toEqual([
      { kinds: ['read_back'], from_at: new Date('2030-04-28T00:00:00Z'), to_at: new Date('2030-05-01T00:00:00Z') },
    ]);
    f.clock.set(new Date('2030-05-03T12:00:00Z'));
    expect(await clock.tick(), 'once a day').toBe(0);
    await admin.query(`insert into findings (finding_id, dedupe_key, kind, subscription_id, evidence, raised_at)
      select gen_random_uuid(), 'x', 'unknown_outcome', subscription_id, jsonb_build_object('itemId', item_id, 'compared', '{}'::jsonb), now() from submission_items where hour >= '2030-04-28'`);
    await admin.end();
    for (const [at, booked] of [
      ['2030-05-04T06:10:00Z', 1],
      ['2030-05-04T06:30:00Z', 0],
    ] as const) {
      f.clock.set(new Date(at));
      expect(await clock.tick(), 'what a comparison could not tell is a person’s').toBe(booked);
      await f.settle();
    }
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
