import pg from 'pg';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { MeterTerms } from '#entitlements';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { getReconciliation } from '../src/index.js';
import { at, GIB, Harness, STORED, wholeMonth, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
let database: TestDatabase;
let h: Harness;
let p: Purchase;

beforeEach(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, START);
});
afterEach(async () => {
  await h.close();
  await database.drop();
});

const buy = async (terms: MeterTerms = STORED): Promise<void> => {
  p = await h.buy(await h.fixtures.plan([terms]), START);
};
const until = async (to: string, from = h.clock.now(), gib = 3n * GIB): Promise<void> => {
  h.clock.set(at(to));
  await h.report([p.placementId], from.getTime() === START.getTime() ? from : new Date(from.getTime() + 300_000), at(to), gib);
  await h.metering.closeDueHours();
  await h.metering.submitDue();
};
const terms = async (): Promise<Record<string, string>> =>
  Object.fromEntries(
    (
      await h.rows<{ term: string; q: string }>(
        `select term || case when term in ('non_billable', 'loss') then ':' || cause else '' end as term, round(sum(quantity) / $1::numeric, 3)::float::text as q
           from ledger_entries group by 1 having sum(quantity) <> 0 order by 1`,
        [STORED.basePerUnit],
      )
    ).map((r) => [r.term, r.q]),
  );
const states = async (): Promise<string[]> =>
  (await h.rows<{ state: string }>('select state from submission_items order by hour')).map((r) => r.state);
const lawHolds = async (): Promise<void> => {
  const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
  expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  expect(law.ok).toBe(true);
};
const losses = async (): Promise<string[]> =>
  (await h.rows<{ kind: string }>(`select kind from findings where kind like 'loss.%' or kind = 'over_reported' order by kind`)).map(
    (r) => r.kind,
  );

