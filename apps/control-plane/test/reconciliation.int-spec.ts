import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Tx } from '#platform';
import { listRuns, type NewRun, type RunRow, type StepRow } from '#metering';
import type { FakeDriver } from '#provisioning/core/testing';
import { checkWholeSumLaw } from '../src/processes/compare-sum-law.js';
import { requestRun } from '../src/processes/reconcile.js';
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
const told = (r: Run): unknown[] => r.steps.map((s) => [s.kind, s.state, s.compared, s.agreed, s.differing, s.opened, s.closed]);
const open = async (): Promise<string[]> =>
  (await f.rows<{ kind: string }>('select kind from findings where settlement is null order by kind')).map((r) => r.kind);
const fleet = (): FakeDriver => f.driver;

describe('a run of comparisons', () => {
  it('makes each comparison one after another and says what agreed, who asked, and that nothing was found', async () => {
    await f.serve();
    later();
    const runId = await request();
    expect(await seen(runId)).toMatchObject({ state: 'queued', requested_by: 'Ada Winter', requested_via: 'api', finished_at: null });
    await f.settle();
    const done = await seen(runId);
    expect(done.state).toBe('done');
    expect(told(done)).toEqual([
      ['sum_law', 'done', expect.any(Number), expect.any(Number), 0, 0, 0],
      ['placements', 'done', 1, 1, 0, 0, 0],
      ['read_back', 'done', 0, 0, 0, 0, 0],
      ['subscriptions', 'done', 1, 1, 0, 0, 0],
    ]);
    expect(await open()).toEqual([]);
  });

  it('never goes on side by side with another of the same kind, also where both ask at once', async () => {
    const both = await Promise.allSettled([request(), request({ kinds: ['read_back'], marketplace: 'azure' })]);
    expect(both.map((b) => b.status).sort()).toEqual(['fulfilled', 'rejected']);
    await expect(request({ kinds: ['sum_law'], marketplace: 'azure' })).rejects.toMatchObject({ code: 'reconciliation.under_way' });
    await f.settle();
    await request({ kinds: ['sum_law'] });
  });

  it('takes the place of a run that hangs, and the database refuses two that are open', async () => {
    const hung = await request({ kinds: ['placements'] });
    await expect(
      f.rows(
        `insert into reconciliation_steps (run_id, step, kind, state) select run_id, 2, 'placements', 'waiting' from reconciliation_runs`,
      ),
    ).rejects.toThrow(/reconciliation_steps_one_open/);
    later(3 * 3_600_000);
    await request({ kinds: ['placements'] });
    expect(await seen(hung)).toMatchObject({ state: 'failed', steps: [{ state: 'failed', reason: expect.stringContaining('given up') }] });
  });

  it('fails where a marketplace could not be asked, with the reason, and the other comparisons count', async () => {
    await f.serve();
    later();
    f.market.failNext('readBack', 'refused');
    f.market.failNext('listAll', 'unknown');
    const done = await run();
    expect(done.state).toBe('failed');
    expect(done.steps.map((s) => s.state)).toEqual(['done', 'done', 'failed', 'failed']);
    expect(done.steps.slice(2).every((s) => s.reason!.startsWith('could not be asked: '))).toBe(true);
    expect(await f.rows(`select 1 from tasks where state = 'parked'`)).toEqual([]);
  });

  it('asks a busy or silent marketplace again, for ten minutes', async () => {
    f.market.failNext('readBack', 'busy', { retryAfterMs: 5_000 });
    f.market.failNext('readBack', 'unknown');
    expect((await run({ kinds: ['read_back'] })).state).toBe('done');
    f.market.failNext('readBack', 'unknown', { times: 20 });
    const silent = await request({ kinds: ['read_back'] });
    await f.settle(3_600_000);
    expect(await seen(silent)).toMatchObject({ state: 'failed', steps: [{ reason: expect.stringContaining('could not be asked') }] });
  });

  it('hears of a purchase that differs from the drift run, and of its finding', async () => {
    const { externalId } = await f.serve();
    f.market.patch(externalId, { state: 'suspended' });
    expect(told(await run({ kinds: ['subscriptions'] })), 'a message may be on its way').toMatchObject([
      ['subscriptions', 'done', 1, 0, 0, 0, 0],
    ]);
    later();
    const done = await run({ kinds: ['subscriptions'] });
    expect(told(done)).toEqual([['subscriptions', 'done', 1, 0, 1, 1, 0]]);
    expect(await f.rows('select distinct requested_by, state from drift_runs')).toEqual([
      { requested_by: 'Ada Winter', state: 'completed' },
    ]);
  });
});

