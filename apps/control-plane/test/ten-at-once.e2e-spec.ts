import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { House, until, type Answer } from './support/house.js';

const TEN = 10;
const WHY = { reason: 'Ten of us were asked' };
const DETAILS = { organisation: 'Ten', region: 'local', contactName: 'Ada Winter', contactEmail: 'ada@winter.example' };
/** One of them had his way; the others are told why not by this code. */
const one = (status: number, code: string): Record<string, number> => ({ [status]: 1, [`409 ${code}`]: TEN - 1 });
const all = (status: number): Record<string, number> => ({ [status]: TEN });

const house = new House();
let externalId: string;
let sub: string;
let placement: Record<string, unknown>;
let cluster: string;
beforeAll(() => house.start(), 120_000);
afterAll(() => house.stop(), 30_000);

/** How many got which answer. */
const tally = (answers: readonly Answer[]): Record<string, number> => {
  const said: Record<string, number> = {};
  for (const { status, json } of answers) {
    const key = status < 400 ? String(status) : `${status} ${String(json['code'])}`;
    said[key] = (said[key] ?? 0) + 1;
  }
  return said;
};
/** Ten ask the same at the same moment. */
const ten = (ask: (n: number) => Promise<Answer>): Promise<Answer[]> => Promise.all(Array.from({ length: TEN }, (_, n) => ask(n)));
const post = (path: string, body?: unknown): Promise<Answer[]> => ten(() => house.api('POST', path, body));
/** As `post`, and how often the audit trail tells of it. */
async function asked(path: string, body: unknown, action: string): Promise<{ said: Record<string, number>; audited: number }> {
  const count = async (): Promise<number> =>
    Number((await house.sql('select count(*)::int as n from audit_events where action = $1', [action]))[0]!['n']);
  const before = await count();
  const said = tally(await post(path, body));
  return { said, audited: (await count()) - before };
}
const ids = (answers: readonly Answer[], name = 'id'): number => new Set(answers.map((a) => a.json[name])).size;

