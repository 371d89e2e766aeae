import { z } from 'zod';
import { toPublicId } from '#platform';
import { MARKETPLACES } from '#marketplaces/core';
import { USAGE_REPORT_FIELDS, type ReadUsageReport, type UsageReportRow } from '#metering';
import { apiSchema } from '../support/api-schemas.js';

const FIRST_ROWS = 20;
const PROBLEMS = 200;
const instant = z.iso.datetime();
const mapping = z.partialRecord(z.enum(USAGE_REPORT_FIELDS), z.string());
const grain = z.enum(['day', 'month']);
const namedBy = z.enum(['purchase', 'agreement', 'account']);

export const usageReportPreview = apiSchema(
  'UsageReportPreview',
  z.object({
    ready: z.boolean().describe('Whether it could be imported like this.'),
    columns: z.array(z.string()),
    delimiter: z.string(),
    proposed: mapping.describe('What the columns most likely are.'),
    mapping: mapping.describe('What was used.'),
    grain: grain.nullable(),
    namedBy: namedBy.nullable(),
    zone: z.string(),
    decimal: z.enum(['point', 'comma', 'unclear']),
    lines: z.int().describe('Lines that were understood.'),
    skipped: z.int().describe('Lines that say neither when nor what, as sums do.'),
    replaced: z.int().describe('Lines that a later version replaces or takes away.'),
    rows: z.array(
      z.object({ line: z.int(), periodStart: instant, periodEnd: instant, name: z.string(), dimension: z.string(), quantity: z.string() }),
    ),
    problems: z.array(z.object({ line: z.int().nullable(), field: z.string(), message: z.string() })),
  }),
);
const report = {
  id: z.string(),
  marketplace: z.enum(MARKETPLACES),
  grain,
  namedBy,
  zone: z.string(),
  from: instant,
  to: instant,
  asOf: instant,
  roundedTo: z.int().nullable(),
  lines: z.int(),
  reading: z.record(z.string(), z.unknown()).describe('How the file was read: mapping, constants, dimensions.'),
  contentHash: z.string(),
  importedAt: instant,
  importedBy: z.string(),
  voidedAt: instant.nullable(),
  voidReason: z.string().nullable(),
};
export const usageReport = apiSchema('UsageReport', z.object(report));
export const usageReportPage = apiSchema('UsageReportPage', z.object({ items: z.array(usageReport), nextCursor: z.string().nullable() }));
export const importedUsageReport = apiSchema(
  'ImportedUsageReport',
  z.object({
    ...report,
    outcome: z.enum(['new', 'duplicate']),
    skipped: z.int(),
    replaced: z.int(),
    reconciliationId: z.string().nullable().describe('The run that compares it; null for a duplicate, or where such a run is under way.'),
  }),
);

export const previewView = (r: ReadUsageReport): z.input<typeof usageReportPreview> => ({
  ready: r.problems.length === 0,
  columns: r.columns,
  delimiter: r.delimiter,
  proposed: r.proposed,
  mapping: r.mapping,
  grain: r.grain,
  namedBy: r.namedBy,
  zone: r.zone,
  decimal: r.decimal,
  lines: r.lines.length,
  skipped: r.skipped,
  replaced: r.replaced,
  rows: r.lines.slice(0, FIRST_ROWS).map(({ raw: _, periodStart, periodEnd, ...l }) => ({
    ...l,
    periodStart: periodStart.toISOString(),
    periodEnd: periodEnd.toISOString(),
  })),
  problems: r.problems.slice(0, PROBLEMS),
});

export const usageReportView = (r: UsageReportRow): z.input<typeof usageReport> => ({
  id: toPublicId('urp', r.report_id),
  marketplace: r.marketplace,
  grain: r.grain,
  namedBy: r.named_by,
  zone: r.zone,
  from: r.from_at.toISOString(),
  to: r.to_at.toISOString(),
  asOf: r.as_of.toISOString(),
  roundedTo: r.rounded_to,
  lines: r.lines,
  reading: r.reading,
  contentHash: r.content_hash,
  importedAt: r.imported_at.toISOString(),
  importedBy: r.imported_by,
  voidedAt: r.voided_at?.toISOString() ?? null,
  voidReason: r.void_reason,
});

export const importedView = (
  r: UsageReportRow,
  done: { fresh: boolean; read: ReadUsageReport },
  runId: string | null,
): z.input<typeof importedUsageReport> => ({
  ...usageReportView(r),
  outcome: done.fresh ? 'new' : 'duplicate',
  skipped: done.read.skipped,
  replaced: done.read.replaced,
  reconciliationId: runId ? toPublicId('rcn', runId) : null,
});
