import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AwsFlows } from './support/aws-flows.js';
import { PruneClock } from '../src/workers/prune-clock.js';

const START = new Date('2026-03-10T10:00:00Z');
const DAY = 86_400_000;

describe('what is kept of the journal', () => {
  let f: AwsFlows;
  const [live, over] = [randomUUID(), randomUUID()];
  beforeAll(async () => {
    f = await AwsFlows.open(START);
    const purchase = (id: string, state: string): Promise<unknown> =>
      f.rows(
        `insert into subscriptions (subscription_id, marketplace, external_subscription_id, state, external_offer_id, external_plan_id, truth, created_at, updated_at)
         values ($1::uuid, 'aws', $1::text, $2, 'o', 'p', '{}', $3, $3) returning 1`,
        [id, state, START],
      );
    await purchase(live, 'active');
    await purchase(over, 'cancelled');
  });
  afterAll(() => f?.close());

  const at = (days: number): Date => new Date(START.getTime() + days * DAY);
  const message = (name: string, state: string, days: number, subscriptionId: string | null): Promise<unknown> =>
    f.rows(
      `insert into inbox (inbox_id, source, natural_key, received_at, content_type, headers, body, principal, state, subscription_id)
       values (gen_random_uuid(), 'a test', $1, $2, 'text/plain', '{}', '', 'x', $3, $4) returning 1`,
      [name, at(days), state, subscriptionId],
    );
  const call = (name: string, state: string, days: number): Promise<unknown> =>
    f.rows(
      `insert into calls (call_id, target, operation, subject, intent_at, intent, state, outcome_at) values (gen_random_uuid(), 'aws', $1, 'a test', $2::timestamptz, '{}', $3::text, case when $3::text <> 'intent' then $2::timestamptz end) returning 1`,
      [name, at(days), state],
    );
  const run = async (name: string, days: number, kind = 'sum_law', state = 'done'): Promise<{ runId: string; reference: string }> => {
    const [runId, reference] = [randomUUID(), randomUUID()];
    await f.rows(
      `insert into reconciliation_runs (run_id, kinds, from_at, to_at, requested_by, requested_via, state, created_at, touched_at, finished_at)
       values ($1, array[$2], $3, $4::timestamptz, $5, 'api', $6::text, $4::timestamptz, $4::timestamptz, case when $6::text in ('done', 'failed') then $4::timestamptz end) returning 1`,
      [runId, kind, at(days - 1), at(days), name, state],
    );
    await f.rows(
      `insert into reconciliations (reconciliation_id, marketplace, from_at, to_at, state, requested_by, created_at) values ($1, 'azure', $2, $3, 'completed', 'x', $3) returning 1`,
      [reference, at(days - 1), at(days)],
    );
    await f.rows(
      `insert into reconciliation_steps (run_id, step, kind, marketplace, state, reference, finished_at)
       values ($1, 1, $2, null, $3::text, $4, case when $3::text in ('done', 'failed') then $5::timestamptz end) returning 1`,
      [runId, kind, state, reference, at(days)],
    );
    return { runId, reference };
  };
  const names = async (sql: string): Promise<string[]> => (await f.rows<{ name: string }>(sql)).map((r) => r.name);

  it('goes when it is settled and old, and nothing else does', async () => {
    for (const days of [0, 300]) {
      await message(`read ${days}`, 'processed', days, null);
      await message(`ended ${days}`, 'processed', days, over);
      await message(`lives ${days}`, 'processed', days, live);
      await message(`parked ${days}`, 'parked', days, over);
      await message(`in work ${days}`, 'received', days, null);
      for (const state of ['ok', 'refused', 'unknown', 'intent']) await call(`${state} ${days}`, state, days);
    }
    await run('old', 0);
    const named = await run('named by a finding', 0);
    const lines = await run('of a line that is open', 0);
    await run('last success of its kind', 1, 'placements');
    await run('a failure after it', 2, 'placements', 'failed');
    await run('young', 300);
    await run('under way', 0, 'usage_report', 'running');
    for (const [kind, key, value] of [
      ['drift.quantity', 'runId', named.runId],
      ['drift.state', 'reconciliationId', lines.reference],
    ])
      await f.rows(
        `insert into findings (finding_id, dedupe_key, kind, evidence, raised_at) values (gen_random_uuid(), $1::text, $1::text, jsonb_build_object($2::text, $3::text), $4) returning 1`,
        [kind, key, value, START],
      );
    const prune = new PruneClock(f.p);
    f.clock.set(at(399));
    expect(await prune.tick()).toBe(0);
    f.clock.set(at(410));
    // Two calls, two messages, the old run and the failed one.
    expect(await prune.tick()).toBe(6);
    expect(await names(`select natural_key as name from inbox where source = 'a test' order by 1`)).toEqual(
      ['ended 300', 'in work 0', 'in work 300', 'lives 0', 'lives 300', 'parked 0', 'parked 300', 'read 300'].sort(),
    );
    expect(await names(`select operation as name from calls where subject = 'a test' order by 1`)).toEqual(
      ['intent 0', 'intent 300', 'ok 300', 'refused 300', 'unknown 0', 'unknown 300'].sort(),
    );
    expect(await names('select requested_by as name from reconciliation_runs order by 1')).toEqual(
      ['last success of its kind', 'named by a finding', 'of a line that is open', 'under way', 'young'].sort(),
    );
    expect(
      await names(
        'select r.reconciliation_id::text as name from reconciliations r left join reconciliation_steps s on s.reference = r.reconciliation_id where s.run_id is null',
      ),
    ).toEqual([]);
  });

  it('forgets old comparisons with a list, and keeps those by which somebody still tells something', async () => {
    const drift = async (name: string, days: number, state = 'completed'): Promise<string> => {
      const id = randomUUID();
      await f.rows(
        `insert into drift_runs (drift_run_id, marketplace, requested_by, state, created_at, completed_at) values ($1, 'azure', $2, $3::text, $4::timestamptz, case when $3::text not in ('requested', 'rereading') then $4::timestamptz end) returning 1`,
        [id, name, state, at(days)],
      );
      await f.rows(
        `insert into drift_lines (drift_run_id, external_subscription_id, verdict, differences, note, judged_at) values ($1, 'x', 'foreign', '{}', '', $2) returning 1`,
        [id, at(days)],
      );
      return id;
    };
    await drift('old', 0);
    await drift('failed long ago', 0, 'failed');
    const named = await drift('named by a finding', 0);
    const step = await drift('of a run that is kept', 0);
    await drift('last that completed', 1);
    await drift('a failure after it', 2, 'failed');
    await drift('last of all', 3, 'failed');
    await f.rows(
      `insert into findings (finding_id, dedupe_key, kind, evidence, raised_at) values (gen_random_uuid(), 'drift run', 'drift.missing_there', jsonb_build_object('driftRunId', $1::text), $2) returning 1`,
      [named, START],
    );
    await f.rows(
      `update reconciliation_steps s set reference = $1 from reconciliation_runs r where r.run_id = s.run_id and r.requested_by = 'young' returning 1`,
      [step],
    );
    f.clock.set(at(411));
    expect(await new PruneClock(f.p).tick()).toBe(3);
    expect(await names('select requested_by as name from drift_runs order by 1')).toEqual(
      ['named by a finding', 'of a run that is kept', 'last that completed', 'last of all'].sort(),
    );
    expect(await f.rows('select 1 from drift_lines')).toHaveLength(4);
  });

  it('forgets old runs against endpoints, and keeps of each placement what a gate and a person ask for', async () => {
    const [one, other] = [randomUUID(), randomUUID()];
    const proof = (name: string, placementId: string, days: number, result: string | null, version = '1'): Promise<unknown> =>
      f.rows(
        `insert into conformance_runs (run_id, placement_id, cluster_id, endpoint, driver, region, suite, suite_version, state, result, requested_by, created_at, finished_at)
         values (gen_random_uuid(), $1, gen_random_uuid(), 'http://e', 'local', 'here', 'azcopy', $2, case when $3::text is null then 'failed' else 'done' end, $3::text, $4, $5::timestamptz, $5::timestamptz) returning 1`,
        [placementId, version, result, name, at(days)],
      );
    await proof('passed long ago', one, 0, 'pass');
    await proof('passed last', one, 1, 'pass');
    await proof('failed before', one, 2, 'fail');
    await proof('has the newest result', one, 3, 'fail');
    await proof('could not be carried out', one, 4, null);
    await proof('is the newest', one, 5, null);
    await proof('of an older suite', one, 0, 'pass', '0');
    await proof('of another placement', other, 0, 'pass');
    await proof('young', other, 300, 'pass');
    await f.rows(
      `insert into conformance_runs (run_id, placement_id, cluster_id, endpoint, driver, region, suite, suite_version, state, requested_by, created_at)
       values (gen_random_uuid(), $1, gen_random_uuid(), 'http://e', 'local', 'here', 'azcopy', '1', 'queued', 'waits', $2) returning 1`,
      [other, at(0)],
    );
    f.clock.set(at(390));
    expect(await new PruneClock(f.p).tick()).toBe(0);
    f.clock.set(at(412));
    await new PruneClock(f.p).tick();
    expect(await names('select requested_by as name from conformance_runs order by 1')).toEqual(
      ['has the newest result', 'is the newest', 'of an older suite', 'passed last', 'waits', 'young'].sort(),
    );
  });

  it('is as long as it is set', async () => {
    await message('at 380', 'processed', 380, null);
    const strict = new PruneClock(f.p, 62);
    f.clock.set(at(441));
    await strict.tick();
    expect(await names(`select natural_key as name from inbox where natural_key = 'at 380'`)).toHaveLength(1);
    f.clock.set(at(443));
    await strict.tick();
    expect(await names(`select natural_key as name from inbox where natural_key = 'at 380'`)).toEqual([]);
  });

  it('is refused by the database where it is not settled, whoever asks', async () => {
    expect(await f.rows(`delete from inbox where source = 'a test' and state <> 'processed' returning 1`)).toEqual([]);
    expect(await f.rows(`delete from calls where state in ('unknown', 'intent') returning 1`)).toEqual([]);
  });
});
