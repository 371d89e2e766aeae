import { afterEach, describe, expect, it } from 'vitest';
import type { MarketplaceAdapter, UsageItemOutcome, UsageWireItem } from '#marketplaces/core';
import type { FakeMarketplace } from '#marketplaces/core/testing';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { listCredits, listFindings, PriceBook, type FindingKind, type SettlementKind } from '../src/index.js';
import { at, GIB, Harness, STORED, type Purchase } from '../src/testing/index.js';

const START = at('10T10:00');
const ADA = { keyId: 'ada-1', name: 'Ada Winter' };
const HOLM = { keyId: 'holm-1', name: 'Brigid Holm', keyIssuedAt: at('01T00:00') };

let database: TestDatabase;
let h: Harness;
let p: Purchase;
afterEach(async () => {
  await h.close();
  await database.drop();
});

async function open(
  capacity: bigint,
  wrap?: (m: FakeMarketplace) => MarketplaceAdapter,
  usage: Partial<MarketplaceAdapter['usage']> = {},
  start = START,
  withPrices = true,
) {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, start, wrap, usage);
  h.fixtures.withPrices = withPrices;
  p = await h.buy(await h.fixtures.plan([STORED], 'gold', capacity.toString()), start);
}
const hour = async (from: Date, value: bigint): Promise<void> => {
  const to = new Date(from.getTime() + 3_600_000);
  h.clock.set(to);
  await h.report([p.placementId], from, to, value);
  await h.metering.closeDueHours();
  await h.metering.submitDue();
};
const finding = async (kind: FindingKind): Promise<string> =>
  (await h.rows<{ finding_id: string }>('select finding_id from findings where kind = $1 and settlement is null', [kind]))[0]!.finding_id;
const settle = async (kind: FindingKind, settlement: SettlementKind, reference?: string): Promise<'settled' | 'proposed'> => {
  const findingId = await finding(kind);
  return h.db.ops((tx) =>
    h.metering.settleByPerson(tx, { findingId, settlement, reason: 'as agreed', by: ADA, ...(reference ? { reference } : {}) }),
  );
};
const confirm = async (findingId: string, by = HOLM): Promise<void> => h.db.ops((tx) => h.metering.confirmWriteOff(tx, { findingId, by }));
const items = (): Promise<Record<string, unknown>[]> => h.rows('select state, last_code from submission_items order by hour');
const lawHolds = async (): Promise<void> => {
  const law = await h.db.ops((tx) => h.metering.checkSumLaw(tx));
  expect(law.series.flatMap((s) => s.missing)).toEqual([]);
  expect(law.ok).toBe(true);
};
const ledger = (term: string): Promise<{ cause: string; q: string }[]> =>
  h.rows(
    `select cause, (sum(quantity) / ${GIB * 3_600_000_000n})::bigint::text as q from ledger_entries where term = $1 group by cause having sum(quantity) <> 0 order by 1`,
    [term],
  );

/** Answers `rejected` for the first hour, and is itself for all others. */
const refusesFirst = (m: FakeMarketplace): MarketplaceAdapter =>
  new Proxy(m, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (name !== 'submitUsage') return typeof value === 'function' ? (value as () => unknown).bind(target) : value;
      return async (batch: UsageWireItem[]): Promise<UsageItemOutcome[]> => {
        const bad = batch.filter((i) => i.body.includes(START.toISOString().slice(0, 13)));
        const rest = await target.submitUsage(batch.filter((i) => !bad.includes(i)));
        return [...rest, ...bad.map((i) => ({ itemId: i.itemId, outcome: 'rejected' as const, code: 'bad_argument', detail: 'no' }))];
      };
    },
  });

describe('a write-off', () => {
  it('waits for a second person, who comes from the credential, and names the loss', async () => {
    await open(GIB);
    await hour(START, 50n * GIB);
    expect(await items()).toEqual([{ state: 'held', last_code: null }]);
    const id = await finding('held_implausible');
    await expect(confirm(id)).rejects.toThrow(/no_proposal/);
    expect(await settle('held_implausible', 'write_off')).toBe('proposed');
    expect(await items()).toEqual([{ state: 'held', last_code: null }]);
    for (const by of [
      { ...ADA, keyIssuedAt: at('01T00:00') },
      { keyId: 'ada-2', name: 'Ada Winter', keyIssuedAt: at('01T00:00') },
      { ...HOLM, keyIssuedAt: at('10T12:00') },
    ])
      await expect(confirm(id, by)).rejects.toThrow(/second_person_needed/);
    await confirm(id);
    expect(await items()).toEqual([{ state: 'expired', last_code: 'written_off' }]);
    expect(await ledger('pending')).toEqual([
      { cause: 'quarantined', q: '-50' },
      { cause: 'record', q: '50' },
    ]);
    expect(await ledger('loss')).toEqual([{ cause: 'quarantined', q: '50' }]);
    expect(h.market.billed(p.externalSubscriptionId)).toEqual([]);
    expect(
      await h.rows(
        `select kind, settlement ->> 'kind' as by, settlement ->> 'actor' as first, settlement ->> 'secondActor' as second, proposal from findings order by kind`,
      ),
    ).toEqual([
      { kind: 'held_implausible', by: 'write_off', first: 'ada-1', second: 'holm-1', proposal: null },
      { kind: 'loss.quarantined', by: 'write_off', first: 'finding', second: null, proposal: null },
    ]);
    await expect(confirm(id)).rejects.toThrow(/already_settled/);
    await lawHolds();
  });

  it('of what may have been taken waits until the window is closed', async () => {
    await open(100n * GIB, undefined, { safeResend: false });
    h.market.failNext('submitUsage', 'lost');
    await hour(START, 3n * GIB);
    const id = await finding('unknown_outcome');
    await settle('unknown_outcome', 'write_off');
    await expect(confirm(id)).rejects.toThrow(/window_open/);
    h.clock.set(at('11T12:00'));
    await confirm(id);
    expect(await items()).toEqual([{ state: 'expired', last_code: 'written_off' }]);
    expect(await ledger('loss')).toEqual([{ cause: 'expired', q: '3' }]);
    await lawHolds();
  });
});

