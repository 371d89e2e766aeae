import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { at, GIB, Harness, sampleEvent, STORED, type Purchase } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
let plan: string;
const START = at('10T10:00');
const DAY = 86_400_000;
const later = (days: number): Date => new Date(START.getTime() + days * DAY);

beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START, undefined, {}, { usageDaysKept: 80 });
  plan = await h.fixtures.plan([STORED]);
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

const outcomes = async (events: unknown[]): Promise<string[]> =>
  (await h.metering.ingest(h.cell, events)).results.map((r) => r.code ?? r.outcome);
const ids = async (): Promise<string[]> =>
  (await h.rows<{ id: string }>('select event_id as id from usage_dedupe order by 1')).map((r) => r.id);
const hasDay = async (day: string): Promise<boolean> => (await h.rows('select 1 from usage_days() d where d = $1::date', [day])).length > 0;

describe('what intake remembers', () => {
  let p: Purchase;
  it('of an id ends when its event is too old to come again, and not before', async () => {
    p = await h.buy(plan, START);
    const old = sampleEvent(h.source, p.placementId, at('10T10:05'), GIB, { id: 'old' });
    expect(await outcomes([old])).toEqual(['accepted']);
    h.clock.set(later(20));
    expect(await outcomes([sampleEvent(h.source, p.placementId, later(20), GIB, { id: 'young' })])).toEqual(['accepted']);
    h.clock.set(later(35));
    expect(await h.metering.pruneUsage()).toMatchObject({ ids: 0 });
    // Five minutes ahead of its receipt: it may still come, and is known.
    expect(await outcomes([old])).toEqual(['duplicate']);
    h.clock.set(new Date(later(35).getTime() + 3_600_001));
    expect(await h.metering.pruneUsage()).toMatchObject({ ids: 1 });
    expect(await ids()).toEqual(['young']);
    expect(await outcomes([old])).toEqual(['usage.too_old']);
  });

  it('of a day stays while one of its hours is unsettled, and goes when all are', async () => {
    h.clock.set(later(79));
    expect((await h.metering.pruneUsage()).days).toEqual([]);
    h.clock.set(later(82));
    // A series that never closed anything holds it.
    const at0 = START;
    await h.rows(
      `insert into series (subscription_id, meter, tenant_id, marketplace, metric, kind, source_kind, shard, first_hour, next_hour, blocked_until, state)
       values ($1, 'gib_hours_stored', $2, 'azure', 'stored_bytes', 'gauge_integral', 'cell', 0, $3, $3, 'infinity', '{}')`,
      [p.subscriptionId, p.tenantId, at0],
    );
    await h.metering.pruneUsage();
    expect(await hasDay('2026-03-10')).toBe(true);
    const close = (next: Date) => h.rows('update series set next_hour = $2 where subscription_id = $1', [p.subscriptionId, next]);
    await close(later(81));
    // A finding of the day that nobody has settled holds it too.
    await h.rows(
      `insert into findings (finding_id, dedupe_key, kind, tenant_id, subscription_id, hour, evidence, raised_at)
       values (gen_random_uuid(), 'held', 'gap_estimated', $1, $2, $3, '{}', now())`,
      [p.tenantId, p.subscriptionId, at0],
    );
    await h.metering.pruneUsage();
    expect(await hasDay('2026-03-10')).toBe(true);
    await h.rows(`update findings set settlement = '{}', settled_at = now() where dedupe_key in ('held') or hour < $1`, [at('11T00:00')]);
    // What came late and is not absorbed holds it.
    await h.rows(`insert into late_arrivals (subscription_id, metric, hour, tenant_id) values ($1, 'stored_bytes', $2, $3)`, [
      p.subscriptionId,
      at0,
      p.tenantId,
    ]);
    await h.metering.pruneUsage();
    expect(await hasDay('2026-03-10')).toBe(true);
    await h.rows('delete from late_arrivals');
    expect((await h.metering.pruneUsage()).days).toContain('2026-03-10');
    expect(await hasDay('2026-03-10')).toBe(false);
    // The day of the younger sample is inside its retention.
    expect(await hasDay('2026-03-30')).toBe(true);
    expect(await h.rows('select event_id from usage_events where placement_id = $1', [p.placementId])).toEqual([{ event_id: 'young' }]);
  });

  it('is never shorter than what a closing looks back, whatever is set', async () => {
    const day = later(82 - 60)
      .toISOString()
      .slice(0, 10);
    await h.rows('select ensure_usage_day($1::date)', [day]);
    const short = await Harness.open(database.url(), database.secret, later(82), undefined, {}, { usageDaysKept: 1 });
    try {
      expect((await short.metering.pruneUsage()).days).not.toContain(day);
      expect(await hasDay(day)).toBe(true);
    } finally {
      await short.close();
    }
  });

  it('is dropped by no serving role itself', async () => {
    await expect(h.db.intake([], (tx) => tx.query(`select drop_usage_day('2026-03-30')`))).rejects.toThrow(/permission denied/);
    await expect(h.rows('drop table usage_events_20260330')).rejects.toThrow(/must be owner|permission denied/);
  });
});
