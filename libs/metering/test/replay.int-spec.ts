import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type Database } from '#platform';
import { silentLogger } from '#platform/testing';
import type { CatalogPlan } from '#entitlements';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import {
  billingDiff,
  checkJournal,
  ledgerHash,
  replayJournal,
  writeJournal,
  type JournalFooter,
  type Replayed,
  type ReplayOptions,
} from '../src/index.js';
import { shardOf } from '../src/domain/merkle.js';
import { Harness } from '../src/testing/index.js';
import { contrary, liveEventfully, START } from './eventful-days.js';

const databases: TestDatabase[] = [];
let h: Harness;
let journal: string[];

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
  whole = true,
): Promise<T> {
  const into = await fresh();
  const db = await openDatabase({ adminUrl: into.url(), secret: into.secret, poolSize: 2 });
  try {
    if (whole) await checkJournal(linesOf(lines));
    return await then(
      await replayJournal(linesOf(lines), {
        db,
        traits: { azure: h.market.usage },
        logger: silentLogger(),
        ...over,
      }),
      db,
    );
  } finally {
    await db.close();
  }
}

beforeAll(async () => {
  const origin = await fresh();
  // All in one shard, which closes in pieces of a purchase each: the order between them is kept too.
  h = await Harness.open(origin.url(), origin.secret, START, contrary, {}, { seriesAtOnce: 1 });
  h.fixtures.newSubscriptionId = () => {
    for (;;) {
      const id = randomUUID();
      if (shardOf(id) === 7) return id;
    }
  };
  await liveEventfully(h);
  journal = await written(h.db);
}, 60_000);
afterAll(async () => {
  await h.close();
  for (const d of databases) await d.drop();
});

