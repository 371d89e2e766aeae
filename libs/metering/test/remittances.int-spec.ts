import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createTestDatabase, type TestDatabase } from '../../../test/support/database.js';
import { listAllocations, listRemittances, type ImportResult } from '../src/index.js';
import { at, Harness, STORED, type Purchase } from '../src/testing/index.js';

let database: TestDatabase;
let h: Harness;
let p: Purchase;
beforeAll(async () => {
  database = await createTestDatabase();
  h = await Harness.open(database.url(), database.secret, at('31T10:00'), undefined, {}, {}, ['gcp']);
  p = await h.buy(await h.fixtures.plan([STORED]), at('31T10:00'));
});
afterAll(async () => {
  await h.close();
  await database.drop();
});

const MAPPING = {
  reference: 'Payment ID',
  purchase: 'Asset ID',
  month: 'Usage date',
  gross: 'Charged',
  fee: 'Store fee',
  net: 'Earned',
  invoice: 'Invoice',
};
/** As a European spreadsheet saves it: byte order mark, semicolons, decimal commas, negative fees, a quoted field over two lines. */
const file = (payment: string, first = '100,00'): string =>
  `\ufeffPayment ID;Asset ID;Usage date;Charged;Store fee;Earned;Invoice;Remark\r\n` +
  `${payment};${p.externalSubscriptionId};2026-03-31;${first};-3,00;97,00;"I;1";"two\nlines"\r\n` +
  `${payment};${p.externalSubscriptionId};2026-03-30;1.050,25;-31,50;1.018,75;"I;1";\r\n\r\n` +
  `${payment};somebody-else;2026-03-30;7,00;0;7,00;;ragged\r\n`;
const load = (csv: string, over: Record<string, unknown> = {}): Promise<ImportResult> =>
  h.db.ops((tx) =>
    h.metering.importRemittances(tx, {
      marketplace: 'azure',
      csv,
      mapping: MAPPING,
      constants: { currency: 'EUR' },
      dryRun: false,
      by: 'ada-1',
      ...over,
    }),
  );
const stored = (): Promise<{ n: number }[]> => h.rows('select count(*)::int as n from remittances');

