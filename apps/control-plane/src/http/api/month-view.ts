import { toPublicId } from '#platform';
import { LEDGER_TERMS, termUnits, type ClosedMonth, type MonthMoney, type MonthUnits } from '#metering';
import { csvLine } from '../support/csv.js';

export const monthView = (m: ClosedMonth): Record<string, unknown> => ({
  month: m.month,
  state: m.state,
  because: m.because,
  moneyExpectedBy: m.moneyExpectedBy.toISOString(),
  units: m.units.map((u) => ({
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
  })),
  money: m.money.map((r) => ({ ...r, subscriptionIds: r.subscriptionIds.map((s) => toPublicId('sub', s)) })),
  payouts: m.payouts.map((p) => ({
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
  })),
  findings: m.findings,
});

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

/** One line a figure: nothing invites to add up a column over currencies or units. */
export function monthCsv(m: ClosedMonth): string {
  const lines: Line[] = [
    { section: 'month', what: 'month', value: m.month },
    { section: 'month', what: 'state', value: m.state, note: m.because.join('; ') },
    ...m.units.flatMap(unitLines),
    ...m.money.flatMap(moneyLines),
    ...m.payouts.flatMap((p) =>
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
      })),
    ),
    ...m.findings.map((f): Line => ({ section: 'findings', what: f.kind, value: f.open, note: `${f.settled} settled` })),
  ];
  return [csvLine(COLUMNS), ...lines.map((l) => csvLine(COLUMNS.map((c) => l[c])))].join('');
}

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
