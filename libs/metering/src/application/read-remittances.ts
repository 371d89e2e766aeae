import { ProblemError, sumDecimals } from '#platform';
import { readCsv } from '../infra/read-csv.js';
import {
  byReference,
  decimalMarkOf,
  deductionsAsPositive,
  moneyText,
  minus,
  type DecimalMark,
  type RemittanceDraft,
  type RemittanceLine,
} from '../domain/remittance.js';

export const REMITTANCE_FIELDS = [
  'reference',
  'month',
  'purchase',
  'dimension',
  'invoice',
  'currency',
  'gross',
  'fee',
  'tax',
  'fx',
  'net',
  'payout',
  'payoutCurrency',
] as const;
export type RemittanceField = (typeof REMITTANCE_FIELDS)[number];

export interface RemittanceFile {
  csv: string;
  delimiter?: string;
  decimal?: DecimalMark;
  /** Which column of the file is which field. */
  mapping: Partial<Record<RemittanceField, string>>;
  /** What the file does not say and is one for all lines. */
  constants: Partial<Record<RemittanceField, string>>;
}

const MONEY: RemittanceField[] = ['gross', 'fee', 'tax', 'net', 'payout', 'fx'];
const NEEDED: RemittanceField[] = ['reference', 'month', 'currency', 'gross'];
const FAULTS = 50;

/** The payouts of a file; throws `remittance.faults` with line and column of everything that is wrong. */
export function readRemittances(file: RemittanceFile): {
  drafts: RemittanceDraft[];
  delimiter: string;
  columns: string[];
  decimal: DecimalMark;
  deductionsWereNegative: boolean;
} {
  const table = readCsv(file.csv, file.delimiter);
  const index = columnsOf(file, table.columns);
  const cell = (row: string[], field: RemittanceField): string => {
    const i = index.get(field);
    return (i === undefined ? file.constants[field] : row[i])?.trim() ?? '';
  };
  const decimal = file.decimal ?? decimalMarkOf(table.rows.flatMap((r) => MONEY.map((f) => cell(r.cells, f)).filter((c) => c !== '')));
  if (decimal === 'unclear')
    throw new ProblemError(
      'validation',
      'remittance.decimal_unclear',
      'Whether 1,234 means a thousand or one and a bit is not clear from this file: say decimal "point" or "comma".',
    );
  const faults: { field: string; message: string }[] = [];
  const lines: RemittanceLine[] = [];
  for (const row of table.rows) {
    const fault = (field: RemittanceField, message: string): string => {
      faults.push({ field: `line ${row.line}, ${file.mapping[field] ?? field}`, message });
      return '0';
    };
    const money = (field: RemittanceField, otherwise: () => string): string => {
      const text = cell(row.cells, field);
      if (text === '') return otherwise();
      return moneyText(text, decimal) ?? fault(field, `"${text.slice(0, 40)}" is no amount`);
    };
    const gross = money('gross', () => fault('gross', 'is empty'));
    const [fee, tax] = [money('fee', () => '0'), money('tax', () => '0')];
    const net = money('net', () => sumDecimals([gross, minus(fee), minus(tax)]));
    const currency = cell(row.cells, 'currency').toUpperCase();
    if (!/^[A-Z]{3}$/.test(currency)) fault('currency', 'is no currency of three letters');
    const payoutCurrency = cell(row.cells, 'payoutCurrency').toUpperCase() || currency;
    const fx = cell(row.cells, 'fx') === '' ? null : money('fx', () => '1');
    if (payoutCurrency !== currency && cell(row.cells, 'payout') === '') fault('payout', 'is empty, and the payout has another currency');
    const reference = cell(row.cells, 'reference') || fault('reference', 'is empty');
    const month = monthOf(cell(row.cells, 'month')) ?? fault('month', 'is no month or day that can be read (2026-03, 2026-03-31)');
    lines.push({
      line: row.line,
      reference,
      month,
      externalId: cell(row.cells, 'purchase') || null,
      dimension: cell(row.cells, 'dimension') || null,
      invoice: cell(row.cells, 'invoice') || null,
      currency,
      payoutCurrency,
      gross,
      fee,
      tax,
      net,
      fx,
      payout: money('payout', () => net),
      raw: Object.fromEntries(table.columns.map((c, i) => [c || `column ${i + 1}`, row.cells[i] ?? ''])),
    });
  }
  const turned = deductionsAsPositive(lines);
  const grouped = byReference(turned.lines);
  faults.push(...grouped.faults.map((f) => ({ field: `line ${f.line}`, message: f.message })));
  if (faults.length > 0)
    throw new ProblemError('validation', 'remittance.faults', `${faults.length} faults in the file; nothing was stored.`, {
      errors: faults.slice(0, FAULTS),
    });
  return { drafts: grouped.drafts, delimiter: table.delimiter, columns: table.columns, decimal, deductionsWereNegative: turned.flipped };
}

function columnsOf(file: RemittanceFile, columns: string[]): Map<RemittanceField, number> {
  const same = (a: string, b: string): boolean => a.trim().toLowerCase() === b.trim().toLowerCase();
  const index = new Map<RemittanceField, number>();
  const errors: { field: string; message: string }[] = [];
  for (const [field, column] of Object.entries(file.mapping) as [RemittanceField, string][]) {
    const i = columns.findIndex((c) => same(c, column));
    if (i < 0) errors.push({ field, message: `the file has no column "${column}"; it has: ${columns.join(', ').slice(0, 500)}` });
    else index.set(field, i);
  }
  for (const field of NEEDED)
    if (file.mapping[field] === undefined && file.constants[field] === undefined)
      errors.push({ field, message: 'name its column, or say it for all lines' });
  if (errors.length > 0) throw new ProblemError('validation', 'remittance.mapping', 'The columns do not fit the file.', { errors });
  return index;
}

/** `2026-03`, `2026-03-31…` or `202603`; other orders of day and month are ambiguous and refused. */
function monthOf(text: string): string | null {
  const m = /^(\d{4})-?(0[1-9]|1[0-2])(?:-\d{2}.*)?$/.exec(text);
  return m ? `${m[1]}-${m[2]}` : null;
}