describe('placements against what the provider says is running', () => {
  it('a missing, a foreign, an orphaned and a doubled one are findings, once each, that settle themselves when they are gone', async () => {
    const [missing, asleep, twice] = [await f.serve('Missing'), await f.serve('Asleep'), await f.serve('Twice')];
    later();
    const placementOf = async (id: string): Promise<string> =>
      (await f.rows<{ id: string }>('select placement_id as id from placements where subscription_id = $1', [id]))[0]!.id;
    const [cluster] = [...fleet().clusters.values()];
    const [gone, suspended, doubled] = [await placementOf(missing.id), await placementOf(asleep.id), await placementOf(twice.id)];
    const was = cluster!.placements.get(gone)!;
    cluster!.accounts.delete(gone);
    cluster!.placements.set(suspended, { ...cluster!.placements.get(suspended)!, state: 'suspended' });
    cluster!.accounts.set('11111111-1111-4111-8111-111111111111', 'nobodys');
    fleet().plantOrphan('left-behind');
    // A second cluster of ours that runs the same placement.
    await f.rows(
      `insert into clusters (cluster_id, name, driver, variant, region, shape, phase, desired, recorded, created_at, updated_at)
       select gen_random_uuid(), 'second', driver, variant, region, shape, phase, desired, recorded, created_at, updated_at from clusters`,
    );
    fleet().clusters.set('second', {
      ...cluster!,
      externalId: 'second',
      ref: 'second',
      accounts: new Map([[doubled, cluster!.accounts.get(doubled)!]]),
    });
    const first = await run({ kinds: ['placements'] });
    expect(told(first)).toEqual([['placements', 'done', 5, 0, 5, 5, 0]]);
    expect(await open()).toEqual(['drift.missing_here', 'drift.missing_here', 'drift.missing_there', 'drift.quantity', 'drift.state']);
    expect(told(await run({ kinds: ['placements'] }))).toEqual([['placements', 'done', 5, 0, 5, 0, 0]]);
    expect(fleet().clusters.has('left-behind'), 'nothing is destroyed').toBe(true);

    cluster!.accounts.set(gone, was.accountName);
    cluster!.placements.set(suspended, { ...cluster!.placements.get(suspended)!, state: 'active' });
    cluster!.accounts.delete('11111111-1111-4111-8111-111111111111');
    fleet().clusters.delete('left-behind');
    fleet().clusters.get('second')!.accounts.clear();
    expect(told(await run({ kinds: ['placements'] }))).toEqual([['placements', 'done', 3, 3, 0, 0, 5]]);
    expect(await open()).toEqual([]);
    expect(await f.rows(`select 1 from audit_events where action = 'finding.settled'`)).toHaveLength(5);
    // The same again is a finding again.
    cluster!.accounts.delete(gone);
    expect(told(await run({ kinds: ['placements'] }))).toEqual([['placements', 'done', 3, 2, 1, 1, 0]]);
  });

  it('counts a purchase in force that no placement serves, which has its finding already', async () => {
    const { id } = await f.serve();
    await f.rows(`update placements set phase = 'failed', updated_at = $2 where subscription_id = $1`, [id, f.clock.now()]);
    expect((await run({ kinds: ['placements'] })).steps[0]).toMatchObject({ differing: 0 });
    later(3_600_000);
    expect((await run({ kinds: ['placements'] })).steps[0]).toMatchObject({
      differing: 1,
      opened: 0,
      reason: expect.stringContaining('paid_not_serving'),
    });
  });

  it('of which nothing can be said are not judged: in work, or the provider gives no answer', async () => {
    const { id } = await f.serve();
    later();
    const [cluster] = [...fleet().clusters.values()];
    cluster!.accounts.clear();
    cluster!.accounts.set('11111111-1111-4111-8111-111111111111', 'nobodys');
    await f.rows('update clusters set generation = generation + 1');
    expect(told(await run({ kinds: ['placements'] }))).toEqual([['placements', 'done', 2, 0, 1, 1, 0]]);
    await f.rows('update clusters set generation = generation - 1');
    expect(await open()).toEqual(['drift.missing_here']);
    expect(told(await run({ kinds: ['placements'] }))).toEqual([['placements', 'done', 2, 0, 2, 1, 0]]);
    // While it is in work nothing is known to be mended.
    await f.rows('update clusters set generation = generation + 1');
    expect((await run({ kinds: ['placements'] })).steps[0]).toMatchObject({ closed: 0 });
    await f.rows('update clusters set generation = generation - 1');
    cluster!.broken = true;
    const silent = await run({ kinds: ['placements'] });
    expect(silent).toMatchObject({ state: 'failed', steps: [{ reason: expect.stringContaining('it is down'), closed: 0 }] });
    expect(await f.rows('select kind, subscription_id from findings where settlement is null order by kind')).toEqual([
      { kind: 'drift.missing_here', subscription_id: null },
      { kind: 'drift.missing_there', subscription_id: id },
    ]);
  });
});

