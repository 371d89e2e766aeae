import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { getReconciliation, listFindings, listSubmissions, listUsageRecords, sumLawTable } from './index.js';
import { at, EGRESS, GIB, Harness, MIB, PROVISIONED, sampleEvent, STORED, watermarkEvent } from './testing/index.js';

let database: TestDatabase;
let h: Harness;
let plan: string;
const START = at('10T10:00');

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
  plan = await h.fixtures.plan([STORED, EGRESS, PROVISIONED]);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

const outcomes = async (principal: Parameters<Harness['metering']['ingest']>[0], events: unknown[]): Promise<string[]> =>
  (await h.metering.ingest(principal, events)).results.map((r) => (r.code ? `${r.outcome} ${r.code}` : r.outcome));

describe('intake', () => {
  it('answers each event, keeps what it refuses, and burns no id of a refused one', async () => {
    h.clock.set(START);
    const p = await h.buy(plan, START);
    const other = await h.fixtures.purchase({ planVersionId: plan, startsAt: START });
    await h.db.ops((tx) => h.metering.bindPlacement(tx, { placementId: other.placementId, tenantId: other.tenantId, subscriptionId: other.subscriptionId, source: '/cells/elsewhere', from: START }));
    const good = sampleEvent(h.source, p.placementId, START, GIB, { id: 'same' });
    const results = await outcomes(h.cell, [
      { ...good, data: { ...(good['data'] as object), value: '-5' } }, good, good, { ...good, data: { ...(good['data'] as object), value: '7' } },
      sampleEvent(h.source, p.placementId, START, 2n ** 61n), sampleEvent(h.source, other.placementId, START, 1n), sampleEvent(h.source, randomUUID(), START, 1n), sampleEvent('/cells/elsewhere', other.placementId, START, 1n),
      sampleEvent(h.source, p.placementId, at('10T10:06'), 1n), sampleEvent(h.source, p.placementId, new Date(START.getTime() - 36 * 86_400_000), 1n), { ...good, id: '' }, { ...good, id: 'a\u0000b' }, null, 'x', { ...good, specversion: '0.3' },
      { ...good, time: '2026-02-31T00:00:00Z' }, sampleEvent(h.source, p.placementId, START, '1.5'), { ...good, subject: "x' or 1=1" },
    ]);
    expect(results).toEqual([
      'rejected usage.negative_quantity', 'accepted', 'duplicate', 'conflict usage.duplicate_id', 'rejected usage.absurd_quantity', 'rejected usage.foreign_placement', 'rejected usage.unknown_placement', 'rejected usage.foreign_source',
      'rejected usage.time_in_future', 'rejected usage.too_old', ...Array<string>(8).fill('rejected usage.invalid_event'),
    ]);
    expect(await outcomes(h.cell, [good])).toEqual(['duplicate']);
    expect(await outcomes(h.cell, [{ ...good, source: '/cells/other' }])).toEqual(['rejected usage.foreign_source']);
    expect(await outcomes({ kind: 'operator', keyId: 'o' }, [sampleEvent('/imports/x', p.placementId, START, 1n)])).toEqual(['rejected usage.foreign_source']);
    expect(await outcomes({ kind: 'tenant', keyId: 't', tenantId: p.tenantId }, [sampleEvent(`/tenants/${p.tenantId}`, other.placementId, START, 1n)])).toEqual(['rejected usage.foreign_placement']);
    expect(await h.rows(`select distinct code from rejected_events where event_id = 'same' order by code`)).toEqual(['usage.duplicate_id', 'usage.foreign_source', 'usage.invalid_event', 'usage.negative_quantity'].map((code) => ({ code })));
    expect((await h.rows<{ n: string }>('select count(*) as n from usage_events where placement_id = $1', [p.placementId]))[0]!.n).toBe('1');
    expect(await h.rows(`select kind from findings where kind in ('clock_skew', 'loss.event_too_old') order by kind`)).toEqual([{ kind: 'clock_skew' }, { kind: 'loss.event_too_old' }]);
  });

  it('takes the same batch from many at once exactly once', async () => {
    const p = await h.buy(plan, START);
    const events = Array.from({ length: 20 }, (_, i) => sampleEvent(h.source, p.placementId, new Date(START.getTime() + i * 1_000), BigInt(i)));
    const all = await Promise.all(Array.from({ length: 6 }, (_, i) => outcomes(h.cell, i % 2 ? [...events].reverse() : events)));
    expect(all.flat().filter((o) => o === 'accepted')).toHaveLength(20);
    expect(all.flat().filter((o) => o === 'duplicate')).toHaveLength(100);
    expect((await h.rows<{ n: string }>('select count(*) as n from usage_events where placement_id = $1', [p.placementId]))[0]!.n).toBe('20');
  });

  it('moves a watermark forward only, by sequence', async () => {
    const mark = watermarkEvent(h.source, at('10T10:01'));
    expect(await outcomes(h.cell, [mark])).toEqual(['accepted']);
    expect(await outcomes(h.cell, [mark])).toEqual(['duplicate']);
    expect(await outcomes(h.cell, [watermarkEvent(h.source, at('10T09:00'))])).toEqual(['accepted']);
    expect(await outcomes(h.cell, [watermarkEvent(h.source, at('10T12:00'))])).toEqual(['rejected usage.time_in_future']);
    expect(await h.rows('select watermark from usage_sources where source = $1', [h.source])).toEqual([{ watermark: at('10T10:01') }]);
  });
});