describe('carry', () => {
  it('moves a refused hour into a later one of the month, and the buyer pays it once', async () => {
    await open(100n * GIB, refusesFirst);
    await hour(START, 3n * GIB);
    expect(await ledger('loss')).toEqual([{ cause: 'quarantined', q: '3' }]);
    expect(await settle('loss.quarantined', 'carry')).toBe('settled');
    expect(await ledger('loss')).toEqual([]);
    expect(await ledger('deferred')).toEqual([{ cause: 'settled', q: '3' }]);
    await lawHolds();
    await hour(at('10T11:00'), 4n * GIB);
    expect(h.market.billed(p.externalSubscriptionId).map((b) => b.quantity)).toEqual(['7']);
    expect(await ledger('accepted')).toEqual([{ cause: 'accepted', q: '7' }]);
    await lawHolds();
  });

  it('is refused where no later hour of the segment and month is left', async () => {
    await open(100n * GIB, refusesFirst);
    await hour(START, 3n * GIB);
    await h.fixtures.cut(p, at('10T11:00'), { planVersionId: await h.fixtures.plan([STORED], 'silver'), externalPlanId: 'silver' });
    await expect(settle('loss.quarantined', 'carry')).rejects.toThrow(/no_later_hour/);
    expect(await ledger('loss')).toEqual([{ cause: 'quarantined', q: '3' }]);
    await lawHolds();
  });
});

