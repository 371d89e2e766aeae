import { setImmediate } from 'node:timers/promises';
import { toPublicId } from '#platform';
import { LEDGER_TERMS, termUnits, type MonthHead, type MonthMoney, type MonthPayout, type MonthPiece, type MonthUnits } from '#metering';
import { csvLine } from '../support/csv.js';

const unitView = (u: MonthUnits): Record<string, unknown> => ({
  marketplace: u.marketplace,
  subscriptionId: toPublicId('sub', u.subscriptionId),
  externalSubscriptionId: u.externalSubscriptionId,
  test: u.test,
  meter: u.meter,
  planId: u.planId || null,
  dimension: u.dimension || null,
  listedUnit: u.listedUnit || null,
  basePerUnit: u.basePerUnit,
  samples: u.samples,
  terms: Object.fromEntries(LEDGER_TERMS.map((t) => [t, { base: u.terms[t].toString(), units: termUnits(u, t) }])),
  difference: u.difference.toString(),
  records: u.records,
  recorded: u.recorded,
  receipts: u.receipts,
  accepted: u.accepted,
  shadow: u.shadow,
  invoicedOutside: u.invoicedOutside,
  prices: u.prices,
  unpriced: u.unpriced,
});

const payoutView = (p: MonthPayout): Record<string, unknown> => ({
  id: toPublicId('rem', p.remittance_id),
  marketplace: p.marketplace,
  reference: p.reference,
  currency: p.currency,
  gross: p.gross,
  ofThisMonth: p.of_month,
  unallocated: p.unallocated,
  fee: p.fee,
  tax: p.tax,
  net: p.net,
  unexplained: p.unexplained,
  payout: p.payout,
  payoutCurrency: p.payout_currency,
});

const SECTIONS = ['units', 'money', 'payouts', 'findings'] as const;

function viewsOf(piece: MonthPiece): unknown[] {
  switch (piece.section) {
    case 'units':
      return piece.rows.map(unitView);
    case 'money':
      return piece.rows.map((r) => ({ ...r, subscriptionIds: r.subscriptionIds.map((s) => toPublicId('sub', s)) }));
    case 'payouts':
      return piece.rows.map(payoutView);
    case 'findings':
      return piece.rows;
  }
}

/** Rows that are written at once: some milliseconds of work, most of it exact amounts in listed units. */
const ROWS_AT_ONCE = 25;

/** The same pieces, smaller; others get their turn between them. */
async function* small(pieces: AsyncIterable<MonthPiece>): AsyncGenerator<MonthPiece> {
  for await (const piece of pieces)
    for (let n = 0; n < piece.rows.length; n += ROWS_AT_ONCE) {
      await setImmediate();
      yield { ...piece, rows: piece.rows.slice(n, n + ROWS_AT_ONCE) } as MonthPiece;
    }
}

/** One JSON object, in pieces: the head, then each section's list as its rows come. */
export async function* monthJson(head: MonthHead, pieces: AsyncIterable<MonthPiece>): AsyncGenerator<string> {
  yield JSON.stringify({ ...head, moneyExpectedBy: head.moneyExpectedBy.toISOString() }).slice(0, -1);
  let open = -1;
  let empty = true;
  /** Ends the list that is open, and begins those up to this one. */
  const upTo = (wanted: number): string => {
    let text = '';
    for (; open < wanted; empty = true) {
      text += `${open < 0 ? '' : ']'},"${SECTIONS[open + 1]!}":[`;
      open += 1;
    }
    return text;
  };
  for await (const piece of small(pieces)) {
    let text = upTo(SECTIONS.indexOf(piece.section));
    for (const view of viewsOf(piece)) {
      text += `${empty ? '' : ','}${JSON.stringify(view)}`;
      empty = false;
    }
    yield text;
  }
  yield `${upTo(SECTIONS.length - 1)}]}`;
}

const COLUMNS = [
  'section',
  'marketplace',
  'name',
  'subscriptionIds',
  'planId',
  'dimension',
  'unit',
  'currency',
  'what',
  'value',
  'note',
] as const;
type Line = Partial<Record<(typeof COLUMNS)[number], unknown>>;