describe('the sum law in a run', () => {
  it('is a finding where a row is missing, in the run’s span only, and settles itself when the rows are right again', async () => {
    const { id } = await f.serve();
    const hour = new Date('2030-05-02T10:00:00Z');
    const admin = new pg.Client({ connectionString: f.base.url() });
    await admin.connect();
    await admin.query('set session_replication_role = replica');
    const [tenant] = await f.rows<{ tenant_id: string }>('select tenant_id from subscriptions where subscription_id = $1', [id]);
    await admin.query(
      `insert into ledger_entries (subscription_id, meter, hour, tenant_id, term, cause, quantity, ref, recorded_at) values ($1, 'gib_hours_stored', $2, $3, 'measured', 'samples', 7, 'a test', $2)`,
      [id, hour, tenant!.tenant_id],
    );
    const of = (from: string, to: string): Promise<Run> => run({ kinds: ['sum_law'], from: new Date(from), to: new Date(to) });
    expect((await of('2030-05-02T11:00:00Z', '2030-05-03T00:00:00Z')).steps[0]).toMatchObject({ differing: 0, opened: 0 });
    expect((await of('2030-05-02T00:00:00Z', '2030-05-03T00:00:00Z')).steps[0]).toMatchObject({ differing: 1, opened: 1 });
    // Another span agrees: that says nothing about the first.
    expect((await of('2030-05-02T11:00:00Z', '2030-05-03T00:00:00Z')).steps[0]).toMatchObject({ differing: 0, closed: 0 });
    expect(await f.rows(`select kind, evidence ->> 'difference' as difference from findings where settlement is null`)).toEqual([
      { kind: 'drift.quantity', difference: '7' },
    ]);
    const [finding] = await f.rows<{ finding_id: string }>('select finding_id from findings where settlement is null');
    await expect(
      f.db.ops((tx) =>
        f.p.metering.settleByPerson(tx, {
          findingId: finding!.finding_id,
          settlement: 'fix_mapping',
          reason: 'looks right',
          by: { keyId: 'k', name: 'Ada' },
        }),
      ),
    ).rejects.toMatchObject({ code: 'finding.still_differs' });
    await admin.query(`delete from ledger_entries where ref = 'a test'`);
    await admin.end();
    expect((await of('2030-05-02T11:00:00Z', '2030-05-03T00:00:00Z')).steps[0]).toMatchObject({ differing: 0, closed: 1 });
    expect(await open()).toEqual([]);
  });
});

describe('a submission item without a record', () => {
  it('is found by a run and by the job, whosever it is, and settles itself when it is gone', async () => {
    const { id } = await f.serve();
    const [tenant] = await f.rows<{ tenant_id: string }>('select tenant_id from subscriptions where subscription_id = $1', [id]);
    const admin = new pg.Client({ connectionString: f.base.url() });
    await admin.connect();
    await admin.query('set session_replication_role = replica');
    await admin.query(
      `insert into submission_items (item_id, record_id, tenant_id, subscription_id, marketplace, hour, gate, state, target_at, hard_at, next_attempt_at, created_at)
       values (gen_random_uuid(), gen_random_uuid(), $2, $1, 'azure', $3, '', 'pending', $3, $3, $3, $3)`,
      [id, tenant!.tenant_id, new Date('2030-05-02T10:00:00Z')],
    );
    const { broken } = await checkWholeSumLaw(f.db);
    expect(broken).toMatchObject([{ subscriptionId: id, missing: [expect.stringContaining('a submission item has no record')] }]);
    expect((await run({ kinds: ['sum_law'] })).steps[0]).toMatchObject({ differing: 1, opened: 1 });
    expect((await run({ kinds: ['sum_law'] })).steps[0]).toMatchObject({ differing: 1, opened: 0, closed: 0 });
    await admin.query('delete from submission_items where state = $1', ['pending']);
    await admin.end();
    expect((await run({ kinds: ['sum_law'] })).steps[0]).toMatchObject({ differing: 0, closed: 1 });
    expect(await open()).toEqual([]);
  });
});
