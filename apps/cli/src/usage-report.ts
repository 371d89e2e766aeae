import { readFile } from 'node:fs/promises';
import { Api, Refused } from './api.js';
import { columns, oneLine } from './text.js';

export interface UsageReportArguments {
  marketplace: string;
  preview: boolean;
  map?: Record<string, string>;
  constant?: Record<string, string>;
  dimension?: Record<string, string>;
  asOf?: string;
  from?: string;
  to?: string;
  roundedTo?: number;
  decimal?: string;
  dates?: string;
  json: boolean;
}

interface Preview {
  ready: boolean;
  columns: string[];
  mapping: Record<string, string>;
  grain: string | null;
  namedBy: string | null;
  zone: string;
  lines: number;
  skipped: number;
  replaced: number;
  rows: { line: number; periodStart: string; name: string; dimension: string; quantity: string }[];
  problems: { line: number | null; field: string; message: string }[];
}
interface Imported {
  id: string;
  outcome: 'new' | 'duplicate';
  grain: string;
  namedBy: string;
  from: string;
  to: string;
  lines: number;
  skipped: number;
  replaced: number;
  reconciliationId: string | null;
}

/** Sends a downloaded report; with `preview` it is only read. Answers the exit code: 1 where a preview shows that it cannot be imported. */
export async function importUsageReport(path: string, options: UsageReportArguments): Promise<number> {
  const api = Api.fromEnvironment();
  const csv = await readFile(path, 'utf8').catch((error: Error) => {
    throw new Refused(`${path} cannot be read: ${error.message}`, 2);
  });
  const { marketplace, map: mapping, constant: constants, dimension: dimensions, decimal, dates } = options;
  const file = { marketplace, csv, mapping, constants, dimensions, decimal, dates };
  if (options.preview) {
    const seen = await api.json<Preview>('usage-reports/preview', {}, file);
    process.stdout.write(options.json ? `${JSON.stringify(seen, null, 2)}\n` : preview(seen));
    return seen.ready ? 0 : 1;
  }
  const { asOf, from, to, roundedTo } = options;
  const stored = await api.json<Imported>('usage-reports', {}, { ...file, asOf, from, to, roundedTo });
  process.stdout.write(options.json ? `${JSON.stringify(stored, null, 2)}\n` : imported(stored));
  return 0;
}

function preview(p: Preview): string {
  const field = (column: string): string => Object.entries(p.mapping).find(([, c]) => c === column)?.[0] ?? '-';
  const out = [
    columns([['column', 'is'], ...p.columns.map((c) => [oneLine(c), field(c)])]),
    '',
    `${p.lines} lines understood, by ${p.grain ?? '?'} (${p.zone}) and ${p.namedBy ?? '?'}; ${p.skipped} skipped, ${p.replaced} replaced by a later version`,
  ];
  if (p.rows.length > 0)
    out.push(
      columns(
        [
          ['line', 'from', 'name', 'dimension', 'quantity'],
          ...p.rows.map((r) => [String(r.line), r.periodStart, oneLine(r.name), oneLine(r.dimension), r.quantity]),
        ],
        [0, 4],
      ),
    );
  if (p.problems.length > 0)
    out.push('', ...p.problems.map((x) => `${x.line === null ? 'file' : `line ${x.line}`}, ${oneLine(x.field)}: ${oneLine(x.message)}`));
  return `${out.join('\n')}\n`;
}

function imported(i: Imported): string {
  const what = `${i.lines} lines by ${i.grain} and ${i.namedBy}, ${i.from} to ${i.to}; ${i.skipped} skipped, ${i.replaced} replaced`;
  if (i.outcome === 'duplicate') return `${i.id}: stored already, nothing changed (${what})\n`;
  const next = i.reconciliationId
    ? `compared by ${i.reconciliationId}; differences: berth findings --open`
    : 'not compared yet, because such a run is under way: berth reconcile --kinds usage_report --wait, once it is through';
  return `${i.id}: ${what}\n${next}\n`;
}
