import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createLogger, openDatabase, type Database } from '#platform';
import type { MarketplaceAdapter, UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { checkJournal, ledgerHash, replayJournal, writeJournal, type Replayed, type ReplayOptions } from '../src/index.js';
import {
  at,
  door,
  EGRESS,
  GIB,
  Harness,
  MIB,
  PROVISIONED,
  sampleEvent,
  STORED,
  watermarkEvent,
  type Purchase,
} from '../src/testing/index.js';

const START = at('10T00:00');
/** Whole units would leave no rest. */
const ODD = 3n * GIB + 12_345n;
const HOUR_MS = 3_600_000;

const databases: TestDatabase[] = [];
let h: Harness;
let journal: string[];

/** Takes less than was sent of one hour, refuses another, and is itself for the rest. */
const contrary: (m: FakeMarketplace) => MarketplaceAdapter = door((send) => async (items: UsageWireItem[]): Promise<UsageItemOutcome[]> => {
  const of = (hour: string): UsageWireItem[] => items.filter((i) => i.body.includes(`2026-03-${hour}`) && i.body.includes('"egress"'));
  const [less, none] = [of('10T04'), of('10T06')];
  const rest = await send(items.filter((i) => !less.includes(i) && !none.includes(i)));
  return [
    ...rest,
    ...less.map((i) => ({
      itemId: i.itemId,
      outcome: 'duplicate_conflict' as const,
      acceptedQuantity: '1',
      receipt: 'r-less',
      detail: 'they hold less',
    })),
    ...none.map((i) => ({ itemId: i.itemId, outcome: 'rejected' as const, code: 'bad_argument', detail: 'no' })),
  ];
});

async function fresh(): Promise<TestDatabase> {
  const database = await createTestDatabase();
  databases.push(database);
  return database;
}
async function* linesOf(lines: string[]): AsyncGenerator<string> {
  yield* lines;
}
const written = async (db: Database): Promise<string[]> => {
  const lines: string[] = [];
  await db.ops((tx) => writeJournal(tx, 'a test', (line) => void lines.push(line)));
  return lines;
};
async function replayed<T>(
  lines: string[],
  then: (result: Replayed, db: Database) => Promise<T> | T,
  over: Partial<ReplayOptions> = {},
): Promise<T> {
  const into = await fresh();
  const db = await openDatabase({ adminUrl: into.url(), secret: into.secret, poolSize: 2 });
  try {
    await checkJournal(linesOf(lines));
    return await then(
      await replayJournal(linesOf(lines), {
        db,
        traits: { azure: h.market.usage },
        logger: createLogger('test', 'silent'),
        ...over,
      }),
      db,
    );
  } finally {
    await db.close();
  }
}

/** One hour from `from` on: these placements report, hours are closed, what is due is sent. */
async function hour(from: Date, placements: string[], perStep: bigint): Promise<void> {
  const to = new Date(from.getTime() + HOUR_MS);
  h.clock.set(to);
  await h.report(placements, from, to, ODD, perStep, START);
  await h.metering.closeDueHours();
  await h.metering.submitDue();
}

/** Two days with all that makes the order matter. */
async function live(): Promise<void> {
  const gold = await h.fixtures.plan([{ ...STORED, included: { quantity: '5', period: 'month' } }, EGRESS, PROVISIONED]);
  const silver = await h.fixtures.plan([STORED, { ...EGRESS, basePerUnit: (4n * MIB).toString() }], 'silver');
  const steady = await h.buy(gold, START);
  const changing = await h.buy(gold, START);
  const ending = await h.buy(gold, START);
  const all = [steady, changing, ending].map((p) => p.placementId);
  await h.db.ops((tx) =>
    h.metering.recordEngineSample(tx, {
      subscriptionId: steady.subscriptionId,
      tenantId: steady.tenantId,
      placementId: steady.placementId,
      metric: 'provisioned_bytes',
      at: START,
      value: 10n * GIB,
    }),
  );
  for (let n = 0; n < 8; n += 1) await hour(new Date(START.getTime() + n * HOUR_MS), all, MIB + 7n);

  // A person carries what was refused.
  const [lost] = await h.rows<{ finding_id: string }>(
    `select finding_id from findings where kind = 'loss.quarantined' and subscription_id = $1`,
    [steady.subscriptionId],
  );
  await h.db.ops((tx) =>
    h.metering.settleByPerson(tx, {
      findingId: lost!.finding_id,
      settlement: 'carry',
      reason: 'Ada Winter asked for it',
      by: { keyId: 'ada-1', name: 'Ada Winter' },
    }),
  );

  // A change of plan at 08:20, told when hour 8 and 9 are closed.
  for (const n of [8, 9]) await hour(new Date(START.getTime() + n * HOUR_MS), all, MIB + 7n);
  await h.fixtures.cut(changing, at('10T08:20'), { planVersionId: silver, externalPlanId: 'silver' });

  // A hole of five hours, closed at the hold limit; then the samples of it come late, in two parts, with a closing between them.
  const post = async (p: Purchase, from: Date, to: Date, value: bigint): Promise<void> => {
    const events: unknown[] = [];
    for (let t = from.getTime(); t <= to.getTime(); t += 300_000) events.push(sampleEvent(h.source, p.placementId, new Date(t), value));
    await h.metering.ingest(h.cell, events);
  };
  h.clock.set(at('10T10:30'));
  await h.report([steady.placementId, changing.placementId], at('10T10:05'), at('10T10:30'), ODD, MIB, START);
  h.clock.set(at('10T17:00'));
  await h.metering.closeDueHours();
  await h.metering.submitDue();
  await post(steady, at('10T10:35'), at('10T10:55'), ODD + 5n);
  h.clock.set(at('10T17:05'));
  await h.metering.closeDueHours();
  await post(steady, at('10T11:00'), at('10T14:55'), ODD + 9n);

  // The counter starts again from 0.
  const events: unknown[] = [];
  for (let t = at('10T15:00').getTime(); t <= at('10T18:00').getTime(); t += 300_000)
    for (const p of all) {
      events.push(sampleEvent(h.source, p, new Date(t), ODD));
      events.push(
        sampleEvent(h.source, p, new Date(t), (MIB * BigInt(t - at('10T15:00').getTime())) / 300_000n, {
          kind: 'counter',
          epoch: 'boot-2',
        }),
      );
    }
  await h.metering.ingest(h.cell, [...events, watermarkEvent(h.source, at('10T18:00'))]);
  h.clock.set(at('10T18:00'));
  await h.metering.closeDueHours();
  await h.metering.submitDue();

  // An end that is told an hour too late.
  await h.fixtures.end(ending, at('10T17:20'));
  await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: ending.placementId, until: at('10T17:20') }));
  h.clock.set(at('10T18:30'));
  await h.metering.closeDueHours();
  await h.metering.submitDue();
  for (let n = 18; n < 30; n += 1) await hour(new Date(START.getTime() + n * HOUR_MS), all.slice(0, 2), 3n * MIB);
}

