import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openDatabase } from '#platform';
import { silentLogger } from '#platform/testing';
import { createTestDatabase } from '../../../test/support/database.js';
import { toldLater } from '../src/application/resolve-lost.js';
import { ledgerHash, replayJournal, writeJournal } from '../src/index.js';
import { at } from '../src/testing/index.js';
import { LostAnswers } from './lost-answers.js';

let w: LostAnswers;
beforeEach(() => {
  w = new LostAnswers();
});
afterEach(() => w.close());

describe('an outcome of which no answer came, told by the read-back', () => {
  it('was taken where the sum and the count of the whole day say so: its receipt, once', async () => {
    await w.house('lost', 'lost');
    await w.pastDeadlines();
    expect(await w.terms()).toEqual({ measured: 9, accepted: 3, pending: 6 });
    expect(await w.readBack()).toEqual([[9, 9, 'equal']]);
    expect(await w.items()).toEqual([
      ['accepted', 'accepted'],
      ['accepted', 'read_back'],
      ['accepted', 'read_back'],
    ]);
    expect(await w.terms()).toEqual({ measured: 9, accepted: 9 });
    expect((await w.h.db.ops(toldLater)).map((f) => f.effect)).toEqual([
      expect.stringContaining('They show 9 in 3; ours are 3 in 1 with a receipt and 6 in 2 without an answer: exactly both'),
      expect.anything(),
    ]);
    expect(await w.explained()).toMatch(
      /No answer told how that ended\. What azure says it took, as of 2026-03-12T06:00.*all of it was taken/,
    );
    const rows = await w.h.rows('select * from late_outcomes');
    const entries = await w.h.rows('select * from ledger_entries');
    expect(await w.readBack()).toEqual([[9, 9, 'equal']]);
    expect(await w.h.rows('select * from late_outcomes')).toEqual(rows);
    expect(await w.h.rows('select * from ledger_entries')).toEqual(entries);
    await w.lawHolds();
  });

  it('was not taken where the day shows what has a receipt and no more: the loss it is', async () => {
    await w.house('unknown');
    await w.pastDeadlines();
    expect(await w.readBack()).toEqual([[3, 3, 'equal']]);
    expect(await w.items()).toEqual([
      ['accepted', 'accepted'],
      ['expired', 'not_taken'],
    ]);
    expect(await w.terms()).toEqual({ measured: 6, accepted: 3, loss: 3 });
    expect(await w.open()).toEqual(['loss.expired', 'unknown_outcome']);
    expect(await w.h.db.ops(toldLater)).toMatchObject([{ effect: expect.stringContaining('a named loss with a finding of its own') }]);
    expect(await w.explained()).toContain('nothing of the latter was taken. The amount is lost.');
    await w.lawHolds();
  });

  it('was not taken where nothing of the day is there at all, since the list shows all that they took', async () => {
    await w.lostAtOnce('unknown');
    await w.pastDeadlines();
    expect(await w.readBack()).toEqual([]);
    expect(await w.items()).toEqual([['expired', 'not_taken']]);
    expect(await w.terms()).toEqual({ measured: 3, loss: 3 });
    await w.lawHolds();
  });

  it('stays open where a part of them fits, and the finding says what was seen; nothing is over-reported by it', async () => {
    await w.house('lost', 'unknown');
    await w.pastDeadlines();
    expect(await w.readBack()).toEqual([[3, 6, 'quantity']]);
    expect((await w.items()).slice(1)).toEqual([
      ['unknown', 'unknown'],
      ['unknown', 'unknown'],
    ]);
    expect(await w.open()).toEqual(['drift.quantity', 'unknown_outcome', 'unknown_outcome']);
    expect(await w.why()).toBe(
      'They show 6 in 2; ours are 3 in 1 with a receipt and 6 in 2 without an answer. That is neither all of it nor what has a receipt alone: ask the marketplace which of them it holds.',
    );
    expect(await w.h.rows('select 1 from late_outcomes')).toEqual([]);
    await w.lawHolds();
  });

  it('waits for the lag after its deadline: until then their sum is not yet visible, and no finding', async () => {
    await w.house('lost');
    // The day is over, and the hour of 11:00 may be sent until 11:00.
    w.h.clock.set(at('11T06:00'));
    expect(await w.readBack('10T00:00', '11T00:00')).toEqual([[3, 6, 'not_yet_visible']]);
    await w.pastDeadlines('11T11:30');
    expect(await w.readBack('10T00:00', '11T00:00')).toEqual([[3, 6, 'not_yet_visible']]);
    expect(await w.open()).toEqual(['unknown_outcome']);
    await w.pastDeadlines('11T12:30');
    expect(await w.readBack('10T00:00', '11T00:00')).toEqual([[6, 6, 'equal']]);
    await w.lawHolds();
  });

  it('stays open where the sum fits and the count does not', async () => {
    await w.house('lost', 'lost');
    await w.pastDeadlines();
    const [twice] = w.h.market.billed().filter((b) => b.hour.includes('T11'));
    Object.assign(twice!, { quantity: '6' });
    w.h.market.takeBack(`${w.p.externalSubscriptionId}|stored|${at('10T12:00').toISOString()}`);
    expect(await w.readBack()).toEqual([[3, 9, 'quantity']]);
    expect(await w.why()).toContain('The sum would fit and the count does not');
    expect(await w.h.rows('select 1 from late_outcomes')).toEqual([]);
    await w.lawHolds();
  });

  it('stays open where persons gave up another one that may be in the sum', async () => {
    await w.house('lost', 'lost');
    await w.pastDeadlines();
    const [finding] = await w.h.rows<{ finding_id: string }>(`select finding_id from findings order by hour limit 1`);
    const [findingId, grace, brigid] = [
      finding!.finding_id,
      { keyId: 'g', name: 'Grace' },
      { keyId: 'b', name: 'Brigid', keyIssuedAt: null },
    ];
    await w.h.db.ops(async (tx) => {
      await w.h.metering.settleByPerson(tx, { findingId, settlement: 'write_off', reason: 'nobody knows', by: grace });
      await w.h.metering.confirmWriteOff(tx, { findingId, by: brigid });
    });
    expect(await w.readBack()).toEqual([[3, 9, 'quantity']]);
    expect(await w.why()).toContain('Another 1 may be in that sum');
    expect(await w.open()).toEqual(['drift.quantity', 'unknown_outcome']);
    await w.lawHolds();
  });

  it('stands where a later word contradicts it: that is a finding, and no row changes', async () => {
    await w.house('lost');
    await w.pastDeadlines();
    expect(await w.readBack()).toEqual([[6, 6, 'equal']]);
    const rows = await w.terms();
    w.h.market.takeBack(`${w.p.externalSubscriptionId}|stored|${at('10T11:00').toISOString()}`);
    expect(await w.readBack()).toEqual([[6, 3, 'quantity']]);
    expect(await w.open()).toContain('drift.quantity');
    expect(await w.terms()).toEqual(rows);
    await w.lawHolds();
  });

  it('is replayed with the journal, taken or not: the same ledger', async () => {
    await w.house('lost');
    await w.pastDeadlines();
    await w.readBack();
    const lines: string[] = [];
    await w.h.db.ops((tx) => writeJournal(tx, 'a test', (one) => void lines.push(one)));
    const into = await createTestDatabase();
    const db = await openDatabase({ adminUrl: into.url(), secret: into.secret, poolSize: 2 });
    try {
      const given = (async function* () {
        yield* lines;
      })();
      expect(await replayJournal(given, { db, traits: { azure: w.h.market.usage }, logger: silentLogger() })).toMatchObject({
        ledgerHash: await w.h.db.ops((tx) => ledgerHash(tx)),
        different: [],
        sumLaw: [],
      });
    } finally {
      await db.close();
      await into.drop();
    }
  });

  it('is missed by the sum law when its row is gone', async () => {
    await w.house('lost');
    await w.pastDeadlines();
    await w.readBack();
    await expect(w.h.rows('delete from late_outcomes')).rejects.toThrow();
    const admin = new pg.Client({ connectionString: w.database!.url() });
    await admin.connect();
    await admin.query('set session_replication_role = replica');
    await admin.query('delete from late_outcomes');
    await admin.end();
    const law = await w.h.db.ops((tx) => w.h.metering.checkSumLaw(tx));
    expect(law.series.flatMap((s) => s.missing)).toEqual([
      expect.stringContaining('an outcome has no attempt and no comparison that tells it'),
    ]);
  });
});