describe('the other ways', () => {
  it('release lets a held hour go with its own hour, once', async () => {
    await open(GIB);
    await hour(START, 50n * GIB);
    expect(await settle('held_implausible', 'release')).toBe('settled');
    await h.metering.submitDue();
    expect(h.market.billed(p.externalSubscriptionId).map((b) => [b.hour, b.quantity])).toEqual([[START.toISOString(), '50']]);
    await lawHolds();
  });

  it('resubmit sends the same bytes while the window is open; a second loss is a finding of its own', async () => {
    await open(100n * GIB, undefined, { safeResend: false });
    h.market.failNext('submitUsage', 'lost');
    await hour(START, 3n * GIB);
    h.market.failNext('submitUsage', 'lost');
    await settle('unknown_outcome', 'resubmit');
    await h.metering.submitDue();
    expect(await h.rows(`select count(*)::int as n from findings where kind = 'unknown_outcome'`)).toEqual([{ n: 2 }]);
    await settle('unknown_outcome', 'resubmit');
    await h.metering.submitDue();
    expect(await items()).toEqual([{ state: 'accepted', last_code: 'duplicate_equal' }]);
    expect(h.market.billed(p.externalSubscriptionId)).toHaveLength(1);
    await lawHolds();
  });

  it('resubmit is refused after the hard deadline, with words', async () => {
    await open(100n * GIB, undefined, { safeResend: false });
    h.market.failNext('submitUsage', 'lost');
    await hour(START, 3n * GIB);
    h.clock.set(at('11T12:00'));
    await expect(settle('unknown_outcome', 'resubmit')).rejects.toMatchObject({ code: 'finding.window_closed' });
    await expect(settle('unknown_outcome', 'carry')).rejects.toMatchObject({ code: 'finding.settlement_not_for_kind' });
  });

  it('claim_refund opens a credit with its date, priced when a price is known and never 0; the records stay', async () => {
    await open(100n * GIB, undefined, {}, START, false);
    await hour(START, 3n * GIB);
    const raise = (n: number): Promise<boolean> =>
      h.db.ops((tx) =>
        h.metering.raiseFinding(tx, {
          kind: 'over_reported',
          dedupeKey: `o${n}`,
          tenantId: p.tenantId,
          subscriptionId: p.subscriptionId,
          dimension: 'stored',
          hour: START,
          units: '2',
          evidence: {},
        }),
      );
    await raise(1);
    const before = await h.rows('select * from usage_records');
    await settle('over_reported', 'claim_refund');
    await h.db.ops((tx) =>
      h.metering.recordPrice(tx, {
        marketplace: 'azure',
        externalOfferId: 'object-cells',
        externalPlanId: 'gold',
        dimension: 'stored',
        subscriptionId: null,
        currency: 'USD',
        unitPrice: '0.0375',
        effectiveFrom: at('01T00:00'),
        source: 'listing of 2026-03',
        recordedBy: 'ada-1',
      }),
    );
    await raise(2);
    await settle('over_reported', 'claim_refund');
    const { items: credits } = await h.db.ops((tx) => listCredits(tx, { limit: 10, after: null }));
    expect(credits.map((c) => [c.amount, c.currency, c.channel, c.state, c.deadline?.toISOString()])).toEqual([
      [null, null, 'azure_claim', 'open', '2026-04-09T10:00:00.000Z'],
      ['0.075', 'USD', 'azure_claim', 'open', '2026-04-09T10:00:00.000Z'],
    ]);
    const end = { creditId: credits[0]!.credit_id, completed: true, reference: 'claim 7', by: 'ada-1' };
    await expect(h.db.ops((tx) => h.metering.endCredit(tx, end))).rejects.toThrow(/amount_missing/);
    await h.db.ops((tx) => h.metering.endCredit(tx, { ...end, amount: '0.08', currency: 'USD' }));
    await expect(h.db.ops((tx) => h.metering.endCredit(tx, { ...end, completed: false }))).rejects.toThrow(/credit.ended/);
    expect(await h.rows('select * from usage_records')).toEqual(before);
    await raise(3);
    h.clock.set(new Date('2026-04-09T10:00:01Z'));
    await expect(settle('over_reported', 'claim_refund')).rejects.toMatchObject({ code: 'credit.too_late' });
    const money = await h.db.ops(async (tx) =>
      (await PriceBook.load(tx, [p.subscriptionId])).money(p.subscriptionId, 'stored', START, '2'),
    );
    expect(money).toMatchObject({ amount: '0.075', price: { source: 'listing of 2026-03', provisional: false } });
    await lawHolds();
  });

  it('a credit of a record never gives back more than was accepted, however many ask at once', async () => {
    await open(100n * GIB);
    await hour(START, 3n * GIB);
    const [record] = await h.rows<{ record_id: string }>('select record_id from usage_records');
    const credit = (units: string): Promise<unknown> =>
      h.db.ops((tx) =>
        h.metering.openCredit(tx, {
          tenantId: p.tenantId,
          subscriptionId: p.subscriptionId,
          findingId: null,
          recordId: record!.record_id,
          dimension: 'stored',
          hour: START,
          units,
          reference: null,
          reason: 'a wrong import',
          by: 'ada-1',
        }),
      );
    await credit('2');
    await expect(credit('1.000001')).rejects.toThrow(/more_than_accepted/);
    const atOnce = await Promise.allSettled(Array.from({ length: 10 }, () => credit('1')));
    expect(atOnce.filter((c) => c.status === 'fulfilled')).toHaveLength(1);
  });

  it('invoice_outside wants the invoice, fix_mapping looks whether it is so, and release of a task names the task', async () => {
    await open(100n * GIB, refusesFirst);
    await hour(START, 3n * GIB);
    await expect(settle('loss.quarantined', 'invoice_outside')).rejects.toMatchObject({ code: 'finding.reference_missing' });
    expect(await settle('loss.quarantined', 'invoice_outside', 'INV-2026-17')).toBe('settled');
    const raise = (kind: FindingKind, evidence: Record<string, unknown>): Promise<boolean> =>
      h.db.ops((tx) =>
        h.metering.raiseFinding(tx, {
          kind,
          dedupeKey: kind,
          subscriptionId: p.subscriptionId,
          dimension: kind === 'price_unknown' ? 'unlisted' : 'stored',
          hour: START,
          units: '1',
          evidence,
        }),
      );
    await raise('price_unknown', {});
    await expect(settle('price_unknown', 'fix_mapping')).rejects.toMatchObject({ code: 'finding.price_still_unknown' });
    await raise('unmapped_plan', { marketplace: 'azure', externalSubscriptionId: 'nobody' });
    await expect(settle('unmapped_plan', 'fix_mapping')).rejects.toMatchObject({ code: 'finding.still_unmapped' });
    await raise('drift.plan', { marketplace: 'azure' });
    await expect(settle('drift.plan', 'fix_mapping')).rejects.toMatchObject({ code: 'finding.still_differs' });
    await raise('lane_parked', { taskId: 'tsk_1' });
    await expect(settle('lane_parked', 'release')).rejects.toMatchObject({ code: 'finding.release_the_task' });
    const rows = await h.db.ops((tx) => listFindings(tx, { limit: 50, open: true }));
    expect(rows.items.map((f) => [f.kind, f.marketplace])).toEqual([
      ['price_unknown', 'azure'],
      ['unmapped_plan', 'azure'],
      ['drift.plan', 'azure'],
      ['lane_parked', 'azure'],
    ]);
  });
});
