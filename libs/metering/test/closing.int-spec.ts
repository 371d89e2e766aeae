import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import {
  agreeingLineFindings,
  getReconciliation,
  listFindings,
  listSubmissions,
  listUsageRecords,
  sumLawTable,
  type SubmissionRow,
} from '../src/index.js';
import { at, EGRESS, GIB, Harness, MIB, PROVISIONED, STORED } from '../src/testing/index.js';

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

describe('the way of an hour', () => {
  it('closes by watermark, once, with two workers racing; sends; settles the end; reconciles', async () => {
    h.clock.set(START);
    const a = await h.buy(plan, START);
    const b = await h.buy(plan, START);
    const c = await h.buy(plan, START);
    const ids = [a, b, c].map((p) => p.subscriptionId);
    for (const p of [a, b, c])
      await h.db.ops((tx) =>
        h.metering.recordEngineSample(tx, {
          subscriptionId: p.subscriptionId,
          tenantId: p.tenantId,
          placementId: p.placementId,
          metric: 'provisioned_bytes',
          at: START,
          value: 10n * GIB,
        }),
      );
    const placements = [a, b, c].map((p) => p.placementId);

    h.clock.set(at('10T11:00'));
    await h.report(placements, START, at('10T10:55'), 3n * GIB, 2n * MIB);
    await h.metering.closeDueHours();
    // The cells have not passed the end of the hour: only our own events are complete.
    expect(
      (await h.rows<{ meter: string }>('select distinct meter from usage_records where subscription_id = any($1)', [ids])).map(
        (r) => r.meter,
      ),
    ).toEqual(['gib_hours_provisioned']);

    await h.report(placements, at('10T11:00'), at('10T11:00'), 3n * GIB, 2n * MIB, START);
    const second = h.another();
    await Promise.all([h.metering.closeDueHours(), second.closeDueHours(), h.another().closeDueHours()]);
    await h.metering.closeDueHours();
    const records = await h.rows<{ subscription_id: string; meter: string; quantity: string }>(
      'select subscription_id, meter, quantity::text from usage_records where subscription_id = any($1) order by meter',
      [ids],
    );
    expect(records.filter((r) => r.subscription_id === a.subscriptionId).map((r) => [r.meter, r.quantity])).toEqual([
      ['gib_hours_provisioned', '10'],
      ['gib_hours_stored', '3'],
      ['mib_egress', '22'],
    ]);
    expect(records).toHaveLength(9);

    await Promise.all([h.metering.submitDue(), second.submitDue()]);
    expect(
      h.market
        .billed(a.externalSubscriptionId)
        .map((x) => [x.dimension, x.quantity])
        .sort(),
    ).toEqual([
      ['egress', '22'],
      ['provisioned', '10'],
      ['stored', '3'],
    ]);
    expect(
      await h.rows('select 1 from submission_attempts a join submission_items i using (item_id) where subscription_id = any($1)', [ids]),
    ).toHaveLength(9);

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
    expect(
      await h.rows(`select lane from tasks where handler = 'test.settled' and payload_ref ->> 'subscriptionId' = $1`, [b.subscriptionId]),
    ).toEqual([{ lane: `subscription:${b.subscriptionId}` }]);
    expect(
      h.market
        .billed(b.externalSubscriptionId)
        .filter((x) => x.hour === at('10T11:00').toISOString())
        .map((x) => [x.dimension, x.quantity])
        .sort(),
    ).toEqual([
      ['egress', '18'],
      ['provisioned', '6'],
      ['stored', '2'],
    ]);

    h.clock.set(at('10T13:00'));
    await h.report([a.placementId, c.placementId], at('10T11:45'), at('10T13:00'), 3n * GIB, 2n * MIB, START);
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    const ofA = h.market
      .billed(a.externalSubscriptionId)
      .filter((x) => x.dimension === 'stored')
      .map((x) => [x.hour.slice(11, 13), x.externalPlanId, x.quantity]);
    expect(ofA).toEqual([
      ['10', 'gold', '3'],
      ['11', 'gold', '1'],
      ['12', 'platinum', '5'],
    ]); // 2 deferred + 3

    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
    expect(law.series.filter((s) => s.difference !== 0n || s.missing.length > 0)).toEqual([]);
    expect(law.ok).toBe(true);
    const table = await h.db.ops((tx) => sumLawTable(tx, { subscriptionId: a.subscriptionId }));
    expect(table.map((r) => [r.meter, r.difference])).toEqual([
      ['gib_hours_provisioned', '0'],
      ['gib_hours_stored', '0'],
      ['mib_egress', '0'],
    ]);

    const id = await h.db.ops((tx) =>
      h.metering.requestReconciliation(tx, {
        marketplace: 'azure',
        from: at('10T00:00'),
        to: at('11T00:00'),
        requestedBy: 'operator:test',
      }),
    );
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
    const submissions = async (state?: string): Promise<SubmissionRow[]> => {
      const items: SubmissionRow[] = [];
      for (let after: string | null = null; ;) {
        const page = await h.db.ops((tx) => listSubmissions(tx, { limit: 2, after, ...(state ? { state } : {}) }));
        items.push(...page.items);
        if ((after = page.nextCursor) === null) return items;
      }
    };
    const refused = await h.rows<{ item_id: string; was: string }>(
      'select item_id, accepted_quantity::text as was from submission_items order by hour, record_id limit 3',
    );
    for (const { item_id } of refused)
      await h.rows(`update submission_items set state = 'rejected', accepted_quantity = null where item_id = $1`, [item_id]);
    const everything = await submissions();
    for (const state of ['accepted', 'rejected', 'pending', 'shadow'])
      expect(
        (await submissions(state)).map((i) => i.item_id),
        state,
      ).toEqual(everything.filter((i) => i.state === state).map((i) => i.item_id));
    expect(everything.filter((i) => i.state === 'rejected')).toHaveLength(3);
    for (const { item_id, was } of refused)
      await h.rows(`update submission_items set state = 'accepted', accepted_quantity = $2 where item_id = $1`, [item_id, was]);
    expect((await h.db.tenant(c.tenantId, (tx) => listFindings(tx, { limit: 100 }))).items.every((f) => f.tenant_id === c.tenantId)).toBe(
      true,
    );
    await expect(h.db.ops((tx) => listFindings(tx, { limit: 5, after: 'x' }))).rejects.toThrow(/cursor/);
  });

  it('finds a unit that they have and we do not, and the other way round', async () => {
    const [row] = await h.rows<{ external_subscription_id: string }>(
      `select external_subscription_id from subscriptions s join submission_items i using (subscription_id) limit 1`,
    );
    const extra = h.market.buildUsageItem({
      itemId: randomUUID(),
      externalSubscriptionId: row!.external_subscription_id,
      externalPlanId: 'gold',
      dimension: 'stored',
      hourStart: at('10T08:00'),
      startsAt: at('10T08:00'),
      endsAt: at('10T09:00'),
      quantity: '1',
      refs: {},
    });
    await h.market.submitUsage([extra]);
    const id = await h.db.ops((tx) =>
      h.metering.requestReconciliation(tx, {
        marketplace: 'azure',
        from: at('10T00:00'),
        to: at('11T00:00'),
        requestedBy: 'operator:test',
      }),
    );
    await h.metering.runReconciliation(id);
    const done = await h.db.ops((tx) => getReconciliation(tx, id));
    expect(done!.summary).toMatchObject({ balanced: false, verdicts: { quantity: 1 } });
    expect(
      await h.rows(
        `select kind, units::text from findings where kind in ('drift.quantity', 'over_reported') and evidence ->> 'reconciliationId' = $1 order by kind`,
        [id],
      ),
    ).toEqual([
      { kind: 'drift.quantity', units: '1' },
      { kind: 'over_reported', units: '1' },
    ]);

    // A later comparison shows the line as equal: the difference is gone. What was over-reported is money, and a person's.
    expect(await h.db.ops((tx) => agreeingLineFindings(tx, id))).toEqual([]);
    h.market.takeBack(extra.wireKey);
    const again = await h.db.ops((tx) =>
      h.metering.requestReconciliation(tx, {
        marketplace: 'azure',
        from: at('10T00:00'),
        to: at('11T00:00'),
        requestedBy: 'operator:test',
      }),
    );
    await h.metering.runReconciliation(again);
    const gone = await h.db.ops((tx) => agreeingLineFindings(tx, again));
    expect(await h.rows('select kind from findings where finding_id = any($1::uuid[])', [gone])).toEqual([{ kind: 'drift.quantity' }]);
  });

  it('counts the last sample of a counter that was taken just after an end at the edge of an hour', async () => {
    h.clock.set(at('20T10:00'));
    const p = await h.buy(plan, at('20T10:00'));
    h.clock.set(at('20T11:05'));
    await h.report([p.placementId], at('20T10:00'), at('20T10:55'), GIB, 8n * MIB);
    await h.fixtures.end(p, at('20T10:58'));
    await h.report([p.placementId], at('20T11:00'), at('20T11:05'), GIB, 8n * MIB, at('20T10:00'));
    await h.metering.closeDueHours();
    const [egress] = await h.rows<{ q: string }>(
      `select sum(quantity)::text as q from ledger_entries where subscription_id = $1 and meter = 'mib_egress' and term = 'pending'`,
      [p.subscriptionId],
    );
    // 11 steps until 10:55, and of the step to 11:00 the three minutes before the end (4.8 MiB): 92 whole MiB.
    expect(egress!.q).toBe((92n * MIB).toString());
    expect((await h.db.ops((tx) => h.metering.checkSumLaw(tx, { subscriptionIds: [p.subscriptionId] }))).ok).toBe(true);
  });

  it('names dimension and unit of a meter that never made a record, for its tenant too', async () => {
    h.clock.set(at('22T10:00'));
    const p = await h.buy(await h.fixtures.plan([STORED, { ...EGRESS, dimension: 'egress-old' }], 'silver'), at('22T10:00'), 'silver');
    await h.fixtures.cut(p, at('22T10:30'), { planVersionId: plan, externalPlanId: 'gold' });
    h.clock.set(at('22T11:00'));
    await h.report([p.placementId], at('22T10:00'), at('22T11:00'), 0n, 1n);
    await h.metering.closeDueHours();
    expect(await h.rows('select 1 from usage_records where subscription_id = $1', [p.subscriptionId])).toEqual([]);
    const expected = { meter: 'mib_egress', dimension: 'egress', listedUnit: 'MiB', basePerUnit: MIB.toString(), difference: '0' };
    expect(await h.db.ops((tx) => sumLawTable(tx, { subscriptionId: p.subscriptionId }))).toMatchObject([expected]);
    expect(await h.db.tenant(p.tenantId, (tx) => sumLawTable(tx))).toMatchObject([expected]);
  });
});
