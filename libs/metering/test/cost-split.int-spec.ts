import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { checkSumLaw, listUsageRecords } from '../src/index.js';
import { at, GIB, Harness, sampleEvent, STORED, watermarkEvent, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
const costSplit = { labels: [{ name: 'department', as: 'Department' }], rest: 'other' };

describe('cost-split labels', () => {
  let database: TestDatabase;
  let h: Harness;
  let split: string;
  let plain: string;
  beforeAll(async () => {
    database = await createTestDatabase();
    h = await Harness.open(database.url(), database.secret, START, (m) => m, {}, {}, ['aws']);
    split = await h.fixtures.plan([{ ...STORED, costSplit }], 'gold', (100n * GIB).toString(), 'aws');
    plain = await h.fixtures.plan([STORED], 'silver', (100n * GIB).toString(), 'aws');
  });
  afterAll(async () => {
    await h.close();
    await database.drop();
  });

  it('are frozen with the record, sent with its quantity and stored with its wire item; without them nothing is kept', async () => {
    const aws = h.others[0]!;
    const [a, b] = [await h.buy(split, START, 'gold', aws), await h.buy(plain, START, 'silver', aws)];
    h.clock.set(at('10T12:01'));
    const events: unknown[] = [];
    for (let t = START.getTime(); t <= at('10T12:00').getTime(); t += 300_000) {
      // The last sample of the first hour holds on into the next one, and so do its parts.
      if (t === at('10T11:00').getTime()) continue;
      for (const p of [a, b]) {
        const event = sampleEvent(h.source, p.placementId, new Date(t), 10n * GIB);
        const parts = [
          { labels: { department: 'it', team: 'ours' }, value: (7n * GIB).toString() },
          { labels: { team: 'x' }, value: '1' },
        ];
        events.push(t < at('10T11:00').getTime() ? { ...event, data: { ...(event['data'] as object), split: parts } } : event);
      }
    }
    events.push(watermarkEvent(h.source, at('10T12:00')));
    const { results } = await h.metering.ingest(h.cell, events);
    expect(results.filter((r) => r.outcome !== 'accepted')).toEqual([]);
    await h.metering.closeDueHours();

    const records = (await h.db.ops((tx) => listUsageRecords(tx, { limit: 10, subscriptionId: a.subscriptionId }))).items;
    expect(records.map((r) => [r.quantity, r.parts])).toEqual([
      [
        '10',
        [
          { labels: { Department: 'it' }, quantity: '7' },
          { labels: { Department: 'other' }, quantity: '3' },
        ],
      ],
      [
        '10',
        [
          { labels: { Department: 'it' }, quantity: '1' },
          { labels: { Department: 'other' }, quantity: '9' },
        ],
      ],
    ]);
    const wires = await h.rows<{ body: string }>(
      `select wire ->> 'body' as body from submission_items where subscription_id = $1 order by hour`,
      [a.subscriptionId],
    );
    expect(wires.map((w) => (JSON.parse(w.body) as { parts: unknown }).parts)).toEqual(records.map((r) => r.parts));
    expect(
      await h.rows('select 1 from usage_record_splits p join usage_records r using (record_id) where r.subscription_id = $1', [
        b.subscriptionId,
      ]),
    ).toEqual([]);
    expect(await h.rows('select 1 from usage_events where subscription_id = $1 and split is not null', [b.subscriptionId])).toHaveLength(
      12,
    );

    // Looked back at, the split is made again from the same samples; what is stored otherwise is said.
    const explained = await Promise.all(records.map((r) => h.db.ops((tx) => h.metering.explainRecord(tx, r.record_id))));
    expect(explained.map((x) => [x.differs, x.words.find((w) => w.includes('labels'))])).toEqual([
      [[], 'It is shared out by what the samples said of their labels: 7 to Department=it, 3 to Department=other; together 10 GiB-hour.'],
      [[], 'It is shared out by what the samples said of their labels: 1 to Department=it, 9 to Department=other; together 10 GiB-hour.'],
    ]);
    const [unsplit] = (await h.db.ops((tx) => listUsageRecords(tx, { limit: 1, subscriptionId: b.subscriptionId }))).items;

    const span = { from: START, to: at('10T12:00') };
    const faults = async (of: Purchase) =>
      (await h.db.ops((tx) => checkSumLaw(tx, { ...span, subscriptionIds: [of.subscriptionId] }))).series.flatMap((s) => s.missing);
    expect(await faults(a)).toEqual([]);
    await expect(h.rows(`update usage_record_splits set parts = '[]'`)).rejects.toThrow();
    await h.db.ops(async (tx) => {
      await tx.query(
        `insert into usage_record_splits select r.record_id, r.tenant_id, '[{"labels":{},"quantity":"9"}]' from usage_records r where r.subscription_id = $1 limit 1`,
        [b.subscriptionId],
      );
    });
    expect((await faults(b)).join()).toContain('the parts of a record do not add up to it');
    expect((await h.db.ops((tx) => h.metering.explainRecord(tx, unsplit!.record_id))).differs).toEqual([
      'split by labels: stored [] 9, calculated again none',
    ]);
  });
});
