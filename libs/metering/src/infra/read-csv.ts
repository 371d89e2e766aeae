import { parse } from 'csv-parse/sync';
import { ProblemError } from '#platform';

export interface CsvTable {
  delimiter: string;
  columns: string[];
  rows: { line: number; cells: string[] }[];
}
const DELIMITERS = [',', ';', '\t', '|'];
/** More than any payout file; a bound for memory. */
const ROWS = 50_000;

/** Reads what finance downloads: a byte order mark, any usual delimiter, quoted fields, ragged ends. The first line names the columns. */
export function readCsv(text: string, delimiter?: string): CsvTable {
  const of = (d: string, to?: number): { info: { lines: number }; record: string[] }[] =>
    parse(text, {
      bom: true,
      delimiter: d,
      info: true,
      trim: true,
      relax_quotes: true,
      relax_column_count: true,
      skip_empty_lines: true,
      skip_records_with_empty_values: true,
      ...(to ? { to } : {}),
    }) as unknown as { info: { lines: number }; record: string[] }[];
  try {
    const best =
      delimiter ??
      DELIMITERS.map((d) => ({ d, n: of(d, 1)[0]?.record.length ?? 0 })).reduce((a, b) => (b.n > a.n ? b : a), { d: ',', n: 0 }).d;
    const [head, ...body] = of(best, ROWS + 2);
    if (!head || body.length === 0) throw new ProblemError('validation', 'csv.empty', 'The file has no line below its column names.');
    if (body.length > ROWS) throw new ProblemError('too_large', 'csv.too_long', `The file has more than ${ROWS} lines: cut it in two.`);
    return { delimiter: best, columns: head.record, rows: body.map((r) => ({ line: r.info.lines, cells: r.record })) };
  } catch (error) {
    if (error instanceof ProblemError) throw error;
    throw new ProblemError('validation', 'csv.unreadable', `This is no CSV that can be read: ${(error as Error).message.slice(0, 200)}`);
  }
}