beforeAll(async () => {
  const origin = await fresh();
  h = await Harness.open(origin.url(), origin.secret, START, contrary);
  await live();
  journal = await written(h.db);
}, 60_000);
afterAll(async () => {
  await h.close();
  for (const d of databases) await d.drop();
});

describe('a journal, replayed into an empty database', () => {
  it('was written of an installation in which the order mattered', async () => {
    const causes = await h.rows<{ c: string }>(`select distinct term || ' ' || cause as c from ledger_entries order by 1`);
    for (const wanted of [
      'adjustment late',
      'deferred duplicate_conflict',
      'deferred settled',
      'estimated gap',
      'over_reported correction',
      'loss residue',
    ])
      expect(causes.map((r) => r.c)).toContain(wanted);
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  });

  it('gives the same records and ledger, twice, and the hash that the installation has', async () => {
    const mine = await h.db.ops((tx) => ledgerHash(tx));
    const first = await replayed(journal, async (result, db) => ({ result, again: await written(db) }));
    expect(first.result).toEqual({ ledgerHash: mine, purchases: 3, different: [], sumLaw: [] });
    expect((JSON.parse(journal.at(-1)!) as { ledgerHash: string }).ledgerHash).toBe(mine);
    const second = await replayed(journal, (r) => r);
    expect(second.ledgerHash).toBe(mine);
  });
});
