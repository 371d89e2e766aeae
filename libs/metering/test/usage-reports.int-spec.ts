import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { agreeingLineFindings, getReconciliation, listUsageReports, readUsageReport, type UsageReportImport } from '../src/index.js';
import { at, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
let database: TestDatabase;
let h: Harness;
let p: Purchase;
/** Two hours of three units, and one more on the next day, all accepted. */
beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  p = await h.buy(await h.fixtures.plan([STORED]), START);
  for (const [from, to] of [
    [START, at('10T12:00')],
    [at('10T12:05'), at('11T01:00')],
  ] as const) {
    h.clock.set(to);
    await h.report([p.placementId], from, to, from === START ? 3n * GIB : 0n);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
  }
  h.clock.set(at('20T00:00'));
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

const file = (...rows: string[]): string => ['\ufeffUsageDate;AssetId;MeterDimension;MeteredUsage;CustomerName', ...rows].join('\r\n');
const row = (day: string, quantity: string, name = p.externalSubscriptionId): string => `${day};${name};stored;${quantity};"Tide; archive"`;
const load = (csv: string, over: Partial<UsageReportImport> = {}): ReturnType<Harness['metering']['importUsageReport']> =>
  h.db.ops((tx) => h.metering.importUsageReport(tx, { marketplace: 'azure', csv, by: 'ada-1', ...over }));
const compare = async (from = '01T00:00', to = '30T00:00'): Promise<{ lines: unknown[]; findings: unknown[]; id: string }> => {
  const id = await h.db.ops(async (tx) => {
    const job = await h.metering.requestReconciliation(tx, { marketplace: 'azure', from: at(from), to: at(to), requestedBy: 'ada' });
    await h.metering.compareUsageReports(tx, job);
    return job;
  });
  const done = await h.db.ops((tx) => getReconciliation(tx, id));
  const findings = await h.rows<{ kind: string }>(
    `select kind, units::float as units, subscription_id is not null as ours from findings where evidence ->> 'reconciliationId' = $1 order by kind`,
    [id],
  );
  return {
    id,
    findings,
    lines: done!.lines!.map((l) => [l.period_start.toISOString().slice(8, 10), Number(l.ours), Number(l.theirs), l.verdict]),
  };
};
const accepted = async (day: string): Promise<number> =>
  (
    await h.rows<{ q: number }>(
      `select coalesce(sum(r.quantity), 0)::float as q from submission_items i join usage_records r using (record_id) where i.state = 'accepted' and i.hour >= $1 and i.hour < $1::timestamptz + interval '1 day'`,
      [at(`${day}T00:00`)],
    )
  )[0]!.q;

describe('usage reports that finance downloads', () => {
  it('are shown as they would be understood, with what is wrong by line, and nothing is stored', async () => {
    const read = readUsageReport({
      marketplace: 'azure',
      csv: file(row('2026-03-10', '1,5'), row('soon', 'many'), ';;;12,0;', row('2026-03-11', '2,25')),
    });
    expect(read).toMatchObject({ delimiter: ';', grain: 'day', namedBy: 'purchase', decimal: 'comma', skipped: 1, zone: 'UTC' });
    expect(read.mapping).toEqual({ day: 'UsageDate', purchase: 'AssetId', dimension: 'MeterDimension', quantity: 'MeteredUsage' });
    expect(read.lines.map((l) => [l.line, l.quantity])).toEqual([
      [2, '1.5'],
      [5, '2.25'],
    ]);
    expect(read.problems.map((x) => [x.line, x.field])).toEqual([
      [3, 'UsageDate'],
      [3, 'MeteredUsage'],
    ]);
    const bare = readUsageReport({ marketplace: 'aws', csv: 'when,units\n2026-03-10,1' });
    expect(bare.problems.map((x) => x.field)).toEqual(['day', 'purchase', 'dimension', 'quantity']);
    const told = { day: 'when', quantity: 'units' };
    const constants = { agreement: 'agmt-1', dimension: 'stored' };
    expect(readUsageReport({ marketplace: 'aws', csv: 'when,units\n2026-03-10,1', mapping: told, constants }).problems).toEqual([]);
    await expect(load(file(row('2026-03-10', 'many')))).rejects.toMatchObject({ code: 'usage_report.faults' });
    expect(await h.rows('select 1 from usage_reports')).toEqual([]);
  });

  it('count only the last version of a line, and none that was taken away', () => {
    const csv = [
      'usage_feed_id,valid_from,delete_date,usage_date,agreement_id,dimension_key,usage_quantity',
      'f1,2026-03-11,,2026-03-10,agmt-1,stored,1',
      'f1,2026-03-12,,2026-03-10,agmt-1,stored,2',
      'f2,2026-03-11,,2026-03-10,agmt-1,stored,5',
      'f2,2026-03-12,2026-03-12,2026-03-10,agmt-1,stored,5',
    ].join('\n');
    const read = readUsageReport({ marketplace: 'aws', csv });
    expect([read.lines.map((l) => l.quantity), read.replaced, read.namedBy]).toEqual([['2'], 3, 'agreement']);
  });

  it('are stored once: the same file again changes nothing, and read another way it is refused until it is voided', async () => {
    const csv = file(row('2026-03-01', '0'));
    const first = await load(csv);
    expect([first.fresh, (await load(csv)).fresh]).toEqual([true, false]);
    await expect(load(csv, { roundedTo: 2 })).rejects.toMatchObject({ code: 'usage_report.conflict' });
    await expect(load(csv.replace('-01', '-02'), { from: '2026-03-03' })).rejects.toMatchObject({ code: 'usage_report.coverage' });
    const gone = { reportId: first.reportId, by: 'ada-1', reason: 'wrong month' };
    await h.db.ops((tx) => h.metering.voidUsageReport(tx, gone));
    await expect(h.db.ops((tx) => h.metering.voidUsageReport(tx, gone))).rejects.toMatchObject({ code: 'usage_report.voided' });
    await expect(h.db.ops((tx) => tx.query(`update usage_reports set lines = 7`))).rejects.toThrow();
    const again = await load(csv);
    expect(again.fresh).toBe(true);
    await h.db.ops((tx) => h.metering.voidUsageReport(tx, { ...gone, reportId: again.reportId }));
    expect((await h.db.ops((tx) => listUsageReports(tx, { limit: 1, after: null }))).nextCursor).not.toBeNull();
  });

  it('are compared by day at their own word: what is short is a finding, what cannot be in them yet is none', async () => {
    const tenth = await accepted('10');
    expect(tenth).toBe(6);
    const { reportId } = await load(file(row('2026-03-10', '5'), row('2026-03-10', '4', 'z stranger')), {
      to: '2026-03-12',
      asOf: at('11T06:00'),
    });
    const early = await compare();
    expect(early.lines).toEqual([
      ['10', 6, 5, 'not_yet_visible'],
      ['10', 0, 4, 'foreign'],
    ]);
    expect(early.findings).toEqual([]);
    await h.db.ops((tx) => h.metering.voidUsageReport(tx, { reportId, by: 'ada-1', reason: 'too early' }));
    await load(file(row('2026-03-10', '5'), row('2026-03-10', '4', 'z stranger')), { to: '2026-03-12', asOf: at('19T00:00') });
    const late = await compare();
    expect(late.findings).toEqual([{ kind: 'drift.quantity', units: 1, ours: true }]);
    // A later report has the last word on its days; the day it has right is no difference any more.
    await load(file(row('2026-03-10', '6')), { asOf: at('19T12:00') });
    expect((await compare()).lines).toEqual([['10', 6, 6, 'equal']]);
    expect((await compare('11T00:00', '12T00:00')).lines, 'the span’s days only').toEqual([]);
  });

  it('of a month are compared by the month, and a report that rounds may be off by what it rounds', async () => {
    const monthly = `Month,Asset ID,Meter dimension,Metered usage\n2026-03,${p.externalSubscriptionId},stored,6.4\n`;
    h.clock.set(at('31T00:00'));
    const first = await load(monthly, { asOf: at('31T00:00') });
    const lines = async (): Promise<unknown[]> => (await compare()).lines.filter((l) => (l as unknown[])[0] === '01');
    expect(await lines()).toEqual([['01', 6, 6.4, 'quantity']]);
    // That the month's first day agrees says nothing of the month.
    const daily = await load(file(row('2026-03-01', '0')), { asOf: at('30T00:00') });
    const { id, lines: both } = await compare();
    expect(both).toContainEqual(['01', 0, 0, 'equal']);
    const [ofMonth] = await h.rows<{ finding_id: string }>(
      `select finding_id from findings where evidence ->> 'source' = 'usage_report.month' and kind = 'drift.quantity' and settlement is null`,
    );
    expect(await h.db.ops((tx) => agreeingLineFindings(tx, id))).not.toContain(ofMonth!.finding_id);
    await h.db.ops((tx) => h.metering.voidUsageReport(tx, { reportId: daily.reportId, by: 'ada-1', reason: 'enough' }));
    await h.db.ops((tx) => h.metering.voidUsageReport(tx, { reportId: first.reportId, by: 'ada-1', reason: 'it rounds' }));
    await load(monthly, { asOf: at('31T00:00'), roundedTo: 0 });
    expect(await lines()).toEqual([['01', 6, 6.4, 'equal']]);
  });
});
