import { ProblemError } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { decimalMarkOf, moneyText, type DecimalMark } from '../domain/remittance.js';
import {
  dateOf,
  dateOrderOf,
  periodOf,
  proposeMapping,
  REPORT_NAMES,
  zoneOf,
  type DateOrder,
  type ReportGrain,
  type ReportName,
  type ReportZone,
  type UsageReportField,
} from '../domain/usage-report.js';
import { readCsv } from '../infra/read-csv.js';

export interface UsageReportFile {
  marketplace: Marketplace;
  csv: string;
  /** Which column is which field; goes before what is proposed. An empty text takes a proposal away. */
  mapping?: Partial<Record<UsageReportField, string>>;
  /** What the file does not say and is one for all lines. */
  constants?: Partial<Record<UsageReportField, string>>;
  /** The report's name of a dimension (a SKU, say) to ours. */
  dimensions?: Record<string, string>;
  delimiter?: string;
  decimal?: DecimalMark;
  dates?: DateOrder;
  zone?: ReportZone;
}
export interface UnderstoodLine {
  line: number;
  periodStart: Date;
  periodEnd: Date;
  name: string;
  dimension: string;
  /** Decimal text. */
  quantity: string;
  raw: Record<string, string>;
}
export interface ReadUsageReport {
  delimiter: string;
  columns: string[];
  proposed: Partial<Record<UsageReportField, string>>;
  mapping: Partial<Record<UsageReportField, string>>;
  grain: ReportGrain | null;
  namedBy: ReportName | null;
  zone: ReportZone;
  decimal: DecimalMark | 'unclear';
  lines: UnderstoodLine[];
  /** Lines that say neither when nor what: sums at the end of a file. */
  skipped: number;
  /** Lines that a later version of the same line replaces or takes away. */
  replaced: number;
  problems: { line: number | null; field: string; message: string }[];
}

/** What a usage report says, line by line, and what of it cannot be understood. Throws only where it is no CSV at all. */
export function readUsageReport(file: UsageReportFile): ReadUsageReport {
  const table = readCsv(file.csv, file.delimiter);
  const problems: ReadUsageReport['problems'] = [];
  const proposed = proposeMapping(table.columns);
  const constants = file.constants ?? {};
  const mapping = { ...proposed, ...file.mapping };
  for (const field of Object.keys(mapping) as UsageReportField[])
    if (!mapping[field] || (constants[field] !== undefined && file.mapping?.[field] === undefined)) delete mapping[field];
  const index = new Map<UsageReportField, number>();
  for (const [field, column] of Object.entries(mapping) as [UsageReportField, string][]) {
    const i = table.columns.findIndex((c) => c.trim().toLowerCase() === column.trim().toLowerCase());
    if (i >= 0) index.set(field, i);
    else problems.push({ line: null, field, message: `the file has no column "${column.slice(0, 80)}"` });
  }
  const has = (field: UsageReportField): boolean => index.has(field) || constants[field] !== undefined;
  const grain: ReportGrain | null = has('day') ? 'day' : has('month') ? 'month' : null;
  const namedBy = REPORT_NAMES.find(has) ?? null;
  if (!grain) problems.push({ line: null, field: 'day', message: 'name the column of the day or of the month' });
  if (!namedBy) problems.push({ line: null, field: 'purchase', message: 'name the column of the purchase, the agreement or the account' });
  for (const field of ['dimension', 'quantity'] as const)
    if (!has(field)) problems.push({ line: null, field, message: 'name its column, or say it for all lines' });

  const cell = (row: string[], field: UsageReportField): string =>
    (index.has(field) ? row[index.get(field)!] : constants[field])?.trim() ?? '';
  const quantities = table.rows.map((r) => cell(r.cells, 'quantity')).filter(Boolean);
  const decimal = file.decimal ?? decimalMarkOf(quantities);
  if (decimal === 'unclear')
    problems.push({ line: null, field: 'quantity', message: 'whether 1,234 is a thousand is not clear: say decimal "point" or "comma"' });
  const order = file.dates ?? (grain ? dateOrderOf(table.rows.map((r) => cell(r.cells, grain))) : null);
  if (order === 'unclear')
    problems.push({
      line: null,
      field: grain!,
      message: 'whether 03/04 is in March or in April is not clear: say dates "month_first" or "day_first"',
    });
  const zone = file.zone ?? zoneOf(file.marketplace);
  const out: ReadUsageReport = {
    delimiter: table.delimiter,
    columns: table.columns,
    proposed,
    mapping,
    grain,
    namedBy,
    zone,
    decimal,
    lines: [],
    skipped: 0,
    replaced: 0,
    problems,
  };
  if (!grain || !namedBy || decimal === 'unclear' || order === 'unclear' || problems.length > 0) return out;

  const rows = table.rows.filter((r) => cell(r.cells, grain) !== '' || cell(r.cells, 'dimension') !== '');
  out.skipped = table.rows.length - rows.length;
  const current = index.has('key') ? newestOf(rows, (r, field) => cell(r.cells, field)) : rows;
  out.replaced = rows.length - current.length;
  for (const row of current) {
    const before = problems.length;
    const fault = (field: UsageReportField, message: string): void => {
      problems.push({ line: row.line, field: mapping[field] ?? field, message });
    };
    const date = dateOf(cell(row.cells, grain), grain, order);
    if (!date) fault(grain, `"${cell(row.cells, grain).slice(0, 40)}" is no ${grain}`);
    const theirs = cell(row.cells, 'dimension');
    if (theirs === '') fault('dimension', 'is empty');
    const quantity = moneyText(cell(row.cells, 'quantity'), decimal);
    if (quantity === null) fault('quantity', `"${cell(row.cells, 'quantity').slice(0, 40)}" is no quantity`);
    const name = cell(row.cells, namedBy);
    if (name.length > 200) fault(namedBy, 'is longer than any name');
    if (problems.length > before) continue;
    const { start, end } = periodOf(zone, grain, date!);
    out.lines.push({
      line: row.line,
      periodStart: start,
      periodEnd: end,
      name,
      dimension: file.dimensions?.[theirs] ?? theirs,
      quantity: quantity!,
      // As the file wrote it; columns that are not needed may tell of persons and stay outside.
      raw: Object.fromEntries([...index].map(([field, i]) => [field, row.cells[i] ?? ''])),
    });
  }
  if (out.lines.length === 0 && problems.length === 0) problems.push({ line: null, field: '(file)', message: 'no line of usage is left' });
  return out;
}

type Row = { line: number; cells: string[] };
/** Of the versions of one line only the last counts, and none where it says that the line is gone. */
function newestOf(rows: Row[], cell: (row: Row, field: UsageReportField) => string): Row[] {
  const newest = new Map<string, Row>();
  for (const row of rows) {
    const key = cell(row, 'key') || `line ${row.line}`;
    const there = newest.get(key);
    if (!there || cell(there, 'version') <= cell(row, 'version')) newest.set(key, row);
  }
  return [...newest.values()].filter((row) => {
    const deleted = cell(row, 'deleted');
    return deleted === '' || /^(insert|update)$/i.test(deleted);
  });
}

/** For a refusal: what is wrong, by line and column. */
export function refuseProblems(read: ReadUsageReport): void {
  if (read.problems.length === 0) return;
  throw new ProblemError('validation', 'usage_report.faults', `${read.problems.length} faults in the file; nothing was stored.`, {
    errors: read.problems
      .slice(0, 50)
      .map((p) => ({ field: p.line === null ? p.field : `line ${p.line}, ${p.field}`, message: p.message })),
  });
}