describe('payout files', () => {
  it('are shown before they are stored, read as people write them, and stored once', async () => {
    const preview = await load(file('PAY-1'), { dryRun: true });
    expect(await stored()).toEqual([{ n: 0 }]);
    expect([preview.delimiter, preview.decimal, preview.deductionsWereNegative]).toEqual([';', 'comma', true]);
    expect(preview.remittances[0]).toMatchObject({
      outcome: 'new',
      draft: { gross: '1157.25', fee: '34.5', net: '1122.75', payout: '1122.75', unexplained: '0' },
    });
    expect(preview.remittances[0]!.draft.lines[0]!.raw['Remark']).toBe('two\nlines');
    await load(file('PAY-1'));
    const again = await load(file('PAY-1'));
    expect(again.remittances.map((r) => r.outcome)).toEqual(['duplicate']);
    expect(await stored()).toEqual([{ n: 1 }]);
    const { items } = await h.db.ops((tx) => listRemittances(tx, { limit: 10, after: null }));
    expect(items).toMatchObject([{ reference: 'PAY-1', gross: '1157.25', unallocated: '7', lines: 3, unexplained: '0' }]);
    const allocations = await h.db.ops((tx) => listAllocations(tx, items[0]!.remittance_id));
    expect(allocations.map((a) => [a.kind, a.external_id, a.subscription_id, a.month, a.invoice, a.amount])).toEqual([
      ['purchase', p.externalSubscriptionId, p.subscriptionId, '2026-03', 'I;1', '1150.25'],
      ['unallocated', null, null, null, null, '7'],
    ]);
  });

  it('with other figures under a known reference are refused whole', async () => {
    const both = file('PAY-1', '101,00') + file('PAY-9').split('\r\n').slice(1).join('\r\n');
    await expect(load(both)).rejects.toMatchObject({ code: 'remittance.conflict' });
    expect(await stored()).toEqual([{ n: 1 }]);
  });

  it('name each fault by line and column, and store nothing', async () => {
    const bad = `Payment ID,Asset ID,Usage date,Charged,Store fee,Earned,Invoice\nP,x,31/03/2026,1.5,0,1.5,\nP,x,2026-03,lots,0,2.5,\n`;
    await expect(load(bad)).rejects.toMatchObject({
      code: 'remittance.faults',
      extra: { errors: [{ field: 'line 2, Usage date' }, { field: 'line 3, Charged' }] },
    });
    await expect(load('a,b\n1,2\n')).rejects.toMatchObject({ code: 'remittance.mapping' });
    const unclear = `Payment ID,Asset ID,Usage date,Charged,Store fee,Earned,Invoice\nP,x,2026-03,"1,234",0,"1,234",\n`;
    await expect(load(unclear)).rejects.toMatchObject({ code: 'remittance.decimal_unclear' });
    expect((await load(unclear, { decimal: 'point', dryRun: true })).remittances[0]!.draft.gross).toBe('1234');
  });

  it('are allocated anew by a person, with the rest in a row of its own; no sum can be broken, not even in the database', async () => {
    const { items } = await h.db.ops((tx) => listRemittances(tx, { limit: 10, after: null }));
    const remittanceId = items[0]!.remittance_id;
    const wanted = { month: '2026-02', externalId: p.externalSubscriptionId, dimension: null, invoice: 'I;2' };
    const give = (amount: string): Promise<void> =>
      h.db.ops((tx) =>
        h.metering.allocateRemittance(tx, { remittanceId, wanted: [{ ...wanted, amount }], by: 'ada-1', reason: 'the invoice says so' }),
      );
    await expect(give('1157.26')).rejects.toMatchObject({ code: 'remittance.over_allocated' });
    await give('1000');
    expect((await h.db.ops((tx) => listAllocations(tx, remittanceId))).map((a) => [a.version, a.kind, a.amount])).toEqual([
      [2, 'purchase', '1000'],
      [2, 'unallocated', '157.25'],
    ]);
    await expect(
      h.rows(
        `insert into remittance_allocations (remittance_id, version, ordinal, kind, amount, made_at, made_by, reason) values ($1, 3, 1, 'unallocated', 1157.24, now(), 'x', 'x')`,
        [remittanceId],
      ),
    ).rejects.toThrow(/do not add up/);
    await expect(h.rows('update remittances set gross = 1 where remittance_id = $1', [remittanceId])).rejects.toThrow(/immutable/);
  });

  it('that were wrong are voided, and may then be imported again', async () => {
    const { items } = await h.db.ops((tx) => listRemittances(tx, { limit: 10, after: null }));
    await h.db.ops((tx) => h.metering.voidRemittance(tx, { remittanceId: items[0]!.remittance_id, by: 'ada-1', reason: 'wrong column' }));
    expect((await load(file('PAY-1', '101,00'))).remittances.map((r) => r.outcome)).toEqual(['new']);
    expect(await stored()).toEqual([{ n: 2 }]);
  });

  it('of a marketplace that tells apart accounts only are matched by the account, and no purchase is guessed', async () => {
    const ids = await Promise.all(
      [1, 2].map(
        async () =>
          (await h.buy(await h.fixtures.plan([STORED], 'gold', undefined, 'gcp'), at('31T10:00'), 'gold', h.others[0])).subscriptionId,
      ),
    );
    await h.rows(`update subscriptions set buyer_account_id = 'acct-7' where subscription_id = any($1::uuid[])`, [ids]);
    const csv = `Disbursement,Account,Month,Gross,Net\nD1,acct-7,2026-03,12.50,12.50\n`;
    const mapping = { reference: 'Disbursement', purchase: 'Account', month: 'Month', gross: 'Gross', net: 'Net' };
    const result = await load(csv, { marketplace: 'gcp', mapping, constants: { currency: 'USD' } });
    expect(result.remittances[0]!.allocations[0]!.subscriptionIds.sort()).toEqual(ids.sort());
    expect(await h.db.ops((tx) => listAllocations(tx, result.remittances[0]!.remittanceId!))).toMatchObject([
      { grain: 'account', external_id: 'acct-7', subscription_id: null },
    ]);
  });
});