describe('isolation', () => {
  it('shows a tenant its own rows only, at SQL level, and gives it nothing to write', async () => {
    const tables = await h.rows<{ t: string }>(`select c.relname as t from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' where c.relkind in ('r', 'p') and not c.relispartition
      and c.relnamespace = 'public'::regnamespace and c.relname in ('usage_bindings','usage_events','usage_dedupe','series','late_arrivals','hour_closings','usage_records','carry_ins','ledger_entries','submission_items','submission_attempts','usage_settlements','findings')`);
    expect(tables).toHaveLength(13);
    const owners = await h.rows<{ tenant_id: string }>('select distinct tenant_id from usage_events');
    expect(owners.length).toBeGreaterThan(1);
    for (const o of owners) {
      const seen = await h.db.tenant(o.tenant_id, (tx) => tx.query<{ tenant_id: string }>('select distinct tenant_id from usage_events'));
      expect(seen).toEqual([{ tenant_id: o.tenant_id }]);
      await expect(h.db.tenant(o.tenant_id, (tx) => tx.query('delete from usage_events'))).rejects.toThrow(/permission denied/);
    }
    // Not even with the policy's help does a serving role reach a partition.
    const [partition] = await h.rows<{ relname: string }>(`select relname from pg_class where relispartition and relname like 'usage_events_%' and relkind = 'r' limit 1`);
    for (const role of ['ops', 'tenant', 'intake'] as const) await expect(h.db.source(role).query(`select 1 from ${partition!.relname}`)).rejects.toThrow(/permission denied/);
    await expect(h.db.intake([owners[0]!.tenant_id], (tx) => tx.query(
      `insert into usage_dedupe (principal, source, event_id, tenant_id, content_hash, received_at) values ('x', 'x', 'x', $1, '', now())`, [owners[1]!.tenant_id]))).rejects.toThrow(/row-level security/);
    await expect(h.db.intake([], (tx) => tx.query('select * from ledger_entries'))).rejects.toThrow(/permission denied/);
  });
});