describe('what ten people ask at the same moment', () => {
  it('on a landing page is one tenant and one placement', async () => {
    const bought = await house.buy('Ten at once');
    externalId = bought.externalId;
    expect(tally(await ten(() => house.call('GET', bought.landingUrl)))).toEqual(all(303));
    const details = `${house.controlPlane.url}/landing/api/sessions/${bought.sessionId}/details`;
    expect(tally(await ten(() => house.call('POST', details, DETAILS)))).toEqual(one(202, 'landing.already_completed'));
    await until(
      () => house.session(bought.sessionId),
      (a) => a.json['state'] === 'ready',
    );
    const [tenants, subscriptions, placements] = await Promise.all(['tenants', 'subscriptions', 'placements'].map((l) => house.list(l)));
    expect([tenants!.length, subscriptions!.length, placements!.length]).toEqual([1, 1, 1]);
    sub = `/subscriptions/${String(subscriptions![0]!['id'])}`;
    placement = placements![0]!;
    cluster = `/clusters/${String(placement['clusterId'])}`;
  }, 60_000);

  it('of clusters and placements is done once, and told once', async () => {
    const runs = `/placements/${String(placement['id'])}/conformance-runs`;
    expect(tally(await post(runs, {}))).toEqual(one(202, 'conformance.under_way'));
    // A cluster that is built over while its endpoint is judged may fail, and then sells no other plan.
    await until(
      () => house.api('GET', runs),
      (a) => a.json.items!.every((r) => r['state'] === 'done'),
      30_000,
    );
    expect(await asked(`${sub}/build-limits`, { maxNodes: 3, ...WHY }, 'build_limits.overridden')).toEqual({
      said: all(200),
      audited: TEN,
    });
    expect(await asked(`${sub}/build-limits/remove`, WHY, 'build_limits.restored')).toEqual({ said: one(200, 'limits.none'), audited: 1 });
    // Each booking takes the place of the one before it.
    const booking = { version: '3.35.0-2', notBefore: '2098-01-01T00:00:00Z', ...WHY };
    expect(tally(await post(`${cluster}/upgrade`, booking))).toEqual(all(202));
    const booked = (await house.list('operations')).filter((o) => o['kind'] === 'upgrade_cluster' && o['state'] === 'running');
    expect(booked).toHaveLength(1);
    expect(tally(await post(`/operations/${String(booked[0]!['id'])}/cancel`, WHY))).toEqual(one(202, 'operation.in_state'));
    const resizes = await post(`${cluster}/resize`, { shape: 'cell-large', ...WHY });
    expect([tally(resizes), ids(resizes, 'operationId')]).toEqual([all(202), 1]);
    const operation = `/operations/${String(resizes[0]!.json['operationId'])}`;
    await until(
      () => house.api('GET', operation),
      (a) => a.json['state'] === 'succeeded',
    );
    expect(tally(await post(`${cluster}/resize`, { shape: 'cell', ...WHY }))).toEqual(all(202));
    const { json } = await until(
      () => house.api('GET', cluster),
      (a) => a.json['phase'] === 'active' && a.json['shape'] === 'cell',
    );
    expect(tally(await post(`${cluster}/retire`, { confirm: json['name'], ...WHY }))).toEqual({ '409 cluster.not_empty': TEN });
  }, 60_000);

  it('of money is given once, and files are read once', async () => {
    await house.shop('POST', '/clock/advance', { seconds: 4_500, stepSeconds: 1_500 });
    const accepted = (r: Record<string, unknown>): boolean => r['meter'] === 'gib_hours_provisioned' && r['submissionState'] === 'accepted';
    const records = await until(
      () => house.list('usage-records'),
      (items) => items.some(accepted),
      60_000,
    );
    const record = records.find(accepted)!;
    const wish = { recordId: record['id'], units: record['quantity'], reason: 'a test run of ours' };
    const credits = await post('/credits', wish);
    expect(tally(credits)).toEqual(one(201, 'credit.more_than_accepted'));
    const credit = String(credits.find((a) => a.status === 201)!.json['id']);
    const ends = await ten((n) =>
      house.api('POST', `/credits/${credit}/outcome`, {
        state: 'completed',
        reference: `claim ${n}`,
        amount: `0.0${n + 1}`,
        currency: 'USD',
      }),
    );
    expect(tally(ends)).toEqual(one(200, 'credit.ended'));

    const month = String(record['hour']).slice(0, 7);
    const file = {
      marketplace: 'azure',
      csv: `Payment,Asset,Month,Charged\nP-1,${externalId},${month},4.20\n`,
      mapping: { reference: 'Payment', purchase: 'Asset', month: 'Month', gross: 'Charged' },
      constants: { currency: 'USD' },
      dryRun: false,
    };
    const outcomes = (await post('/remittances/imports', file)).map((a) => (a.json['remittances'] as { outcome: string }[])[0]!.outcome);
    expect(outcomes.sort()).toEqual([...Array<string>(TEN - 1).fill('duplicate'), 'new']);
    const [remittance, ...more] = await house.list('remittances');
    expect(more).toEqual([]);
    const path = `/remittances/${String(remittance!['id'])}`;
    const allocated = await ten(() =>
      house.api('PUT', `${path}/allocations`, { reason: 'as invoiced', allocations: [{ month, externalId, amount: '4' }] }),
    );
    expect(allocated.map((a) => (a.json['allocated'] as { version: number }).version).sort((a, b) => a - b)).toEqual(
      Array.from({ length: TEN }, (_, n) => n + 2),
    );
    expect((await house.api('GET', path)).json).toMatchObject({ unallocated: '0.2' });
    expect(tally(await post(`${path}/void`, WHY))).toEqual(one(200, 'remittance.voided'));

    const report = { marketplace: 'azure', csv: 'UsageDate,AssetId,MeterDimension,MeteredUsage\n2026-03-10,somebody-else,stored,3\n' };
    const reports = await post('/usage-reports', report);
    expect([tally(reports), ids(reports), (await house.list('usage-reports')).length]).toEqual([all(201), 1, 1]);
    expect(tally(await post(`/usage-reports/${String(reports[0]!.json['id'])}/void`, WHY))).toEqual(one(200, 'usage_report.voided'));
  }, 90_000);

  it('of a comparison is never made twice side by side, and no request waits for another one’s connection', async () => {
    // Requests that hold their connection and wait for a second one would wait for each other until they are refused.
    expect(tally(await post('/marketplaces/azure/drift-runs'))).toEqual(all(202));
    await until(
      () => house.list('reconciliations'),
      (runs) => runs.every((r) => r['state'] === 'done' || r['state'] === 'failed'),
    );
    const span = { kinds: ['placements'], from: '2026-03-01T00:00:00Z', to: '2026-03-02T00:00:00Z' };
    // The day's own run may go on just now.
    const answers = await until(
      () => post('/reconciliations', span),
      (all) => all.some((a) => a.status === 202),
    );
    // One is over in no time, so another may be begun after it; never beside it.
    const { 202: begun = 0, '409 reconciliation.under_way': refused = 0 } = tally(answers);
    expect(begun + refused).toBe(TEN);
    const runs = await until(
      async () => (await house.list('reconciliations')).filter((r) => String(r['from']).startsWith('2026-03-01')),
      (some) => some.length === begun && some.every((r) => r['state'] === 'done'),
    );
    const [times] = await house.sql(
      `select count(*)::int as beside from reconciliation_steps a join reconciliation_steps b on a.run_id < b.run_id and a.kind = b.kind
        where a.kind = 'placements' and b.started_at < a.finished_at and a.started_at < b.finished_at`,
    );
    expect([runs.length, times!['beside']]).toEqual([begun, 0]);
  }, 60_000);

  it('of a finding and of keys is decided once', async () => {
    const keys = await ten((n) => house.api('POST', '/operator-keys', { name: `Person ${n}` }));
    expect(ids(keys)).toBe(TEN);
    const path = `/findings/${String((await house.clockAhead())['id'])}/settlement`;
    expect(tally(await post(path, { settlement: 'write_off', reason: 'too small to follow' }))).toEqual(all(200));
    const [own, second] = [String(keys[0]!.json['id']), String(keys[1]!.json['key'])];
    const confirmed = await ten(() => house.api('POST', `${path}/confirmation`, undefined, second));
    expect(tally(confirmed)).toEqual(one(200, 'finding.already_settled'));
    expect(tally(await ten(() => house.api('DELETE', `/operator-keys/${own}`)))).toEqual(all(204));
    expect((await house.sql(`select 1 from audit_events where action = 'operator_key.revoked'`)).length).toBe(1);
  }, 60_000);

  it('of a purchase is asked of its marketplace once', async () => {
    const changes = `${sub}/changes`;
    const ended = (): Promise<Answer> =>
      until(
        async () => {
          await house.shop('POST', '/clock/advance', { seconds: 10, stepSeconds: 10 });
          return house.api('GET', changes);
        },
        (a) => a.json.items!.every((c) => !['requested', 'sent'].includes(String(c['state']))),
      );
    expect(tally(await post(changes, { kind: 'plan', toPlan: 'premium', buyerConsent: true, ...WHY }))).toEqual(
      one(202, 'change.under_way'),
    );
    expect((await ended()).json.items).toMatchObject([{ state: 'succeeded' }]);
    expect(tally(await post(changes, { kind: 'cancel', confirm: externalId, buyerConsent: true, ...WHY }))).toEqual(
      one(202, 'change.under_way'),
    );
    expect((await ended()).json.items).toHaveLength(2);
    await until(
      () => house.api('GET', `/placements/${String(placement['id'])}`),
      (a) => a.json['phase'] === 'ended',
    );
    const data = `/placements/${String(placement['id'])}/export`;
    expect(tally(await post(`${data}/access`, { hours: 24, ...WHY }))).toEqual(all(202));
    expect(tally(await post(`${data}/confirm`, WHY))).toEqual(one(200, 'placement.in_state'));
  }, 90_000);
});