describe('a journal, replayed into an empty database', () => {
  it('was written of hours that were closed in pieces', async () => {
    expect(await h.rows('select 1 from hour_roots where shard = 7 group by hour having count(*) > 1 limit 1')).toHaveLength(1);
  });

  it('was written of an installation in which the order mattered', async () => {
    const causes = (await h.rows<{ c: string }>(`select distinct term || ' ' || cause as c from ledger_entries`)).map((r) => r.c);
    expect(causes).toEqual(
      expect.arrayContaining([
        'adjustment late',
        'deferred duplicate_conflict',
        'deferred settled',
        'estimated gap',
        'over_reported correction',
        'loss residue',
      ]),
    );
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
    expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  });

  it('gives the same records and ledger, twice, and the hash that the installation has', async () => {
    const mine = await h.db.ops((tx) => ledgerHash(tx));
    const footer = JSON.parse(journal.at(-1)!) as JournalFooter;
    expect(footer.ledgerHash).toBe(mine);
    const first = await replayed(journal, async (result, db) => ({
      result,
      ofReplay: await written(db),
      sent: await db.ops((tx) =>
        tx.query(`select 'call' as what from calls union all select 'task' from tasks union all select 'attempt' from submission_attempts
          union all select 'wire' from submission_items where wire is not null`),
      ),
    }));
    expect(first.sent).toEqual([]);
    expect(first.result).toEqual({ ledgerHash: mine, purchases: 4, different: [], sumLaw: [] });
    // A journal of the replay is a journal, too.
    expect((await replayed(first.ofReplay, (r) => r)).ledgerHash).toBe(mine);
  });

  it('gives another ledger where the order is another: with every sample there from the beginning', async () => {
    const samples = journal.filter((l) => l.startsWith('{"line" : "sample"'));
    const [head, rest] = [
      journal.filter((l) => /^{"line":"(header|plan|price)"/.test(l)),
      journal.filter((l) => /^{"line" : "(?!sample)/.test(l)),
    ];
    const result = await replayed([...head, ...samples, ...rest], (r) => r, {}, false);
    expect(result.ledgerHash).not.toBe((JSON.parse(journal.at(-1)!) as JournalFooter).ledgerHash);
  });

  it('tells which records another catalog would change, and what that is in money', async () => {
    const plans = journal.filter((l) => l.startsWith('{"line":"plan"')).map((l) => (JSON.parse(l) as { plan: CatalogPlan }).plan);
    // Twice as much is included, and what is downloaded is counted in other units.
    const catalog = plans
      .filter((p) => p.externalPlanId === 'gold')
      .map((p) => ({
        ...p,
        meters: p.meters.map((m) =>
          m.dimension === 'stored'
            ? { ...m, included: { quantity: '10', period: 'month' as const } }
            : m.dimension === 'egress'
              ? { ...m, meter: 'mb_egress', listedUnit: 'MB', basePerUnit: '1000000' }
              : m,
        ),
      }));
    const into = await fresh();
    const db = await openDatabase({ adminUrl: into.url(), secret: into.secret, poolSize: 2 });
    try {
      const diff = await billingDiff(() => linesOf(journal), { db, traits: { azure: h.market.usage }, logger: silentLogger(), catalog });
      expect(diff.notInCatalog).toEqual(['azure/object-cells/silver']);
      const stored = diff.sums.find((s) => s.dimension === 'stored')!;
      // 5 more are included for each of the three purchases.
      expect(Number(stored.before) - Number(stored.after)).toBe(15);
      expect(stored.money).toEqual([
        { currency: 'USD', before: expect.any(String) as string, after: expect.any(String) as string, difference: '-3.75' },
      ]);
      expect(diff.sums.map((s) => `${s.dimension} ${s.unit}`)).toEqual(['egress MB', 'egress MiB', 'stored GiB-hour']);
      expect(diff.changes.filter((c) => c.dimension === 'provisioned')).toEqual([]);
      const mib = diff.changes.filter((c) => c.dimension === 'egress' && c.before?.planId === 'gold');
      expect(mib.length).toBeGreaterThan(20);
      expect(mib.filter((c) => c.before?.unit !== 'MiB' || c.after?.unit !== 'MB' || c.money !== null)).toEqual([]);
    } finally {
      await db.close();
    }
  });

  it('sees one ledger row that was tampered with, and one answer that was', async () => {
    const admin = new pg.Client({ connectionString: databases[0]!.url() });
    await admin.connect();
    try {
      await admin.query(`set session_replication_role = replica`);
      const rows = await admin.query<{ subscription_id: string }>(
        `select subscription_id from ledger_entries where term = 'measured' order by subscription_id, hour, meter`,
      );
      const ids = [...new Set(rows.rows.map((r) => r.subscription_id))];
      const [tampered, answered] = [ids[0]!, ids[1]!];
      await admin.query(
        `update ledger_entries set quantity = quantity + 1 where ctid = (select ctid from ledger_entries where term = 'measured' and subscription_id = $1 limit 1)`,
        [tampered],
      );
      await admin.query(
        `update ledger_entries set quantity = quantity + 1 where ctid = (select ctid from ledger_entries where term = 'accepted' and cause = 'accepted' and subscription_id = $1 limit 1)`,
        [answered],
      );
      const lines = await written(h.db);
      const result = await replayed(lines, (r) => r);
      expect(result.ledgerHash).not.toBe((JSON.parse(lines.at(-1)!) as JournalFooter).ledgerHash);
      // An answer is told by the journal, so the ledger is that of the origin; but it fits no record.
      expect(result.different).toEqual([tampered]);
      expect(result.sumLaw.some((s) => s.startsWith(answered) && s.includes('an item and its ledger entries differ'))).toBe(true);
      expect(result.sumLaw.every((s) => s.startsWith(answered))).toBe(true);
    } finally {
      await admin.end();
    }
  });
});

describe('what a journal holds', () => {
  it('is one moment of ids and amounts: no name, address, key or foreign id', async () => {
    const text = journal.join('\n');
    const told = await h.rows<{ v: string }>(
      `select distinct v from (
         select display_name as v from tenants union select slug from tenants union select name from subscriptions union select buyer_account_id from subscriptions
         union select external_subscription_id from subscriptions union select source from prices union select recorded_by from prices
         union select principal from usage_events where principal <> 'engine' union select source from usage_events where source <> '/berth/engine'
         union select event_id from usage_events where source <> '/berth/engine' union select epoch from usage_events where epoch <> ''
         union select receipt from submission_items) x where v is not null`,
    );
    expect(told.length).toBeGreaterThan(100);
    expect(told.filter(({ v }) => text.includes(v))).toEqual([]);
    const words = ['Winter', 'Holm', 'ada.', '"ada-1"', '@', 'asked for it', 'acct-of', 'Cells', h.clusterId];
    expect(words.filter((word) => text.includes(word))).toEqual([]);
  });

  it('leaves out a purchase with hours from before the order was noted, and says so', async () => {
    const admin = new pg.Client({ connectionString: databases[0]!.url() });
    await admin.connect();
    try {
      await admin.query(`set session_replication_role = replica`);
      const [old] = (
        await admin.query<{ subscription_id: string; shard: number; root_sequence: string }>(
          'select * from hour_closings order by hour limit 1',
        )
      ).rows;
      await admin.query('delete from closing_steps where shard = $1 and root_sequence = $2', [old!.shard, old!.root_sequence]);
      const lines = await written(h.db);
      expect((JSON.parse(lines[0]!) as { leftOut: number }).leftOut).toBe(1);
      const about = lines.filter((l) => !l.startsWith('{"line" : "sample"') && l.includes(old!.subscription_id));
      expect(about).toEqual([]);
    } finally {
      await admin.end();
    }
  });
});