describe('the emission of a listing', () => {
  it('shadow freezes the wire item of every hour and sends none; live begins at its edge, without a gap and without a second time', async () => {
    await h.fixtures.emission('shadow', new Date(0));
    await h.fixtures.emission('live', at('10T12:00'));
    await buy({ ...STORED, included: { quantity: '4', period: 'month' } });
    await until('10T13:00');
    expect(await states()).toEqual(['shadow', 'accepted']);
    // The included quantity was used up in shadow: it does not begin anew with the switch.
    expect(await terms()).toEqual({ measured: '9', included: '4', 'non_billable:shadow': '2', accepted: '3' });
    expect(h.market.billed().map((b) => [b.hour.slice(11, 13), b.quantity])).toEqual([['12', '3']]);
    await lawHolds();
  });

  it.each([
    ['shadow', 'shadow', 'non_billable:shadow'],
    ['invoice', 'invoiced', 'non_billable:invoiced_outside'],
  ] as const)('%s makes records whose amounts leave the sum under its name, and no attempt', async (emission, state, term) => {
    await h.fixtures.emission(emission, new Date(0));
    await buy();
    await until('10T12:00');
    expect(await states()).toEqual([state, state]);
    expect(await terms()).toEqual({ measured: '6', [term]: '6' });
    expect(await h.rows(`select wire ->> 'body' as body from submission_items where wire is not null`)).toHaveLength(2);
    expect([await h.rows('select 1 from submission_attempts'), h.market.billed()]).toEqual([[], []]);
    await lawHolds();
    const month = await wholeMonth(h.metering.closeMonth({ month: '2026-03', requireFinal: false }));
    expect(month.units[0]).toMatchObject({
      accepted: '0',
      recorded: '6',
      shadow: emission === 'shadow' ? '6' : '0',
      invoicedOutside: emission === 'invoice' ? '6' : '0',
    });
    expect(month.because.some((why) => why.includes('submissions'))).toBe(false);
    const [record] = await h.rows<{ record_id: string }>('select record_id from usage_records order by hour limit 1');
    const told = await h.db.ops((tx) => h.metering.explainRecord(tx, record!.record_id));
    expect([told.differs, told.words.join(' ')]).toEqual([[], expect.stringContaining('not sent to azure')]);
  });

  it('none counts usage and makes no record', async () => {
    await h.fixtures.emission('none', new Date(0));
    await buy();
    await until('10T12:00');
    expect([await states(), await terms()]).toEqual([[], { measured: '6', 'non_billable:emission_none': '6' }]);
    await lawHolds();
  });

  it('no single row of it can go missing unseen', async () => {
    await h.fixtures.emission('shadow', new Date(0));
    await buy();
    await until('10T11:00');
    await lawHolds();
    const admin = new pg.Client({ connectionString: database.url() });
    await admin.connect();
    await admin.query('set session_replication_role = replica');
    for (const [change, back] of [
      [
        `update ledger_entries set cause = 'suspended' where cause = 'shadow' and term = 'non_billable'`,
        `update ledger_entries set cause = 'shadow' where cause = 'suspended'`,
      ],
      [`update submission_items set state = 'invoiced'`, `update submission_items set state = 'shadow'`],
      [
        `update ledger_entries set quantity = quantity + 1 where cause = 'shadow' and term = 'non_billable'`,
        `update ledger_entries set quantity = quantity - 1 where cause = 'shadow' and term = 'non_billable'`,
      ],
    ] as const) {
      await admin.query(change);
      expect((await h.db.ops((tx) => h.metering.checkSumLaw(tx))).ok, change).toBe(false);
      await admin.query(back);
      await lawHolds();
    }
    await admin.end();
  });

  it('keeps the emission of its own hour for late usage: what another kit sent is not sent again, and nothing of theirs is a loss', async () => {
    await h.fixtures.emission('shadow', new Date(0));
    await h.fixtures.emission('live', at('10T11:00'));
    await buy();
    // The last half hour of the shadow's hour comes only after it was closed.
    h.clock.set(at('10T17:05'));
    await h.report([p.placementId], START, at('10T10:30'), 3n * GIB);
    await h.metering.closeDueHours();
    await until('10T18:00', at('10T10:30'), 3n * GIB);
    await lawHolds();
    const sums = await terms();
    expect(await states()).toContain('shadow');
    expect(h.market.billed(p.externalSubscriptionId).map((b) => b.hour.slice(11, 13))).not.toContain('10');
    // Of the first hour 2.25 were frozen as 2; the rest of it ended with the switch, and 0.75 came late.
    expect(sums).toEqual({
      measured: '22.75',
      estimated: '0.5',
      adjustment: '0.75',
      'non_billable:shadow': '2.75',
      'non_billable:shadow.residue': '0.25',
      accepted: '21',
    });
    expect(await losses()).toEqual([]);
  });

  it('that goes back to shadow names what live usage it strands', async () => {
    await h.fixtures.emission('shadow', at('10T11:00'));
    await buy();
    h.clock.set(at('10T10:30'));
    await h.report([p.placementId], START, at('10T10:30'), 3n * GIB);
    h.clock.set(at('10T17:05'));
    await h.metering.closeDueHours();
    await until('10T18:00', at('10T10:30'), 3n * GIB);
    expect(h.market.billed().map((b) => [b.hour.slice(11, 13), b.quantity])).toEqual([['10', '2']]);
    expect(await losses()).toEqual(['loss.missed_window', 'loss.residue']);
    expect(await terms()).toMatchObject({
      accepted: '2',
      'loss:residue': '0.25',
      'loss:missed_window': '0.75',
      'non_billable:shadow': '21',
    });
    await lawHolds();
  });

  it('a purchase that ends in shadow loses nothing', async () => {
    await h.fixtures.emission('shadow', new Date(0));
    await buy({ ...STORED, decimals: 0 });
    h.clock.set(at('10T10:40'));
    await h.fixtures.end(p, at('10T10:40'));
    await h.db.ops((tx) => h.metering.unbindPlacement(tx, { placementId: p.placementId, until: at('10T10:40') }));
    await h.report([p.placementId], START, at('10T10:40'), 4n * GIB);
    h.clock.set(at('10T11:00'));
    await h.metering.closeDueHours();
    await h.metering.submitDue();
    expect(await states()).toEqual(['shadow']);
    const sums = await terms();
    expect([sums['non_billable:shadow'], sums['non_billable:shadow.residue'], await losses()]).toEqual(['2', '0.667', []]);
    expect(await h.db.ops((tx) => h.metering.isSettled(tx, p.subscriptionId))).toBe(true);
    await lawHolds();
  });

  it('in shadow is compared with what the other kit sent, shown, and no finding', async () => {
    await h.fixtures.emission('shadow', new Date(0));
    await buy();
    await until('10T12:00');
    // The other kit: one hour as we count it, the other one unit short.
    for (const [hour, quantity] of [
      [START, '3'],
      [at('10T11:00'), '2'],
    ] as const)
      await h.market.submitUsage([
        h.market.buildUsageItem({
          itemId: p.subscriptionId,
          externalSubscriptionId: p.externalSubscriptionId,
          externalPlanId: 'gold',
          dimension: 'stored',
          hourStart: hour,
          startsAt: hour,
          endsAt: new Date(hour.getTime() + 3_600_000),
          quantity,
          refs: {},
        }),
      ]);
    h.clock.set(at('11T12:00'));
    const id = await h.db.ops((tx) =>
      h.metering.requestReconciliation(tx, { marketplace: 'azure', from: at('10T00:00'), to: at('11T00:00'), requestedBy: 'ada' }),
    );
    await h.metering.runReconciliation(id);
    const job = await h.db.ops((tx) => getReconciliation(tx, id));
    expect(job!.lines).toMatchObject([{ ours: '6', theirs: '5', verdict: 'quantity', shadow: true }]);
    expect(job!.summary).toMatchObject({ balanced: true, verdicts: {}, shadow: { lines: 1, differing: 1 } });
    expect(await h.rows(`select 1 from findings where kind like 'drift.%'`)).toEqual([]);
  });
});
