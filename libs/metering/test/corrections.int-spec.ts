import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { findStrays } from '../src/index.js';
import { at, EGRESS, GIB, Harness, MIB, PROVISIONED, sampleEvent, STORED, watermarkEvent } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
let plan: string;
const START = at('10T10:00');
/** Not a whole number of units, so that a remainder is carried. */
const VALUE = 4n * GIB + 7n;

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  plan = await h.fixtures.plan([STORED, EGRESS, PROVISIONED]);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

describe('what comes late', () => {
  it('carries late samples into a later hour of the segment, and a late cut corrects what was closed', async () => {
    h.clock.set(at('12T10:00'));
    const p = await h.buy(plan, at('12T10:00'));
    h.clock.set(at('12T11:00'));
    await h.report([p.placementId], at('12T10:00'), at('12T10:30'), VALUE);
    await h.report([p.placementId], at('12T11:00'), at('12T11:00'), VALUE);
    await h.metering.closeDueHours(); // a hole from 10:30 on: 30 + 15 minutes
    expect(
      await h.rows(`select quantity::text, quality from usage_records where subscription_id = $1 and meter = 'gib_hours_stored'`, [
        p.subscriptionId,
      ]),
    ).toEqual([{ quantity: '3', quality: 'estimated' }]);
    h.clock.set(at('12T12:00'));
    await h.report([p.placementId], at('12T10:35'), at('12T10:55'), VALUE);
    await h.report([p.placementId], at('12T11:05'), at('12T12:00'), VALUE);
    await h.metering.closeDueHours();
    expect(
      (
        await h.rows<{ quantity: string }>(
          `select quantity::text from usage_records where subscription_id = $1 and meter = 'gib_hours_stored' order by hour`,
          [p.subscriptionId],
        )
      ).map((r) => r.quantity),
    ).toEqual(['3', '5']);
    expect(
      await h.rows(`select kind, consumed_by_hour is not null as used from carry_ins where subscription_id = $1`, [p.subscriptionId]),
    ).toEqual([{ kind: 'late', used: true }]);

    // The end at 11:30 is told at 12:05: half an hour too much was recorded.
    await h.fixtures.end(p, at('12T11:30'));
    h.clock.set(at('12T12:05'));
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    const over = await h.rows<{ quantity: string }>(
      `select sum(quantity)::text as quantity from ledger_entries where subscription_id = $1 and term = 'over_reported'`,
      [p.subscriptionId],
    );
    expect(over).toEqual([{ quantity: (VALUE * 1_800_000_000n).toString() }]);
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: [p.subscriptionId] }));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
    expect(law.ok).toBe(true);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, p.subscriptionId))).toBe(true);
  });
});

describe('a last sample that comes after its series was completed', () => {
  const terms = (subscriptionId: string): Promise<{ term: string; cause: string; hour: string; q: string }[]> =>
    h.rows(
      `select term, cause, to_char(hour at time zone 'UTC', 'HH24:MI') as hour, quantity::text as q from ledger_entries
        where subscription_id = $1 and meter = 'mib_egress' and ref like 'late-%' order by term, cause, segment_id nulls last`,
      [subscriptionId],
    );
  const tenths = (n: bigint): string => ((5n * MIB * n) / 10n).toString();

  it.each([
    // A counter grows by 5 MiB from 10:55 to the last sample; so many tenths of that time lie before the end.
    { day: '14', what: 'in the hour after the one that held the end', end: '10:58', told: '11:00', last: '11:00', before: 6n },
    { day: '15', what: 'on the edge of the hour at which it ended', end: '11:00', told: '11:00', last: '11:00', before: 10n },
    { day: '16', what: 'where the end was told when later hours were closed', end: '10:58', told: '12:30', last: '11:05', before: 3n },
  ])('is counted: $what', async ({ day, end, told, last, before }) => {
    const t = (time: string): Date => at(`${day}T${time}`);
    h.clock.set(t('10:00'));
    const p = await h.buy(plan, t('10:00'));
    h.clock.set(t(told));
    await h.report([p.placementId], t('10:00'), t('10:55'), GIB, 5n * MIB);
    await h.metering.ingest(h.cell, [watermarkEvent(h.source, t(told))]);
    if (told === '12:30') await h.metering.closeDueHours();
    await h.fixtures.end(p, t(end));
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect(await h.rows('select 1 from series where subscription_id = $1 and completed_at is null', [p.subscriptionId])).toEqual([]);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, p.subscriptionId))).toBe(true);

    const { results } = await h.metering.ingest(h.cell, [
      sampleEvent(h.source, p.placementId, t(last), 60n * MIB, { kind: 'counter' }),
      // Beyond the grace after the end: nobody's, and nothing to look at.
      sampleEvent(h.source, p.placementId, new Date(t(end).getTime() + 900_001), 90n * MIB, { kind: 'counter' }),
    ]);
    expect(results.map((r) => r.outcome)).toEqual(['accepted', told === '12:30' ? 'accepted' : 'rejected']);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, p.subscriptionId))).toBe(false);
    await h.metering.closeDueHours();
    const after = 10n - before;
    expect(await terms(p.subscriptionId)).toEqual([
      { term: 'adjustment', cause: 'late', hour: '10:00', q: tenths(before) },
      ...(after > 0n ? [{ term: 'adjustment', cause: 'late', hour: '10:00', q: tenths(after) }] : []),
      { term: 'loss', cause: 'missed_window', hour: '10:00', q: tenths(before) },
      ...(after > 0n ? [{ term: 'non_billable', cause: 'outside_segment', hour: '10:00', q: tenths(after) }] : []),
    ]);
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: [p.subscriptionId] }));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
    expect(law.ok).toBe(true);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, p.subscriptionId))).toBe(true);
  });
});

