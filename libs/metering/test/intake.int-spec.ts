import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { elsewhere } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, EGRESS, GIB, Harness, PROVISIONED, sampleEvent, STORED, watermarkEvent } from '../src/testing/index.js';

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
    await h.db.ops((tx) =>
      h.metering.bindPlacement(tx, {
        placementId: other.placementId,
        tenantId: other.tenantId,
        subscriptionId: other.subscriptionId,
        source: '/cells/elsewhere',
        from: START,
      }),
    );
    const good = sampleEvent(h.source, p.placementId, START, GIB, { id: 'same' });
    const results = await outcomes(h.cell, [
      { ...good, data: { ...(good['data'] as object), value: '-5' } },
      good,
      good,
      { ...good, data: { ...(good['data'] as object), value: '7' } },
      sampleEvent(h.source, p.placementId, START, 2n ** 61n),
      sampleEvent(h.source, other.placementId, START, 1n),
      sampleEvent(h.source, randomUUID(), START, 1n),
      sampleEvent('/cells/elsewhere', other.placementId, START, 1n),
      sampleEvent(h.source, p.placementId, at('10T10:06'), 1n),
      sampleEvent(h.source, p.placementId, new Date(START.getTime() - 36 * 86_400_000), 1n),
      { ...good, id: '' },
      { ...good, id: 'a\u0000b' },
      null,
      'x',
      { ...good, specversion: '0.3' },
      { ...good, time: '2026-02-31T00:00:00Z' },
      sampleEvent(h.source, p.placementId, START, '1.5'),
      { ...good, subject: "x' or 1=1" },
    ]);
    expect(results).toEqual([
      'rejected usage.negative_quantity',
      'accepted',
      'duplicate',
      'conflict usage.duplicate_id',
      'rejected usage.absurd_quantity',
      'rejected usage.foreign_placement',
      'rejected usage.unknown_placement',
      'rejected usage.foreign_source',
      'rejected usage.time_in_future',
      'rejected usage.too_old',
      ...Array<string>(8).fill('rejected usage.invalid_event'),
    ]);
    expect(await outcomes(h.cell, [good])).toEqual(['duplicate']);
    expect(await outcomes(h.cell, [{ ...good, source: '/cells/other' }])).toEqual(['rejected usage.foreign_source']);
    expect(await outcomes({ kind: 'operator', keyId: 'o' }, [sampleEvent('/imports/x', p.placementId, START, 1n)])).toEqual([
      'rejected usage.foreign_source',
    ]);
    expect(
      await outcomes({ kind: 'tenant', keyId: 't', tenantId: p.tenantId }, [
        sampleEvent(`/tenants/${p.tenantId}`, other.placementId, START, 1n),
      ]),
    ).toEqual(['rejected usage.foreign_placement']);
    expect(await h.rows(`select distinct code from rejected_events where event_id = 'same' order by code`)).toEqual(
      ['usage.duplicate_id', 'usage.foreign_source', 'usage.invalid_event', 'usage.negative_quantity'].map((code) => ({ code })),
    );
    expect((await h.rows<{ n: string }>('select count(*) as n from usage_events where placement_id = $1', [p.placementId]))[0]!.n).toBe(
      '1',
    );
    expect(await h.rows(`select kind from findings where kind in ('clock_skew', 'loss.event_too_old') order by kind`)).toEqual([
      { kind: 'clock_skew' },
      { kind: 'loss.event_too_old' },
    ]);
  });

  it('takes the same batch from many at once exactly once', async () => {
    const p = await h.buy(plan, START);
    const events = Array.from({ length: 20 }, (_, i) =>
      sampleEvent(h.source, p.placementId, new Date(START.getTime() + i * 1_000), BigInt(i)),
    );
    const all = await Promise.all(Array.from({ length: 6 }, (_, i) => outcomes(h.cell, i % 2 ? [...events].reverse() : events)));
    expect(all.flat().filter((o) => o === 'accepted')).toHaveLength(20);
    expect(all.flat().filter((o) => o === 'duplicate')).toHaveLength(100);
    expect((await h.rows<{ n: string }>('select count(*) as n from usage_events where placement_id = $1', [p.placementId]))[0]!.n).toBe(
      '20',
    );
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
    const tables = await h.rows<{
      t: string;
    }>(`select c.relname as t from pg_class c join pg_attribute a on a.attrelid = c.oid and a.attname = 'tenant_id' where c.relkind in ('r', 'p') and not c.relispartition
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
    const [partition] = await h.rows<{ relname: string }>(
      `select relname from pg_class where relispartition and relname like 'usage_events_%' and relkind = 'r' limit 1`,
    );
    for (const role of ['ops', 'tenant', 'intake'] as const)
      await expect(h.db.source(role).query(`select 1 from ${partition!.relname}`)).rejects.toThrow(/permission denied/);
    await expect(
      h.db.intake([owners[0]!.tenant_id], (tx) =>
        tx.query(
          `insert into usage_dedupe (principal, source, event_id, tenant_id, content_hash, received_at) values ('x', 'x', 'x', $1, '', now())`,
          [owners[1]!.tenant_id],
        ),
      ),
    ).rejects.toThrow(/row-level security/);
    await expect(h.db.intake([], (tx) => tx.query('select * from ledger_entries'))).rejects.toThrow(/permission denied/);
  });
});

describe('the end of an hour', () => {
  it('closes at the hold limit as estimated when a source stays silent', async () => {
    h.clock.set(at('13T10:00'));
    const p = await h.buy(plan, at('13T10:00'));
    h.clock.set(at('13T11:00'));
    await h.report([p.placementId], at('13T10:00'), at('13T10:40'), 4n * GIB);
    await h.db.ops((tx) => tx.query('update usage_sources set watermark = $2 where source = $1', [h.source, at('13T10:40')]));
    h.clock.set(at('13T16:59'));
    await h.metering.closeDueHours();
    expect(
      await h.rows(`select 1 from usage_records where subscription_id = $1 and meter = 'gib_hours_stored'`, [p.subscriptionId]),
    ).toEqual([]);
    h.clock.set(at('13T17:00'));
    await h.metering.closeDueHours();
    expect(
      await h.rows(`select quantity::text, quality from usage_records where subscription_id = $1 and meter = 'gib_hours_stored'`, [
        p.subscriptionId,
      ]),
    ).toEqual([{ quantity: '3', quality: 'estimated' }]);
    expect(
      await h.rows(`select kind from findings where subscription_id = $1 and kind = 'gap_estimated' and hour = $2`, [
        p.subscriptionId,
        at('13T10:00'),
      ]),
    ).not.toEqual([]);
    await h.fixtures.end(p, at('13T11:00'));
    await h.metering.closeDueHours();
  });

  it('counts a sample that is being written while its hour closes', async () => {
    h.clock.set(at('14T10:00'));
    const p = await h.buy(plan, at('14T10:00'));
    const engineSample = (time: string, value: bigint) => ({
      subscriptionId: p.subscriptionId,
      tenantId: p.tenantId,
      placementId: p.placementId,
      metric: 'provisioned_bytes',
      at: at(time),
      value,
    });
    await h.db.ops((tx) => h.metering.recordEngineSample(tx, engineSample('14T10:00', 10n * GIB)));
    h.clock.set(at('14T11:00'));
    let closing: Promise<unknown> = Promise.resolve();
    await h.db.ops(async (tx) => {
      await h.metering.recordEngineSample(tx, engineSample('14T10:30', 20n * GIB));
      closing = elsewhere(() => h.metering.closeDueHours());
      await expect
        .poll(() => elsewhere(() => h.rows(`select 1 from pg_locks where locktype = 'advisory' and not granted`)), { timeout: 5_000 })
        .not.toEqual([]);
    });
    await closing;
    await h.metering.closeDueHours();
    const quantity = `select quantity::text from usage_records where subscription_id = $1 and meter = 'gib_hours_provisioned'`;
    expect(await h.rows(quantity, [p.subscriptionId])).toEqual([{ quantity: '15' }]);
    await h.fixtures.end(p, at('14T11:00'));
    await h.metering.closeDueHours();
  });

  it('makes a day once, however many want it at the same moment', async () => {
    for (let n = 0; n < 10; n++) {
      const day = `2031-01-${String(n + 10)}`;
      await Promise.all(Array.from({ length: 4 }, () => h.rows('select ensure_usage_day($1::date)', [day])));
    }
    expect(await h.rows(`select 1 from pg_class where relname like 'usage\\_events\\_203101%' and relkind = 'r'`)).toHaveLength(10);
  });
});
