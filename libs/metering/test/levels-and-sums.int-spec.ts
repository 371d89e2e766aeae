import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase } from '#platform';
import { silentLogger } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { ledgerHash, replayJournal, writeJournal } from '../src/index.js';
import { at, CALLS, Harness, LATEST_NODES, PEAK_NODES, sampleEvent, STORED, watermarkEvent, type Purchase } from '../src/testing/index.js';

const databases: TestDatabase[] = [];
let h: Harness;
let plan: string;
const START = at('10T10:00');

async function fresh(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  databases.push(database);
  return database;
}
beforeAll(async () => {
  const database = await fresh();
  h = await Harness.open(database.url(), database.secret, START);
  plan = await h.fixtures.plan([PEAK_NODES, LATEST_NODES, CALLS]);
});
afterAll(async () => {
  await h.close();
  for (const database of databases) await database.drop();
});

const nodes = (p: Purchase, time: string, value: number) =>
  sampleEvent(h.source, p.placementId, at(time), BigInt(value), { metric: 'nodes' });
const calls = (p: Purchase, time: string, value: number) =>
  sampleEvent(h.source, p.placementId, at(time), BigInt(value), { metric: 'calls', kind: 'delta' });
const post = async (...events: unknown[]) => (await h.metering.ingest(h.cell, events)).results;
const records = async (p: Purchase) =>
  Object.fromEntries(
    (
      await h.rows<{ meter: string; all: string[] }>(
        `select meter, array_agg(trim_scale(quantity)::text order by hour, segment_id) as all from usage_records where subscription_id = $1 group by meter`,
        [p.subscriptionId],
      )
    ).map((r) => [r.meter, r.all]),
  );
const law = async (p: Purchase) => h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: [p.subscriptionId] }));
/** A value every five minutes of the hour that begins at `from`. */
const hourOf = (p: Purchase, day: string, hour: number, all: number[]) =>
  all.map((v, i) => nodes(p, `${day}T${String(hour).padStart(2, '0')}:${String(5 * i).padStart(2, '0')}`, v));