describe('what is frozen', () => {
  it('cannot be changed or deleted, not even by the owner', async () => {
    const owner = new pg.Client({ connectionString: database.url('owner') });
    const admin = new pg.Client({ connectionString: database.url() });
    await owner.connect();
    await admin.connect();
    try {
      for (const sql of [
        'update usage_records set base_quantity = 0',
        'delete from usage_records',
        `update submission_items set wire = '{}'`,
        'delete from submission_items',
        `update submission_attempts set outcome = 'accepted2'`,
        'update ledger_entries set quantity = 1',
        'delete from ledger_entries',
        'delete from hour_closings',
        'update carry_ins set amount = 1',
        'delete from carry_ins',
        `update findings set units = 5`,
        'delete from hour_roots',
      ])
        await expect(admin.query(sql), sql).rejects.toThrow(/immutable|set once|never deleted/);
      for (const sql of [
        'update usage_records set base_quantity = 0',
        'delete from submission_items',
        'update ledger_entries set quantity = 1',
        'update hour_closings set inputs = 0',
      ]) {
        await expect(
          h.db.ops((tx) => tx.query(sql)),
          sql,
        ).rejects.toThrow(/permission denied/);
      }
    } finally {
      await owner.end();
      await admin.end();
    }
  });
});

describe('the sum law', () => {
  it('turns red when any one row of any kind is missing', async () => {
    const admin = new pg.Client({ connectionString: database.url() });
    await admin.connect();
    const ids = (await h.rows<{ id: string }>('select distinct subscription_id as id from series')).map((r) => r.id);
    // Of the house at once, and as a run looks: purchase by purchase, with what no purchase leads to beside it.
    const law = async (): Promise<boolean> => {
      const whole = (await h.db.ops((tx) => h.metering.checkSumLaw(tx))).ok;
      const pieces = (await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: ids, strays: false }))).ok;
      expect(pieces && (await h.db.ops((tx) => findStrays(tx, {}))).length === 0).toBe(whole);
      return whole;
    };
    expect(await law()).toBe(true);
    const rows: [string, string][] = [
      ['usage_records', 'true'],
      ['submission_items', `state = 'accepted'`],
      ['submission_attempts', `outcome = 'accepted'`],
      ['hour_closings', 'true'],
      ['hour_roots', 'true'],
      ['carry_ins', 'true'],
      ['series', 'next_hour > first_hour'],
      ...['measured', 'estimated', 'adjustment', 'pending', 'accepted', 'over_reported', 'deferred', 'loss', 'remainder'].map(
        (t): [string, string] => ['ledger_entries', `term = '${t}' and quantity <> 0`],
      ),
    ];
    try {
      // Triggers and foreign keys off: the check itself must see it.
      await admin.query('set session_replication_role = replica');
      for (const [table, where] of rows) {
        const { rows: all } = await admin.query(`select ctid from ${table} where ${where}`);
        expect(all.length, `${table} where ${where}`).toBeGreaterThan(0);
        for (const row of new Set([all[0], all[Math.floor(all.length / 2)], all.at(-1)] as { ctid: string }[])) {
          await admin.query(`create temp table kept as select * from ${table} where ctid = $1`, [row.ctid]);
          expect((await admin.query(`delete from ${table} where ctid = $1`, [row.ctid])).rowCount).toBe(1);
          expect(await law(), `${table} where ${where}`).toBe(false);
          await admin.query(`insert into ${table} select * from kept`);
          await admin.query('drop table kept');
        }
      }
      expect(await law()).toBe(true);
      const [item] = await h.rows<{ item_id: string; record_id: string }>('select item_id, record_id from submission_items limit 1');
      await admin.query('update submission_items set record_id = gen_random_uuid() where item_id = $1', [item!.item_id]);
      expect(await h.db.ops((tx) => findStrays(tx, {}))).toMatchObject([
        { missing: [`a submission item has no record: ${item!.item_id}`] },
      ]);
      await admin.query('update submission_items set record_id = $2 where item_id = $1', [item!.item_id, item!.record_id]);
      expect(await law()).toBe(true);
      await admin.query(
        `update submission_attempts set outcome = null, receipt = null where attempt_id = (select attempt_id from submission_attempts where outcome = 'accepted' limit 1)`,
      );
      expect(await law()).toBe(false);
    } finally {
      await admin.end();
    }
  });
});
