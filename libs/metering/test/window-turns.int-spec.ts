import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openDatabase, type Database } from '#platform';
import { silentLogger } from '#platform/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { explainRecord } from '../src/application/explain.js';
import { ledgerHash, replayJournal, writeJournal, type Explanation } from '../src/index.js';
import { at, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
const databases: TestDatabase[] = [];
const opened: Database[] = [];
let h: Harness;
let p: Purchase;

/** Three hours of eight units of which ten a month are included; the month begins at 11:30. */
beforeAll(async () => {
  const database = await createTestDatabase();
  databases.push(database);
  h = await Harness.open(database.url(), database.secret, START);
  p = await h.buy(await h.fixtures.plan([{ ...STORED, included: { quantity: '10', period: 'month' } }]), START);
  await h.rows(`update segments set term_starts_at = '2026-01-10T11:30:00Z'`);
  h.clock.set(at('10T13:00'));
  await h.report([p.placementId], START, at('10T13:00'), 8n * GIB);
  await h.metering.closeDueHours();
});
afterAll(async () => {
  for (const db of opened) await db.close();
  await h.close();
  for (const d of databases) await d.drop();
});

const written = async (db: Database): Promise<string[]> => {
  const lines: string[] = [];
  await db.ops((tx) => writeJournal(tx, 'a test', (line) => void lines.push(line)));
  return lines;
};
async function* linesOf(lines: string[]): AsyncGenerator<string> {
  yield* lines;
}
const replayed = async (lines: string[]): Promise<Database> => {
  const into = await createTestDatabase();
  databases.push(into);
  const db = await openDatabase({ adminUrl: into.url(), secret: into.secret, poolSize: 2 });
  opened.push(db);
  await replayJournal(linesOf(lines), { db, traits: { azure: h.market.usage }, logger: silentLogger() });
  return db;
};
const hash = (db: Database): Promise<string> => db.ops((tx) => ledgerHash(tx));
const billed = async (db: Database): Promise<[string, string][]> =>
  db.ops(async (tx) =>
    (
      await tx.query<{ hour: Date; quantity: string }>(
        'select hour, trim_scale(quantity)::text as quantity from usage_records order by hour',
      )
    ).map((r) => [r.hour.toISOString().slice(11, 16), r.quantity]),
  );
const explained = (db: Database, hour: string): Promise<Explanation> =>
  db.ops(async (tx) => {
    const [record] = await tx.query<{ record_id: string }>('select record_id from usage_records where hour = $1', [at(hour)]);
    return explainRecord(tx, { ...h.deps, db }, record!.record_id);
  });

describe('an hour in which a month of the term begins', () => {
  it('draws on each month for its own part, and its explanation names both', async () => {
    // 8 of the old month; 2 of it and 2 billed, 4 of the new one; its last 6, and 2 billed.
    expect(await billed(h.db)).toEqual([
      ['11:00', '2'],
      ['12:00', '2'],
    ]);
    const x = await explained(h.db, '10T11:00');
    expect(x.differs).toEqual([]);
    expect(x.steps.filter((s) => s.step === 'included').map((s) => [s.words.slice(-22), s.base / (GIB * 3_600_000_000n)])).toEqual([
      ['(window of 2026-02-10)', -2n],
      ['(window of 2026-03-10)', -4n],
    ]);
    const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
    expect([law.ok, law.series.flatMap((s) => s.missing)]).toEqual([true, []]);
    expect(await hash(await replayed(await written(h.db)))).toBe(await hash(h.db));
  });

  it('that was closed by the first rules stays so: closed again, explained and replayed as it was', async () => {
    const first = (await written(h.db)).map((l) => l.replace(/"rules" : 2, /, ''));
    expect(first.some((l) => l.includes('"rules"'))).toBe(false);
    const old = await replayed(first);
    // The whole hour of 11:00 on the old month.
    expect(await billed(old)).toEqual([['11:00', '6']]);
    const x = await explained(old, '10T11:00');
    expect([x.sameInputs, x.differs]).toEqual([true, []]);
    expect(await hash(await replayed(await written(old)))).toBe(await hash(old));
    expect(await hash(old)).not.toBe(await hash(h.db));
  });
});