describe('meters of a level and of amounts told once', () => {
  it('close an hour, carry its rest, and take what comes late as a correction', async () => {
    const p = await h.buy(plan, START);
    h.clock.set(at('10T11:00'));
    await post(
      ...hourOf(p, '10', 10, [3, 3, 3, 8, 8, 2, 2, 2, 2, 2, 2, 5]),
      calls(p, '10T10:01', 1_400),
      calls(p, '10T10:59', 900),
      watermarkEvent(h.source, at('10T11:00')),
    );
    await h.metering.closeDueHours();
    expect(await records(p)).toEqual({ peak_nodes: ['8'], latest_nodes: ['5'], kilo_calls: ['2'] });
    expect(await law(p)).toMatchObject({ ok: true });

    // Late: nine nodes for five minutes, four at the end after all, and 700 calls more: with the rest of 300 a whole unit.
    h.clock.set(at('10T12:00'));
    await post(nodes(p, '10T10:17', 9), nodes(p, '10T10:57', 4), calls(p, '10T10:30', 700));
    await post(...hourOf(p, '10', 11, [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]), watermarkEvent(h.source, at('10T12:00')));
    await h.metering.closeDueHours();
    // The hour began with the four of the hour before: that is its most.
    expect(await records(p)).toEqual({ peak_nodes: ['8', '2'], latest_nodes: ['5'], kilo_calls: ['2', '1'] });
    expect(
      await h.rows(
        `select meter, sum(quantity)::text as late from ledger_entries where subscription_id = $1 and term = 'adjustment' group by 1 order by 1`,
        [p.subscriptionId],
      ),
    ).toEqual([
      { meter: 'kilo_calls', late: '700' },
      { meter: 'latest_nodes', late: '-1' },
      { meter: 'peak_nodes', late: '1' },
    ]);
    expect(await law(p)).toMatchObject({ ok: true });
  });

  it('bill one level in an hour in which the plan changed, and say so in their explanation', async () => {
    h.clock.set(at('11T10:00'));
    const p = await h.buy(plan, at('11T10:00'));
    await h.fixtures.cut(p, at('11T10:30'), { planVersionId: plan, externalPlanId: 'gold' });
    h.clock.set(at('11T11:00'));
    await post(...hourOf(p, '11', 10, [3, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4]), watermarkEvent(h.source, at('11T11:00')));
    await h.metering.closeDueHours();
    const [{ total } = { total: '' }] = await h.rows<{ total: string }>(
      `select sum(quantity)::text as total from ledger_entries where subscription_id = $1 and meter = 'peak_nodes' and term = 'measured'`,
      [p.subscriptionId],
    );
    expect(total).toBe('4');
    const [record] = await h.rows<{ record_id: string }>(
      `select record_id from usage_records where subscription_id = $1 and meter = 'peak_nodes' order by starts_at limit 1`,
      [p.subscriptionId],
    );
    const x = await h.db.ops((tx) => h.metering.explainRecord(tx, record!.record_id));
    expect([x.sameInputs, x.differs]).toEqual([true, []]);
    expect(x.words.join(' ')).toContain('3 node (the largest that all sources had together at one moment; exactly 3 nodes)');
    expect(x.lines.map((l) => l.amount)).toEqual([3n, 1n]);
  });

  it('refuse samples of another kind than the metric is made of, with a code, and keep them', async () => {
    const p = await h.buy(plan, h.clock.now());
    const wrong = sampleEvent(h.source, p.placementId, h.clock.now(), 5n, { metric: 'calls', kind: 'counter' });
    expect(
      await post(wrong, sampleEvent(h.source, p.placementId, h.clock.now(), 5n, { metric: 'never_sold', kind: 'delta' })),
    ).toMatchObject([
      { outcome: 'rejected', code: 'usage.wrong_kind', detail: 'calls is reported as a delta, and this event says it is a counter' },
      { outcome: 'accepted' },
    ]);
    expect(await h.rows(`select code from rejected_events where event_id = $1`, [wrong['id']])).toEqual([{ code: 'usage.wrong_kind' }]);
    // Its id was not burnt: corrected, it counts.
    expect(await post({ ...wrong, data: { ...(wrong['data'] as object), kind: 'delta' } })).toMatchObject([{ outcome: 'accepted' }]);
  });

  it('learn within a minute what another process has loaded', async () => {
    const p = await h.buy(plan, h.clock.now());
    const event = () => sampleEvent(h.source, p.placementId, h.clock.now(), 5n, { metric: 'fresh', kind: 'gauge' });
    expect(await post(event())).toMatchObject([{ outcome: 'accepted' }]);
    await h.fixtures.plan([{ ...CALLS, meter: 'fresh', metric: 'fresh' }, STORED]);
    h.clock.set(new Date(h.clock.now().getTime() + 60_000));
    expect(await post(event())).toMatchObject([{ outcome: 'rejected', code: 'usage.wrong_kind' }]);
    // Counted in two ways, as a catalog could say before there was a rule: neither is refused.
    await h.fixtures.plan([{ ...PEAK_NODES, meter: 'fresh_peak', metric: 'fresh' }], 'silver');
    h.clock.set(new Date(h.clock.now().getTime() + 60_000));
    expect(await post(event())).toMatchObject([{ outcome: 'accepted' }]);
  });

  it('are replayed to the same ledger', async () => {
    const lines: string[] = [];
    await h.db.ops((tx) => writeJournal(tx, 'a test', (line) => void lines.push(line)));
    const into = await fresh();
    const db = await openDatabase({ adminUrl: into.url(), secret: into.secret, poolSize: 2 });
    async function* all(): AsyncGenerator<string> {
      yield* lines;
    }
    try {
      await replayJournal(all(), { db, traits: { azure: h.market.usage }, logger: silentLogger() });
      const hash = (of: typeof db) => of.ops((tx) => ledgerHash(tx));
      expect(await hash(db)).toBe(await hash(h.db));
      expect(
        await db.ops((tx) => tx.query(`select count(*)::int as n from usage_records where meter in ('peak_nodes', 'kilo_calls')`)),
      ).not.toEqual([{ n: 0 }]);
    } finally {
      await db.close();
    }
  });
});