describe('an outcome of which no answer came, told by a usage report', () => {
  it('was taken where its day is whole and the sum is exact; a report that was made too early changes nothing', async () => {
    await w.house('lost');
    await w.pastDeadlines('12T08:00');
    expect(await w.report(w.line('6'))).toEqual([[3, 6, 'not_yet_visible']]);
    expect(await w.items()).toContainEqual(['unknown', 'unknown']);
    w.h.clock.set(at('14T00:00'));
    expect(await w.report(w.line('6.0'))).toEqual([[6, 6, 'equal']]);
    expect(await w.items()).toContainEqual(['accepted', 'usage_report']);
    expect(await w.explained()).toContain('A usage report of azure, as of 2026-03-14T00:00');
    await w.lawHolds();
    // A newer version takes it back: a finding at once, however young the outcome is here.
    w.h.clock.set(at('14T01:00'));
    expect(await w.report(w.line('3'))).toEqual([[6, 3, 'quantity']]);
    expect(await w.open()).toContain('drift.quantity');
    expect(await w.items()).toContainEqual(['accepted', 'usage_report']);
    await w.lawHolds();
  });

  it('was not taken where it tells of the purchase without it', async () => {
    await w.house('unknown');
    await w.pastDeadlines('14T00:00');
    expect(await w.report(w.line('3'))).toEqual([[3, 3, 'equal']]);
    expect(await w.items()).toContainEqual(['expired', 'not_taken']);
    expect(await w.terms()).toEqual({ measured: 6, accepted: 3, loss: 3 });
    // A newer version has it after all: a finding that names the item, and no over-reporting, since it was used.
    w.h.clock.set(at('15T00:00'));
    expect(await w.report(w.line('6'))).toEqual([[3, 6, 'quantity']]);
    expect(await w.open()).toEqual(['drift.quantity', 'loss.expired', 'unknown_outcome']);
    expect(await w.h.rows(`select evidence -> 'withoutReceipt' as items from findings where kind = 'drift.quantity'`)).toMatchObject([
      { items: [{ told: 'not_taken', units: '3' }] },
    ]);
    expect(await w.terms()).toEqual({ measured: 6, accepted: 3, loss: 3 });
    await w.lawHolds();
  });

  it('stays open by a report that rounds, and where the report may not cover its product', async () => {
    await w.lostAtOnce('lost');
    await w.pastDeadlines('14T00:00');
    expect(await w.report(w.line('7', 'a stranger'))).toEqual(
      expect.arrayContaining([
        [0, 0, 'equal'],
        [0, 7, 'foreign'],
      ]),
    );
    expect(await w.why()).toContain('it may not cover its product');
    w.h.clock.set(at('14T01:00'));
    await w.report(w.line('3'), { roundedTo: 2 });
    expect(await w.why()).toContain('The report rounds');
    expect(await w.items()).toEqual([['unknown', 'unknown']]);
    w.h.clock.set(at('14T02:00'));
    // It is named on another day, so the report covers it: its silence about this day counts.
    await w.report(`${w.line('0.0', w.p.externalSubscriptionId, '2026-03-11')}2026-03-10,a stranger,stored,7\n`);
    expect(await w.items()).toEqual([['expired', 'not_taken']]);
    await w.lawHolds();
  });
});