function linesOf(piece: MonthPiece): Line[] {
  switch (piece.section) {
    case 'units':
      return piece.rows.flatMap(unitLines);
    case 'money':
      return piece.rows.flatMap(moneyLines);
    case 'payouts':
      return piece.rows.flatMap(payoutLines);
    case 'findings':
      return piece.rows.map((f): Line => ({ section: 'findings', what: f.kind, value: f.open, note: `${f.settled} settled` }));
  }
}

/** One line a figure: nothing invites to add up a column over currencies or units. In pieces, as its rows come. */
export async function* monthCsv(head: MonthHead, pieces: AsyncIterable<MonthPiece>): AsyncGenerator<string> {
  const text = (lines: Line[]): string => lines.map((l) => csvLine(COLUMNS.map((c) => l[c]))).join('');
  yield csvLine(COLUMNS);
  yield text([
    { section: 'month', what: 'month', value: head.month },
    { section: 'month', what: 'state', value: head.state, note: head.because.join('; ') },
  ]);
  for await (const piece of small(pieces)) yield text(linesOf(piece));
}

const payoutLines = (p: MonthPayout): Line[] =>
  (
    [
      ['gross', p.gross],
      ['of this month', p.of_month],
      ['unallocated', p.unallocated],
      ['fee', p.fee],
      ['tax', p.tax],
      ['net', p.net],
      ['unexplained', p.unexplained],
      ['payout', p.payout],
    ] as const
  ).map(([what, value]): Line => ({
    section: 'payout',
    marketplace: p.marketplace,
    name: p.reference,
    currency: what === 'payout' ? p.payout_currency : p.currency,
    what,
    value,
  }));

function unitLines(u: MonthUnits): Line[] {
  const base: Line = {
    section: 'units',
    marketplace: u.marketplace,
    name: u.externalSubscriptionId,
    subscriptionIds: toPublicId('sub', u.subscriptionId),
    planId: u.planId,
    dimension: u.dimension || u.meter,
    unit: u.listedUnit,
    note: u.test ? 'test purchase' : '',
  };
  return [
    { ...base, what: 'samples', value: u.samples, unit: 'samples' },
    ...LEDGER_TERMS.filter((t) => u.terms[t] !== 0n).map((t): Line => ({
      ...base,
      what: t,
      value: u.terms[t].toString(),
      unit: 'base units',
      note: termUnits(u, t),
    })),
    { ...base, what: 'difference of the sum law', value: u.difference.toString(), unit: 'base units' },
    { ...base, what: 'recorded', value: u.recorded, note: `${u.records} records` },
    { ...base, what: 'accepted', value: u.accepted, note: `${u.receipts} receipts` },
    ...(u.shadow === '0' ? [] : [{ ...base, what: 'shadow', value: u.shadow, note: 'calculated, not sent: another kit sends' }]),
    ...(u.invoicedOutside === '0' ? [] : [{ ...base, what: 'invoiced outside', value: u.invoicedOutside }]),
    ...u.prices.map((p): Line => ({
      ...base,
      what: 'accepted at price',
      value: p.amount,
      currency: p.currency,
      note: `${p.units} at ${p.unitPrice}, ${p.source}${p.provisional ? ', provisional' : ''}`,
    })),
    ...(u.unpriced === '0' ? [] : [{ ...base, what: 'price_unknown', value: u.unpriced }]),
  ];
}

function moneyLines(r: MonthMoney): Line[] {
  const base: Line = {
    section: 'money',
    marketplace: r.marketplace,
    name: r.externalId ?? `no ${r.grain} known`,
    subscriptionIds: r.subscriptionIds.map((s) => toPublicId('sub', s)).join(' '),
    currency: r.currency,
    note: r.bySum ? `${r.subscriptionIds.length} purchases, compared by their sum` : '',
  };
  return [
    ...(r.currency === null
      ? []
      : [
          { ...base, what: 'expected', value: r.expected },
          { ...base, what: 'invoiced', value: r.invoiced, note: r.invoices.join(' ') },
          { ...base, what: 'credited', value: r.credited },
        ]),
    ...r.unpricedUnits.map((x): Line => ({ ...base, what: 'price_unknown', dimension: x.dimension, value: x.units, unit: 'listed units' })),
    ...r.variance.filter((v) => v.amount !== null).map((v): Line => ({ ...base, what: `variance ${v.name}`, value: v.amount })),
  ];
}
