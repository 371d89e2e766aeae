import { canonicalJson, ProblemError, sha256Hex, uuidv7, type Tx } from '#platform';
import type { Marketplace } from '#marketplaces/core';
import { dateOf, midnight, type ReportGrain, type ReportName, type ReportZone } from '../domain/usage-report.js';
import type { MeteringDeps } from './deps.js';
import { readUsageReport, refuseProblems, type ReadUsageReport, type UsageReportFile } from './read-usage-report.js';

export interface UsageReportImport extends UsageReportFile {
  /** When the report was made; now, unless said. What came later cannot be in it. */
  asOf?: Date;
  /** The first day it covers and the day after the last (2026-03-01); the days it tells of, unless said. */
  from?: string;
  to?: string;
  /** Decimals to which it rounds each row; it does not, unless said. */
  roundedTo?: number;
  by: string;
}
export interface UsageReportRow extends Record<string, unknown> {
  report_id: string;
  marketplace: Marketplace;
  grain: ReportGrain;
  named_by: ReportName;
  zone: ReportZone;
  from_at: Date;
  to_at: Date;
  as_of: Date;
  rounded_to: number | null;
  content_hash: string;
  reading: Record<string, unknown>;
  lines: number;
  imported_at: Date;
  imported_by: string;
  voided_at: Date | null;
  void_reason: string | null;
}

/**
 * Stores a report; all of it, or nothing (`usage_report.faults`). The same file read the same way is stored once; read another way it is
 * refused (`usage_report.conflict`).
 */
export async function importUsageReport(
  tx: Tx,
  deps: MeteringDeps,
  input: UsageReportImport,
): Promise<{ reportId: string; fresh: boolean; read: ReadUsageReport }> {
  const read = readUsageReport(input);
  refuseProblems(read);
  const now = deps.clock.now();
  const { from, to } = coverageOf(read, input);
  const reading = {
    mapping: read.mapping,
    constants: input.constants ?? {},
    dimensions: input.dimensions ?? {},
    decimal: read.decimal,
    roundedTo: input.roundedTo ?? null,
    from: from.toISOString(),
    to: to.toISOString(),
    zone: read.zone,
  };
  const hash = sha256Hex(input.csv);
  await tx.query('select pg_advisory_xact_lock(hashtextextended($1, 7205319))', [`${input.marketplace}:${hash}`]);
  const [stored] = await tx.query<{ report_id: string; reading: Record<string, unknown> }>(
    'select report_id, reading from usage_reports where marketplace = $1 and content_hash = $2 and voided_at is null',
    [input.marketplace, hash],
  );
  if (stored && canonicalJson(stored.reading) === canonicalJson(reading)) return { reportId: stored.report_id, fresh: false, read };
  if (stored)
    throw new ProblemError(
      'conflict',
      'usage_report.conflict',
      'This very file is stored already and was read another way. Void that report, then import it again.',
    );
  const reportId = uuidv7();
  await tx.query(
    `insert into usage_reports (report_id, marketplace, grain, named_by, zone, from_at, to_at, as_of, rounded_to, content_hash, reading, lines, imported_at, imported_by)
     values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)`,
    [
      reportId,
      input.marketplace,
      read.grain,
      read.namedBy,
      read.zone,
      from,
      to,
      input.asOf && input.asOf < now ? input.asOf : now,
      input.roundedTo ?? null,
      hash,
      JSON.stringify(reading),
      read.lines.length,
      now,
      input.by,
    ],
  );
  await tx.query(
    `insert into usage_report_lines (report_id, line, period_start, period_end, name, dimension, quantity, raw)
     select $2, l.line, l."periodStart", l."periodEnd", l.name, l.dimension, l.quantity, l.raw
       from jsonb_to_recordset($1::jsonb) as l(line int, "periodStart" timestamptz, "periodEnd" timestamptz, name text, dimension text, quantity numeric, raw jsonb)`,
    [JSON.stringify(read.lines), reportId],
  );
  return { reportId, fresh: true, read };
}

function coverageOf(read: ReadUsageReport, input: Pick<UsageReportImport, 'from' | 'to'>): { from: Date; to: Date } {
  const day = (text: string | undefined): Date | null => {
    const parts = text === undefined ? null : dateOf(text, 'day', null);
    return parts && midnight(read.zone, ...parts);
  };
  const [first, last] = [Math.min(...read.lines.map((l) => +l.periodStart)), Math.max(...read.lines.map((l) => +l.periodEnd))];
  const [from, to] = [day(input.from) ?? new Date(first), day(input.to) ?? new Date(last)];
  if (+from > first || +to < last)
    throw new ProblemError('validation', 'usage_report.coverage', 'The file tells of days outside of `from` and `to`.');
  return { from, to };
}

/** A wrong import counts nowhere any more, and the file may be imported again. */
export async function voidUsageReport(tx: Tx, deps: MeteringDeps, input: { reportId: string; by: string; reason: string }): Promise<void> {
  const [row] = await tx.query<{ voided: boolean }>(
    'select voided_at is not null as voided from usage_reports where report_id = $1 for update',
    [input.reportId],
  );
  if (!row) throw new ProblemError('not_found', 'usage_report.not_found', 'There is no such usage report.');
  if (row.voided) throw new ProblemError('conflict', 'usage_report.voided', 'This usage report was voided; that stays.');
  await tx.query('update usage_reports set voided_at = $2, voided_by = $3, void_reason = $4 where report_id = $1', [
    input.reportId,
    deps.clock.now(),
    input.by,
    input.reason,
  ]);
}

/** Newest import first. */
export async function listUsageReports(
  tx: Tx,
  q: { limit: number; after: string | null; marketplace?: string; reportId?: string },
): Promise<{ items: UsageReportRow[]; nextCursor: string | null }> {
  const rows = await tx.query<UsageReportRow>(
    `select * from usage_reports where ($1::uuid is null or report_id < $1) and ($3::text is null or marketplace = $3) and ($4::uuid is null or report_id = $4) order by report_id desc limit $2`,
    [q.after, q.limit + 1, q.marketplace ?? null, q.reportId ?? null],
  );
  const items = rows.slice(0, q.limit);
  return { items, nextCursor: rows.length > q.limit ? items.at(-1)!.report_id : null };
}

/** Reports that count and tell of any of a span; the newest word first. */
export function reportsOfSpan(tx: Tx, q: { marketplace: string; from: Date; to: Date }): Promise<UsageReportRow[]> {
  return tx.query<UsageReportRow>(
    'select * from usage_reports where marketplace = $1 and voided_at is null and from_at < $3 and to_at > $2 order by as_of desc, report_id desc',
    [q.marketplace, q.from, q.to],
  );
}
