import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { Api } from './api.js';
import { columns, oneLine } from './text.js';

export interface CloseArguments {
  json: boolean;
  csv: boolean;
  final: boolean;
  marketplace?: string;
}

interface Month {
  month: string;
  state: string;
  because: string[];
  moneyExpectedBy: string;
  units: {
    marketplace: string;
    externalSubscriptionId: string;
    test: boolean;
    planId: string | null;
    dimension: string | null;
    listedUnit: string | null;
    samples: string;
    difference: string;
    recorded: string;
    accepted: string;
    shadow: string;
    invoicedOutside: string;
  }[];
  money: {
    marketplace: string;
    externalId: string | null;
    grain: string;
    bySum: boolean;
    currency: string | null;
    expected: string | null;
    invoiced: string;
    credited: string;
    variance: { name: string; amount: string | null }[];
    unpricedUnits: { dimension: string; units: string }[];
  }[];
  payouts: {
    marketplace: string;
    reference: string;
    currency: string;
    gross: string;
    ofThisMonth: string;
    unallocated: string;
    fee: string;
    tax: string;
    net: string;
    payout: string;
    payoutCurrency: string;
  }[];
  findings: { kind: string; open: number; settled: number }[];
}

/** Prints a month from sample to payout. With `final` it is refused while anything may still change it. */
export async function close(month: string, options: CloseArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const query = { marketplace: options.marketplace, final: String(options.final) };
  const path = `months/${encodeURIComponent(month)}`;
  if (options.csv) {
    await pipeline(Readable.fromWeb(await api.stream(path, { ...query, format: 'csv' })), process.stdout, { end: false });
    return 0;
  }
  const closed = await api.json<Month>(path, query);
  process.stdout.write(options.json ? `${JSON.stringify(closed, null, 2)}\n` : printed(closed));
  return 0;
}

/** Units that a listing's emission keeps from the marketplace (docs/guides/catalog.md). */
const notSent = (u: Month['units'][number]): string =>
  [u.shadow === '0' ? '' : `${u.shadow} shadow`, u.invoicedOutside === '0' ? '' : `${u.invoicedOutside} invoiced outside`]
    .filter(Boolean)
    .join(', ') || '-';

function printed(m: Month): string {
  const out = [`${m.month}: ${m.state}${m.because.length > 0 ? ` (${m.because.join('; ')})` : ''}`, ''];
  const table = (title: string, head: string[], rows: string[][], right: number[]): void => {
    if (rows.length > 0) out.push(title, columns([head, ...rows.map((r) => r.map(oneLine))], right).replace(/^/gm, '  '), '');
  };
  table(
    'Units',
    ['marketplace', 'purchase', 'plan', 'dimension', 'samples', 'recorded', 'accepted', 'not sent', 'unit', 'sum law'],
    m.units.map((u) => [
      u.marketplace,
      `${u.externalSubscriptionId}${u.test ? ' (test)' : ''}`,
      u.planId ?? '-',
      u.dimension ?? '-',
      u.samples,
      u.recorded,
      u.accepted,
      notSent(u),
      u.listedUnit ?? '',
      u.difference === '0' ? 'holds' : `OFF BY ${u.difference}`,
    ]),
    [4, 5, 6],
  );
  table(
    'Money, each marketplace as its reports tell it apart',
    ['marketplace', 'for', 'currency', 'expected', 'invoiced', 'credited', 'variance'],
    m.money.map((r) => [
      r.marketplace,
      `${r.externalId ?? `no ${r.grain} known`}${r.bySum ? ' (several, by their sum)' : ''}`,
      r.currency ?? '-',
      r.expected ?? '-',
      r.currency === null ? '-' : r.invoiced,
      r.currency === null ? '-' : r.credited,
      r.variance
        .map(
          (v) =>
            `${v.name}${v.amount === null ? ` ${r.unpricedUnits.map((u) => `${u.units} ${u.dimension}`).join(', ')}` : ` ${v.amount}`}`,
        )
        .join(', ') || 'none',
    ]),
    [3, 4, 5],
  );
  table(
    'Payouts that name the month, with their whole figures',
    ['marketplace', 'reference', 'currency', 'gross', 'of this month', 'unallocated', 'fee', 'tax', 'net', 'paid out'],
    m.payouts.map((p) => [
      p.marketplace,
      p.reference,
      p.currency,
      p.gross,
      p.ofThisMonth,
      p.unallocated,
      p.fee,
      p.tax,
      p.net,
      `${p.payout} ${p.payoutCurrency}`,
    ]),
    [3, 4, 5, 6, 7, 8, 9],
  );
  table(
    'Findings of the month',
    ['kind', 'open', 'settled'],
    m.findings.map((f) => [f.kind, String(f.open), String(f.settled)]),
    [1, 2],
  );
  return out.join('\n');
}