describe('the way of an hour', () => {
  it('closes by watermark, once, with two workers racing; sends; settles the end; reconciles', async () => {
    h.clock.set(START);
    const a = await h.buy(plan, START);
    const b = await h.buy(plan, START);
    const c = await h.buy(plan, START);
    const ids = [a, b, c].map((p) => p.subscriptionId);
    for (const p of [a, b, c]) await h.db.ops((tx) => h.metering.recordEngineSample(tx, { subscriptionId: p.subscriptionId, tenantId: p.tenantId, placementId: p.placementId, metric: 'provisioned_bytes', at: START, value: 10n * GIB }));
    const placements = [a, b, c].map((p) => p.placementId);

    h.clock.set(at('10T11:00'));
    await h.report(placements, START, at('10T10:55'), 3n * GIB, 2n * MIB);
    await h.metering.closeDueHours();
    // The cells have not passed the end of the hour: only our own events are complete.
    expect((await h.rows<{ meter: string }>('select distinct meter from usage_records where subscription_id = any($1)', [ids])).map((r) => r.meter)).toEqual(['gib_hours_provisioned']);

    await h.report(placements, at('10T11:00'), at('10T11:00'), 3n * GIB, 2n * MIB, START);
    const second = h.another();
    await Promise.all([h.metering.closeDueHours(), second.closeDueHours(), h.another().closeDueHours()]);
    await h.metering.closeDueHours();
    const records = await h.rows<{ subscription_id: string; meter: string; quantity: string }>('select subscription_id, meter, quantity::text from usage_records where subscription_id = any($1) order by meter', [ids]);
    expect(records.filter((r) => r.subscription_id === a.subscriptionId).map((r) => [r.meter, r.quantity])).toEqual([['gib_hours_provisioned', '10'], ['gib_hours_stored', '3'], ['mib_egress', '22']]);
    expect(records).toHaveLength(9);

    await Promise.all([h.metering.submitDue(), second.submitDue()]);
    expect(h.market.billed(a.externalSubscriptionId).map((x) => [x.dimension, x.quantity]).sort()).toEqual([['egress', '22'], ['provisioned', '10'], ['stored', '3']]);
    expect((await h.rows('select 1 from submission_attempts a join submission_items i using (item_id) where subscription_id = any($1)', [ids]))).toHaveLength(9);

    // A changes plan inside the hour; B ends inside it.
    const platinum = await h.fixtures.plan([STORED, EGRESS, PROVISIONED], 'platinum');
    h.clock.set(at('10T11:40'));
    await h.report(placements, at('10T11:05'), at('10T11:40'), 3n * GIB, 2n * MIB, START);
    await h.fixtures.cut(a, at('10T11:20'), { planVersionId: platinum, externalPlanId: 'platinum' });
    h.market.patch(b.externalSubscriptionId, { state: 'ended' });
    await h.fixtures.end(b, at('10T11:40'));
    await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: b.placementId, until: at('10T11:40') }));
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, b.subscriptionId))).toBe(false);
    await h.metering.closeDueHours(); // B's final partial hour closes at once
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, b.subscriptionId))).toBe(false);
    await Promise.all([h.metering.submitDue(), second.submitDue()]);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, b.subscriptionId))).toBe(true);
    await h.metering.closeDueHours();
    expect(await h.rows(`select lane from tasks where handler = 'test.settled' and payload_ref ->> 'subscriptionId' = $1`, [b.subscriptionId])).toEqual([{ lane: `subscription:${b.subscriptionId}` }]);
    expect(h.market.billed(b.externalSubscriptionId).filter((x) => x.hour === at('10T11:00').toISOString()).map((x) => [x.dimension, x.quantity]).sort()).toEqual([['egress', '18'], ['provisioned', '6'], ['stored', '2']]);

    h.clock.set(at('10T13:00'));
    await h.report([a.placementId, c.placementId], at('10T11:45'), at('10T13:00'), 3n * GIB, 2n * MIB, START);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    const ofA = h.market.billed(a.externalSubscriptionId).filter((x) => x.dimension === 'stored').map((x) => [x.hour.slice(11, 13), x.externalPlanId, x.quantity]);
    expect(ofA).toEqual([['10', 'gold', '3'], ['11', 'gold', '1'], ['12', 'platinum', '5']]); // 2 deferred + 3

    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
    expect(law.series.filter((s) => s.difference !== 0n || s.missing.length > 0)).toEqual([]);
    expect(law.ok).toBe(true);
    const table = await h.db.ops((tx) => sumLawTable(tx, { subscriptionId: a.subscriptionId }));
    expect(table.map((r) => [r.meter, r.difference])).toEqual([['gib_hours_provisioned', '0'], ['gib_hours_stored', '0'], ['mib_egress', '0']]);

    const id = await h.db.ops((tx) => h.metering.requestReconciliation(tx, { marketplace: 'azure', from: at('10T00:00'), to: at('11T00:00'), requestedBy: 'operator:test' }));
    await h.metering.runReconciliation(id);
    const done = await h.db.ops((tx) => getReconciliation(tx, id));
    expect(done!.summary).toMatchObject({ readBack: true, balanced: true });
    expect(new Set(done!.lines!.map((l) => l.verdict))).toEqual(new Set(['equal']));

    // Lists page without gaps, and a tenant's list holds its own only.
    const pages: string[] = [];
    for (let after: string | null = null; ;) {
      const p = await h.db.ops((tx) => listUsageRecords(tx, { limit: 4, after }));
      pages.push(...p.items.map((r) => r.record_id));
      after = p.nextCursor;
      if (after === null) break;
    }
    expect(new Set(pages).size).toBe(pages.length);
    expect(pages.length).toBe(Number((await h.rows<{ n: string }>('select count(*) as n from usage_records'))[0]!.n));
    const own = await h.db.tenant(c.tenantId, (tx) => listSubmissions(tx, { limit: 100 }));
    expect(new Set(own.items.map((i) => i.subscription_id))).toEqual(new Set([c.subscriptionId]));
    expect(own.items[0]!.attempts[0]).toMatchObject({ outcome: 'accepted', number: 1 });
    expect((await h.db.tenant(c.tenantId, (tx) => listFindings(tx, { limit: 100 }))).items.every((f) => f.tenant_id === c.tenantId)).toBe(true);
    await expect(h.db.ops((tx) => listFindings(tx, { limit: 5, after: 'x' }))).rejects.toThrow(/cursor/);
  });

  it('finds a unit that they have and we do not, and the other way round', async () => {
    const [row] = await h.rows<{ external_subscription_id: string }>(`select external_subscription_id from subscriptions s join submission_items i using (subscription_id) limit 1`);
    const extra = h.market.buildUsageItem({ itemId: randomUUID(), externalSubscriptionId: row!.external_subscription_id, externalPlanId: 'gold', dimension: 'stored', hourStart: at('10T08:00'), startsAt: at('10T08:00'), endsAt: at('10T09:00'), quantity: '1', refs: {} });
    await h.market.submitUsage([extra]);
    const id = await h.db.ops((tx) => h.metering.requestReconciliation(tx, { marketplace: 'azure', from: at('10T00:00'), to: at('11T00:00'), requestedBy: 'operator:test' }));
    await h.metering.runReconciliation(id);
    const done = await h.db.ops((tx) => getReconciliation(tx, id));
    expect(done!.summary).toMatchObject({ balanced: false, verdicts: { quantity: 1 } });
    expect(await h.rows(`select kind, units::text from findings where kind in ('drift.quantity', 'over_reported') and evidence ->> 'reconciliationId' = $1 order by kind`, [id])).toEqual([{ kind: 'drift.quantity', units: '1' }, { kind: 'over_reported', units: '1' }]);
  });

  it('carries late samples into a later hour of the segment, and a late cut corrects what was closed', async () => {
    h.clock.set(at('12T10:00'));
    const p = await h.buy(plan, at('12T10:00'));
    h.clock.set(at('12T11:00'));
    await h.report([p.placementId], at('12T10:00'), at('12T10:30'), 4n * GIB);
    await h.report([p.placementId], at('12T11:00'), at('12T11:00'), 4n * GIB);
    await h.metering.closeDueHours(); // a hole from 10:30 on: 30 + 15 minutes
    expect(await h.rows(`select quantity::text, quality from usage_records where subscription_id = $1 and meter = 'gib_hours_stored'`, [p.subscriptionId])).toEqual([{ quantity: '3', quality: 'estimated' }]);
    h.clock.set(at('12T12:00'));
    await h.report([p.placementId], at('12T10:35'), at('12T10:55'), 4n * GIB);
    await h.report([p.placementId], at('12T11:05'), at('12T12:00'), 4n * GIB);
    await h.metering.closeDueHours();
    expect((await h.rows<{ quantity: string }>(`select quantity::text from usage_records where subscription_id = $1 and meter = 'gib_hours_stored' order by hour`, [p.subscriptionId])).map((r) => r.quantity)).toEqual(['3', '5']);
    expect(await h.rows(`select kind, consumed_by_hour is not null as used from carry_ins where subscription_id = $1`, [p.subscriptionId])).toEqual([{ kind: 'late', used: true }]);

    // The end at 11:30 is told at 12:05: half an hour too much was recorded.
    await h.fixtures.end(p, at('12T11:30'));
    h.clock.set(at('12T12:05'));
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    const over = await h.rows<{ quantity: string }>(`select sum(quantity)::text as quantity from ledger_entries where subscription_id = $1 and term = 'over_reported'`, [p.subscriptionId]);
    expect(over).toEqual([{ quantity: (2n * GIB * 3_600_000_000n).toString() }]);
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: [p.subscriptionId] }));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
    expect(law.ok).toBe(true);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, p.subscriptionId))).toBe(true);
  });

  it('closes at the hold limit as estimated when a source stays silent', async () => {
    h.clock.set(at('13T10:00'));
    const p = await h.buy(plan, at('13T10:00'));
    h.clock.set(at('13T11:00'));
    await h.report([p.placementId], at('13T10:00'), at('13T10:40'), 4n * GIB);
    await h.db.ops((tx) => tx.query('update usage_sources set watermark = $2 where source = $1', [h.source, at('13T10:40')]));
    h.clock.set(at('13T16:59'));
    await h.metering.closeDueHours();
    expect(await h.rows(`select 1 from usage_records where subscription_id = $1 and meter = 'gib_hours_stored'`, [p.subscriptionId])).toEqual([]);
    h.clock.set(at('13T17:00'));
    await h.metering.closeDueHours();
    expect(await h.rows(`select quantity::text, quality from usage_records where subscription_id = $1 and meter = 'gib_hours_stored'`, [p.subscriptionId])).toEqual([{ quantity: '3', quality: 'estimated' }]);
    expect(await h.rows(`select kind from findings where subscription_id = $1 and kind = 'gap_estimated' and hour = $2`, [p.subscriptionId, at('13T10:00')])).not.toEqual([]);
    await h.fixtures.end(p, at('13T11:00'));
    await h.metering.closeDueHours();
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
        'update usage_records set base_quantity = 0', 'delete from usage_records', `update submission_items set wire = '{}'`, 'delete from submission_items', `update submission_attempts set outcome = 'accepted2'`, 'update ledger_entries set quantity = 1',
        'delete from ledger_entries', 'delete from hour_closings', 'update carry_ins set amount = 1', 'delete from carry_ins', `update findings set units = 5`, 'delete from hour_roots',
      ]) await expect(admin.query(sql), sql).rejects.toThrow(/immutable|set once|never deleted/);
      for (const sql of ['update usage_records set base_quantity = 0', 'delete from submission_items', 'update ledger_entries set quantity = 1', 'update hour_closings set inputs = 0']) {
        await expect(h.db.ops((tx) => tx.query(sql)), sql).rejects.toThrow(/permission denied/);
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
    const law = async (): Promise<boolean> => (await h.db.ops((tx) => h.metering.checkSumLaw(tx))).ok;
    expect(await law()).toBe(true);
    const rows: [string, string][] = [
      ['usage_records', 'true'], ['submission_items', `state = 'accepted'`], ['submission_attempts', `outcome = 'accepted'`], ['hour_closings', 'true'], ['hour_roots', 'true'], ['carry_ins', 'true'], ['series', 'next_hour > first_hour'],
      ...['measured', 'estimated', 'adjustment', 'pending', 'accepted', 'over_reported', 'deferred', 'loss', 'remainder'].map((t): [string, string] => ['ledger_entries', `term = '${t}' and quantity <> 0`]),
    ];
    try {
      // Triggers and foreign keys off: the check itself must see it.
      await admin.query('set session_replication_role = replica');
      for (const [table, where] of rows) {
        const { rows: all } = await admin.query(`select ctid from ${table} where ${where}`);
        expect(all.length, `${table} where ${where}`).toBeGreaterThan(0);
        for (const row of [all[0]!, all[Math.floor(all.length / 2)]!, all.at(-1)!] as { ctid: string }[]) {
          await admin.query(`create temp table kept as select * from ${table} where ctid = $1`, [row.ctid]);
          await admin.query(`delete from ${table} where ctid = $1`, [row.ctid]);
          expect(await law(), `${table} where ${where}`).toBe(false);
          await admin.query(`insert into ${table} select * from kept`);
          await admin.query('drop table kept');
        }
      }
      expect(await law()).toBe(true);
      await admin.query(`update submission_attempts set outcome = null, receipt = null where attempt_id = (select attempt_id from submission_attempts where outcome = 'accepted' limit 1)`);
      expect(await law()).toBe(false);
    } finally {
      await admin.end();
    }
  });
});
